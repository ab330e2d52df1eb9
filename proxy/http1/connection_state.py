"""The states of a client's connection, as a table."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a client's connection does."""

    IDLE = "idle"
    READING = "reading a head"
    SERVING = "serving a request"
    LINGERING = "lingering close"
    """The last response has been sent; further bytes are discarded. A close with unread bytes would reset the
    connection, and the client could lose the response (RFC 9112, section 9.6)."""
    DETACHED = "detached"
    """The socket has another owner; the exchange that detached it goes on to its end."""
    CLOSED = "closed"
    """No more is read. What is written is still sent."""

    __hash__ = object.__hash__  # members are singletons; Enum's own is a call of Python for each look-up


TRANSITIONS: dict[State, dict[str, State]] = {
    State.IDLE: {
        "first byte": State.READING,
        "request": State.SERVING,
        "bad request": State.LINGERING,
        "close": State.CLOSED,
    },
    State.READING: {"request": State.SERVING, "bad request": State.LINGERING, "close": State.CLOSED},
    State.SERVING: {
        "answered": State.IDLE,
        "bytes left": State.LINGERING,
        "detach": State.DETACHED,
        "close": State.CLOSED,
    },
    State.LINGERING: {"close": State.CLOSED},
    State.DETACHED: {"close": State.CLOSED},
    State.CLOSED: {"close": State.CLOSED},
}
"""State, what happens, next state. ``docs/architecture.md`` draws its picture from this table."""
