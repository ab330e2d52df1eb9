"""Limits for each client: connections, WebSockets, handshakes and buffered bytes.

The counts live as long as the process. The limits are arguments of each
decision, so a reload changes them and keeps all counts. A decision also
counts what it admits, so no other request can come between.

A client without anything is removed from the counts.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from typing import Protocol

from proxy.config import Limits, Settings
from proxy.errors import TooMany
from proxy.net.peer import is_trusted
from proxy.net.rate_limit import MAX_DELAY, RateLimit
from ws_service.net.client_key import client_key as client_key  # the service counts by the same keys

logger = logging.getLogger("proxy")

_RETRY = 5
"""Retry-After, in seconds, for a client at a limit; it cannot be known when one of its connections ends."""

_QUIET = 60.0
"""Seconds in which one line is logged for each client and limit."""

_NOTICES = 100
"""Lines about clients that are written within that time, however many clients there are."""


class Lease(Protocol):
    """Something that an exchange has acquired, and that must be released at its end, however it ends."""

    def release(self) -> None:
        """Release it. Safe to call again: then it does nothing."""


class Slot:
    """One connection or WebSocket of a client, or some bytes; it counts until it is released."""

    __slots__ = ("_count", "_counter", "_key")

    def __init__(self, counter: ClientCounter, key: str, count: int = 1) -> None:
        counter.enter(key, count)
        self._counter: ClientCounter | None = counter
        self._key = key
        self._count = count

    def release(self) -> None:
        """Subtract it. Safe to call again, and after ``hand_over``: then it does nothing."""
        counter, self._counter = self._counter, None
        if counter is not None:
            counter.leave(self._key, self._count)

    def hand_over(self) -> str:
        """Return the client's key. The caller has to subtract it; ``release`` does nothing any more."""
        self._counter = None
        return self._key


class ClientCounter:
    """How many of one thing each client has.

    ``on_leave`` is called whenever something was subtracted: a paused acceptor resumes then.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self.total = 0
        self.on_leave: Callable[[], None] = lambda: None

    @property
    def clients(self) -> int:
        """How many clients have any."""
        return len(self._counts)

    def of(self, key: str) -> int:
        """Return how many one client has."""
        return self._counts.get(key, 0)

    def largest(self, number: int) -> list[tuple[str, int]]:
        """Return the clients that have the most, and how many, the largest first. number: of clients, at the most."""
        return nlargest(number, self._counts.items(), key=itemgetter(1))

    def enter(self, key: str, count: int = 1) -> None:
        """Add some; 0 does nothing."""
        if not count:
            return
        self._counts[key] = self._counts.get(key, 0) + count
        self.total += count

    def leave(self, key: str, count: int = 1) -> None:
        """Subtract some. Raises KeyError when the client does not have so many: then the counts are wrong."""
        if not count:
            return
        left = self._counts[key] - count
        if left < 0:
            raise KeyError(f"{key} has {left + count}, and {count} are to leave")
        if left:
            self._counts[key] = left
        else:
            del self._counts[key]
        self.total -= count
        self.on_leave()


@dataclass(frozen=True, slots=True)
class Admitted:
    """Admitted. slot: to be released at its end. delay: seconds to wait first."""

    slot: Slot
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not admitted. error: the client's response. notice: a line for the log; empty if it was logged a moment ago."""

    error: TooMany
    notice: str


