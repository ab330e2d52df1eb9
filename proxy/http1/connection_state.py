"""The life of a client's connection as a table."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a client's connection does."""

    IDLE = "idle"
    READING = "reading a head"
    SERVING = "serving a request"
    LINGERING = "lingering close"
    """The last answer is sent; what still comes is thrown away. A close on bytes that were not read would reset the
    connection, and the answer with it (RFC 9112, section 9.6)."""
    DETACHED = "detached"
    """The socket has another owner; the exchange that gave it away goes on to its end."""
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
