"""The states of a client's session and of its subscriptions, as tables."""

from __future__ import annotations

from enum import Enum


class SessionState(Enum):
    """What a client's session is."""

    NEW = "waiting for connect"
    CONNECTING = "connecting"
    """The connect command is being executed: subscriptions of the server are made."""
    OPEN = "open"
    ENDED = "ended"

    __hash__ = object.__hash__  # members are singletons; Enum's own is a call of Python for each look-up


class SubscriptionState(Enum):
    """What a subscription is."""

    SUBSCRIBING = "subscribing"
    """It is registered, and its position is not known yet: publications are buffered."""
    LIVE = "live"
    ENDED = "ended"

    __hash__ = object.__hash__


SESSION: dict[SessionState, dict[str, SessionState]] = {
    SessionState.NEW: {"connect": SessionState.CONNECTING, "end": SessionState.ENDED},
    SessionState.CONNECTING: {
        "connected": SessionState.OPEN,
        "refused": SessionState.NEW,
        "end": SessionState.ENDED,
    },
    SessionState.OPEN: {"end": SessionState.ENDED},
    SessionState.ENDED: {},
}
"""State, what happens, next state. ``docs/architecture.md`` draws its picture from this table."""

SUBSCRIPTION: dict[SubscriptionState, dict[str, SubscriptionState]] = {
    SubscriptionState.SUBSCRIBING: {"position known": SubscriptionState.LIVE, "end": SubscriptionState.ENDED},
    SubscriptionState.LIVE: {"end": SubscriptionState.ENDED},
    SubscriptionState.ENDED: {},
}
"""State, what happens, next state. ``docs/architecture.md`` draws its picture from this table."""
