"""Topics: their names, their namespaces, and the options that a namespace gives them.

``prices:AAPL`` is in the namespace ``prices``; a topic without a colon is in the default one, and so is one whose
namespace has no options of its own. ``user:#ada`` is for the user ``ada`` alone, ``chat:#ada,bob`` for two (the user
boundary of Centrifugo).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ws_service.hub.broker import Keep

if TYPE_CHECKING:  # pydantic takes 120 ms, and publish() needs none of it
    from ws_service.config.hub_settings import HubSettings, TopicSettings

MAX_NAME = 255
"""Characters of a topic's name. Precedent: Centrifugo 255."""


class Recovery(Enum):
    """What a client gets that subscribes again. STREAM: all that it has missed, or none and the fact.
    CACHE: the newest value."""

    STREAM = "stream"
    CACHE = "cache"


class Allowed(Enum):
    """Which clients may do something. NONE; SIGNED: with a token for the topic; USERS: those with a name;
    ANYONE."""

    NONE = "none"
    SIGNED = "signed"
    USERS = "users"
    ANYONE = "anyone"


class SlowPolicy(Enum):
    """What happens to publications for a client that does not read. LATEST: only the newest of a topic is kept;
    DROP_OLDEST: as many as fit; DISCONNECT: the client is disconnected with 3008."""

    LATEST = "latest"
    DROP_OLDEST = "drop-oldest"
    DISCONNECT = "disconnect"


_KEEP = Keep(100, 300.0)


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """How topics of a namespace behave.

    keep: their history. recovery: what a client gets that comes back. presence: whether it can be asked who is there.
    join_leave: whether subscribers are told. subscribe, publish: which clients may (of publish, SIGNED means
    those that are subscribed). rate: publications a second of one client. slow: see SlowPolicy.
    """

    keep: Keep = _KEEP
    recovery: Recovery = Recovery.CACHE
    presence: bool = False
    join_leave: bool = False
    subscribe: Allowed = Allowed.SIGNED
    publish: Allowed = Allowed.NONE
    rate: float = 10.0
    slow: SlowPolicy = SlowPolicy.LATEST

    @classmethod
    def of(cls, settings: TopicSettings) -> TopicOptions:
        """Return the options that the settings of a namespace say."""
        return cls(
            keep=Keep(settings.history, settings.ttl),
            recovery=Recovery(settings.recovery),
            presence=settings.presence,
            join_leave=settings.join_leave,
            subscribe=Allowed(settings.subscribe),
            publish=Allowed(settings.publish),
            rate=settings.rate,
            slow=_slow_policy(settings),
        )


DEFAULT = TopicOptions()


def _slow_policy(settings: TopicSettings) -> SlowPolicy:
    """Return the policy that is set, or that which suits the recovery: a stream that loses silently is none."""
    if settings.slow is not None:
        return SlowPolicy(settings.slow)
    return SlowPolicy.DISCONNECT if settings.recovery == "stream" else SlowPolicy.LATEST


class Namespaces:
    """The options of every topic. options: by namespace. default: of topics without one."""

    def __init__(self, options: Mapping[str, TopicOptions] | None = None, default: TopicOptions = DEFAULT) -> None:
        self._options = dict(options or {})
        self._default = default

    @classmethod
    def from_settings(cls, settings: HubSettings) -> Namespaces:
        """Return the options that ``ws_service.hub`` says."""
        options = {name: TopicOptions.of(topics) for name, topics in settings.namespaces.items()}
        return cls(options, TopicOptions.of(settings.default))

    @property
    def names(self) -> Collection[str]:
        """The namespaces that have options of their own."""
        return self._options.keys()

    def of(self, topic: str) -> TopicOptions:
        """Return the options of a topic."""
        return self._options.get(namespace_of(topic), self._default)


def namespace_of(topic: str) -> str:
    """Return what is before the first colon; empty where there is none."""
    name, colon, _ = topic.partition(":")
    return name if colon else ""


def users_of(topic: str) -> frozenset[str] | None:
    """Return the users that a topic is limited to; None for no limit."""
    _, boundary, users = topic.partition("#")
    return frozenset(users.split(",")) if boundary else None


def is_valid(topic: object) -> bool:
    """Tell whether a name can be a topic's: 1 to 255 printable characters."""
    return isinstance(topic, str) and 0 < len(topic) <= MAX_NAME and topic.isprintable()
