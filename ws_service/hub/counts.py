"""What the hub of one process counts: plain numbers, which are read when metrics are asked for. Pure.

They are labelled with what the configuration and the protocol name: namespaces of the config, codes, methods. A topic,
a user or a code of a client's own choice makes no new number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ws_service.hub import codes
from ws_service.hub.codes import EndCode
from ws_service.hub.topics import SlowPolicy
from ws_service.net.histogram import Histogram

DEFAULT = "default"
"""What topics without a namespace of the config are counted under."""

OTHER = "_OTHER"
"""A close code that is none of the hub's, which the API may have named."""

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds of the buckets of a broadcast: 64 deliveries take half a millisecond, ten thousand a tenth of a second."""

_ENDS = frozenset(value.code for value in vars(codes).values() if isinstance(value, EndCode))


class NamespaceCounts:
    """Publications of a namespace.

    published: by this process, for a client, the API or the user's code. delivered: given to connections. dropped: not
    given to a client that does not read, by policy; with DISCONNECT one for each client that is disconnected.
    """

    __slots__ = ("delivered", "dropped", "published")

    def __init__(self) -> None:
        self.published = self.delivered = 0
        self.dropped: Counter[SlowPolicy] = Counter()


class Counts:
    """The numbers of one hub. namespaces: those of the config."""

    def __init__(self, namespaces: Iterable[str] = ()) -> None:
        self.namespaces = {name: NamespaceCounts() for name in (DEFAULT, *namespaces)}
        self._default = self.namespaces[DEFAULT]
        self.recoveries: Counter[bool] = Counter()
        """Of subscriptions that asked to recover, by whether they have missed nothing."""
        self.disconnects: Counter[str] = Counter()
        """Of clients by the hub, by code."""
        self.api_requests: Counter[tuple[str, int]] = Counter()
        """By method and error code, 0 for none."""
        self.broadcasts = Histogram(BOUNDS)
        """From an event of the broker to its last subscriber in this process."""

    def of(self, topic: str) -> NamespaceCounts:
        """Return the numbers of a topic's namespace."""
        namespace, colon, _ = topic.partition(":")  # as ``namespace_of``, without a call: it is for each publication
        return self.namespaces.get(namespace, self._default) if colon else self._default

    def drop(self, topic: str, policy: SlowPolicy) -> None:
        """Count a publication that a client does not get."""
        self.of(topic).dropped[policy] += 1

    def disconnect(self, code: int) -> None:
        """Count the end of a client's connection."""
        self.disconnects[str(code) if code in _ENDS else OTHER] += 1
