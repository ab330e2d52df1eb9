"""One timer for every connection: who is late, who takes nothing, and who has left without being read.

A transport that does not read notices neither an end nor a reset, so those
that are paused are asked for with poll(2). Connections that have nothing to
wait for cost nothing.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

PERIOD = 1.0
"""Seconds between two sweeps."""

_FULL = 10
"""Sweeps between two that look for unsent bytes at every connection: a buffer below its mark tells nobody."""

_SILENT = 3
"""Sweeps between two that ask whether the other side is still there."""

_ENDED = getattr(select, "POLLRDHUP", 0)
RESET = select.POLLERR | select.POLLHUP if hasattr(select, "poll") else 0
"""What poll(2) says of a connection that was reset, or has ended in both directions."""


class Watched(Protocol):
    """A connection that the sweep looks at."""

    def look(self, now: float) -> bool:
        """Act on what is late. now: seconds of the loop's clock. Returns whether it has to be looked at again."""

    def deaf_descriptor(self) -> int | None:
        """Return the descriptor of a connection that does not read at the moment; None while it does."""

    def peer_ended(self, is_reset: bool, now: float) -> None:
        """Hear that the other side has ended, which reading would have told. Told at each sweep."""

    def has_unsent(self) -> bool:
        """Tell whether bytes wait in this process for the other side to take some."""

    def end_if_vanished(self) -> None:
        """End it, if the other side does not answer any more what is on its way to it."""


class Sweep:
    """Looks at the connections that have said that there is something to wait for."""

    def __init__(self) -> None:
        self._all: set[Watched] = set()
        self._watched: dict[Watched, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._count = 0

    def enter(self, one: Watched) -> None:
        """Know a connection from now on."""
        self._all.add(one)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD, self._sweep)

    def watch(self, one: Watched) -> None:
        """Look at a connection until it says that it is enough. Only those that have entered."""
        if one in self._all:
            self._watched[one] = None

    def leave(self, one: Watched) -> None:
        """Forget a connection. Safe to call twice."""
        self._all.discard(one)
        self._watched.pop(one, None)

    def __len__(self) -> int:
        return len(self._all)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        try:
            self._look_at_all(loop.time())
        finally:  # whatever it was: without a timer nobody would have a deadline any more
            if self._all and self._timer is None:
                self._timer = loop.call_later(PERIOD, self._sweep)

    def _look_at_all(self, now: float) -> None:
        self._count += 1
        if self._count % _FULL == 0:
            for one in list(self._all):
                if self._ask(one, one.has_unsent):
                    self.watch(one)
        if self._count % _SILENT == 0:
            for one in list(self._all):
                self._ask(one, one.end_if_vanished)
        self._ask_for_ends(now)
        for one in list(self._watched):
            if not self._ask(one, partial(one.look, now)):
                self._watched.pop(one, None)

    def _ask(self, one: Watched, question: Callable[[], _Answer]) -> _Answer | None:
        """Ask a connection something. One connection's fault must not be the end of everybody's deadlines."""
        try:
            return question()
        except Exception:
            log.exception("the sweep cannot look at a connection; it is looked at no more")
            self.leave(one)
            return None

    def _ask_for_ends(self, now: float) -> None:
        deaf: dict[int, Watched] = {}
        for one in list(self._watched):
            number = self._ask(one, one.deaf_descriptor)
            if number is not None and number >= 0:
                deaf[number] = one
        if not deaf or not hasattr(select, "poll"):
            return
        poll = select.poll()
        for number in deaf:
            poll.register(number, _ENDED)  # POLLERR and POLLHUP are told unasked
        for number, events in poll.poll(0):
            if events & select.POLLNVAL:
                continue
            one = deaf[number]
            self._ask(one, partial(one.peer_ended, bool(events & RESET), now))
