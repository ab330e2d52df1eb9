"""What is known of an address: whether it takes connections, and whether its health path says that it works.

Two questions, kept apart. *Unreachable* is one that takes no connection; then
it is left out, and where its upstream has no other, requests wait. *Degraded*
is one that takes them and answers its health path with anything but 2xx or
3xx; that is logged and shown in ``/readyz``. It is asked where there is no
better address: a path that is wrong in the config must not take a working
upstream out. Precedents for going on: nginx never takes out the only server of
a group, Envoy sends to all hosts once too few are healthy (its panic mode).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum

logger = logging.getLogger("proxy")


class State(Enum):
    """What is known of an address."""

    UNKNOWN = "unknown"
    UP = "up"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"


TRANSITIONS: dict[State, dict[str, State]] = {
    State.UNKNOWN: {"reached": State.UP, "answers badly": State.DEGRADED, "not reached": State.UNREACHABLE},
    State.UP: {"answers badly": State.DEGRADED, "not reached": State.UNREACHABLE},
    State.DEGRADED: {"answers well": State.UP, "not reached": State.UNREACHABLE},
    State.UNREACHABLE: {"reached": State.UP, "answers badly": State.DEGRADED},
}
"""State, what happens, next state. ``docs/architecture.md`` draws its picture from this table."""


class Health:
    """The state of one address of an upstream, and what leads from one to the next.

    name: for the log. fails: probes that fail in a row before it is
    unreachable, or degraded. passes: probes that succeed in a row before it
    is up again. clock: seconds, monotonic.

    ``why`` says what is wrong; nothing while it is up. Each change is one line in the log.
    ``on_change`` is called after each change of the state, with the one before it; it must not raise. Its address has
    ``on_change_of_address``, which is called first.
    """

    def __init__(self, name: str, *, fails: int, passes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.reconfigure(fails=fails, passes=passes)
        self._clock = clock
        self._fails = self._passes = self._bad_answers = 0
        self.on_change: Callable[[State], None] = lambda _: None
        self.on_change_of_address: Callable[[], None] = lambda: None
        self.state = State.UNKNOWN
        self.since = clock()
        self.why = ""

    def reconfigure(self, *, fails: int, passes: int) -> None:
        """Change how many probes it takes from here on."""
        self._fails_needed = fails
        self._passes_needed = passes

    @property
    def is_unreachable(self) -> bool:
        """Whether it takes no connection."""
        return self.state is State.UNREACHABLE

    # -- what requests meet

    def reached(self) -> None:
        """It has taken a request's connection."""
        self._fails = 0
        if self.state is not State.UP:
            self._happen("reached", "")

    def missed(self, why: str) -> None:
        """It has not taken one: there is no doubt left, so no second failure is waited for."""
        self._fails = self._fails_needed
        self._passes = 0
        self._happen("not reached", why)

    # -- what probes find

    def passed(self) -> None:
        """A probe has reached it, and its answer was good where one was asked for."""
        self._fails = self._bad_answers = 0
        self._passes += 1
        if self.state is State.UNKNOWN or self._passes >= self._passes_needed:
            self._happen("answers well" if self.state is State.DEGRADED else "reached", "")

    def failed(self, why: str) -> None:
        """A probe has not reached it."""
        self._passes = self._bad_answers = 0
        self._fails += 1
        if self.state in (State.UNKNOWN, State.UNREACHABLE) or self._fails >= self._fails_needed:
            self._happen("not reached", why)

    def answered_badly(self, why: str) -> None:
        """A probe has reached it, and its answer was none, or not a good one."""
        self._fails = self._passes = 0
        self._bad_answers += 1
        if self.state is not State.UP or self._bad_answers >= self._fails_needed:
            self._happen("answers badly", why)

    # -- inside

    def _happen(self, event: str, why: str) -> None:
        after = TRANSITIONS[self.state].get(event)
        if after is None:
            self.why = why or self.why  # it still is, perhaps for another reason
            return
        before, lasted = self.state, self._clock() - self.since
        self.state, self.since, self.why = after, self._clock(), why
        past = "" if before is State.UNKNOWN else f", after {lasted:.1f} s {before.value}"
        level = logging.INFO if after is State.UP else logging.WARNING
        logger.log(level, "the upstream %s is %s%s%s", self.name, after.value, past, f": {why}" if why else "")
        self.on_change_of_address()
        self.on_change(before)