class ClientLimits:
    """The counts of all clients, and the decisions by them. One for the life of the process.

    A delayed handshake counts as a WebSocket while it waits, and so does one
    whose upstream has not answered yet. At most one second's handshakes of
    one client are delayed at a time, each with its connection.

    ``hits`` counts, by setting, how often a limit was exceeded by a connection without an exchange; an exchange has
    that in its record.
    """

    def __init__(self) -> None:
        self.connections = ClientCounter()
        self.websockets = ClientCounter()
        self.buffered = ClientCounter()  # bytes
        self.hits: Counter[str] = Counter()
        self._handshakes = RateLimit()
        self._notices: OrderedDict[tuple[str, str], float] = OrderedDict()

    def connection(self, address: str, most: int | None, now: float) -> Admitted | Rejected:
        """Decide on a connection, and count it.

        address: of the peer, as far as it is known; when a PROXY header names
        the client, the caller releases the slot and calls this again.
        most: ``connections_per_client``; None for no limit, and for a trusted
        proxy, which has many clients. now: seconds of a monotonic clock.
        """
        key = client_key(address)
        if most is None or self.connections.of(key) < most:
            return Admitted(Slot(self.connections, key))
        what = f"{key} has {most} connections, the most that gateway.limits.connections_per_client allows"
        message = "Your address has as many connections here as one client may have."
        self.hits["connections_per_client"] += 1
        return self._reject(
            TooMany(message, "connections_per_client", retry_after=_RETRY), key, f"{what}, and gets no more", now
        )

    def lease_buffer(self, address: str, size: int, settings: Settings, now: float) -> Lease | None:
        """Count bytes that wait on a stuck connection of a client; None when they exceed the limit: it is to be cut.

        address: of the client. settings: with ``limits.buffered_per_client``, and the trusted proxies, which have no
        limit. now: seconds of a monotonic clock.
        """
        key, most = client_key(address), settings.limits.buffered_per_client
        waits = self.buffered.of(key)
        if most is None or waits + size <= most or is_trusted(address, settings.trusted_proxies):
            return Slot(self.buffered, key, size)
        what = f"{waits} bytes wait on connections of {key} that are not read, and {size} more would exceed"
        notice = f"{what} gateway.limits.buffered_per_client ({most}); such a connection is cut"
        self.hits["buffered_per_client"] += 1
        if notice := self._notice(key, "buffered_per_client", notice, now):
            logger.warning("%s", notice)
        return None

    def websocket(self, address: str, limits: Limits, now: float) -> Admitted | Rejected:
        """Decide on a WebSocket handshake, and count the WebSocket that it may become.

        address: the client's, with trusted proxies applied. now: seconds of a
        monotonic clock. A handshake that is refused does not count.
        """
        key, most, rate = client_key(address), limits.websockets_per_client, limits.handshakes_per_second
        if most is not None and self.websockets.of(key) >= most:
            what = f"{key} has {most} WebSockets, the most that gateway.limits.websockets_per_client allows"
            error = TooMany(
                "Your address has as many WebSockets here as one client may have.",
                "websockets_per_client",
                advice="Close some of them, or come back later.",
                detail=what,
                retry_after=_RETRY,
            )
            return self._reject(error, key, f"{what}, and gets no more", now)
        delay = 0.0 if rate is None else self._handshakes.ask(key, rate, now)
        if delay > MAX_DELAY:
            what = f"{key} opens more than the {rate} per second that gateway.limits.handshakes_per_second allows"
            error = TooMany(
                "Your address opens WebSockets faster than one client may.",
                "handshakes_per_second",
                advice="Wait a little longer before each new attempt.",
                detail=what,
                retry_after=math.ceil(delay - MAX_DELAY),
            )
            notice = f"{what}; those beyond a second's worth are refused"
            return self._reject(error, key, notice, now)
        return Admitted(Slot(self.websockets, key), delay)

    def _reject(self, error: TooMany, key: str, notice: str, now: float) -> Rejected:
        return Rejected(error, self._notice(key, error.limit, notice, now))

    def _notice(self, key: str, setting: str, notice: str, now: float) -> str:
        """Return a line for the log; empty where it was logged lately, or too many were."""
        while self._notices and now - next(iter(self._notices.values())) >= _QUIET:
            self._notices.popitem(last=False)
        if (key, setting) in self._notices or len(self._notices) >= _NOTICES:
            return ""
        self._notices[key, setting] = now
        return f"{notice}; if it is a proxy, name it in gateway.trusted_proxies"
