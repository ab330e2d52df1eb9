"""The process's life as a table, and the exchanges that must end before it may.

What to do in each state is written elsewhere: ``server`` knows the order,
``drain`` how clients are asked to leave.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar


class State(Enum):
    """The state of the process."""

    STARTING = "starting"
    READY = "ready"
    NOTICE = "giving notice"
    """All requests are served, and ``/readyz`` tells load balancers to send new clients elsewhere."""
    DRAINING = "draining"
    STOPPED = "stopped"


TRANSITIONS: dict[State, dict[str, State]] = {
    State.STARTING: {"listening": State.READY, "stop": State.STOPPED},
    State.READY: {"notice": State.NOTICE, "stop": State.DRAINING},
    State.NOTICE: {"stop": State.DRAINING, "second signal": State.STOPPED},
    State.DRAINING: {"empty": State.STOPPED, "deadline": State.STOPPED, "second signal": State.STOPPED},
    State.STOPPED: {},
}
"""State, what happens, next state. ``docs/architecture.md`` draws its picture from this table."""

T = TypeVar("T")


class Lifecycle(Generic[T]):
    """The state of the process and the set of what is in flight.

    ``on_empty`` is called when the last one leaves while the process drains, or after that.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.in_flight: set[T] = set()
        self.on_empty: Callable[[], None] = lambda: None

    def happen(self, event: str) -> None:
        """Go to the next state; KeyError when ``event`` cannot happen in this one."""
        self.state = TRANSITIONS[self.state][event]

    @property
    def is_ready(self) -> bool:
        """Whether new clients are to come here; asked by balancers."""
        return self.state is State.READY

    @property
    def is_ending(self) -> bool:
        """Whether clients that are still here are asked to leave."""
        return self.state in (State.DRAINING, State.STOPPED)

    def enter(self, one: T) -> None:
        """Count one in. Called before the first ``await``, so that a drain misses none."""
        self.in_flight.add(one)

    def leave(self, one: T) -> None:
        """Count one out."""
        self.in_flight.discard(one)
        if not self.in_flight and self.is_ending:
            self.on_empty()
