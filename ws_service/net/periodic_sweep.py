"""A function that is called periodically while there is something to sweep: one timer for many items.

Both programs have many connections and few that need attention. A timer for
each would cost memory and time with every message; a sweep costs something
now and then. The rules themselves are elsewhere: deadlines, slow readers,
idle tunnels, dead peers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator

Pass = Generator[None, None, float | None]
"""One pass over the items. It yields after each piece of work, and returns the seconds until the next pass; None when
nothing is left to sweep."""

PIECES_PER_TURN = 256
"""Pieces of work in one turn of the loop, at about 10 us each (a system call). All 18,000 ends of 9,000 busy tunnels in
one turn would keep everything else waiting for 0.16 s."""


class PeriodicSweep:
    """Makes passes over items, from ``start`` on, until a pass says that nothing is left.

    sweep: begins a pass; called with the seconds that were waited for it. Not with the time that has passed: while a
    process stands still (a suspended machine, a stopped container) no peer has had time to do anything.

    A pass that fails is followed by another one after the same period, and its error is the loop's: without a timer
    nothing would have a deadline any more.
    """

    __slots__ = ("_asked", "_handle", "_pass", "_period", "_sweep")

    def __init__(self, sweep: Callable[[float], Pass]) -> None:
        self._sweep = sweep
        self._handle: asyncio.Handle | None = None
        self._pass: Pass | None = None
        self._period = 0.0
        self._asked: float | None = None  # the period that was asked for during a pass

    def start(self, period: float) -> None:
        """Have a pass within ``period`` seconds; where the period is as short already, this costs a comparison."""
        if self._pass is not None:
            self._asked = period if self._asked is None else min(self._asked, period)
        elif self._handle is None or period < self._period:
            self._schedule(period)

    def stop(self) -> None:
        """Sweep no more until ``start``, also if a pass is under way."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._pass = self._asked = None

    # -- inside

    def _schedule(self, period: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._period = period
        self._handle = asyncio.get_running_loop().call_later(period, self._begin)

    def _begin(self) -> None:
        self._pass = self._sweep(self._period)
        self._work(self._pass)

    def _work(self, current: Pass) -> None:
        """Do some pieces of a pass, and the rest in later turns of the loop."""
        period: float | None = self._period
        is_over = True
        try:
            for _ in range(PIECES_PER_TURN):
                next(current)
            is_over = False
        except StopIteration as end:
            period = end.value
        finally:
            if current is not self._pass:
                pass  # a piece of work has stopped the sweep
            elif is_over:
                self._end_pass(period)
            else:
                self._handle = asyncio.get_running_loop().call_soon(self._work, current)

    def _end_pass(self, period: float | None) -> None:
        periods = [each for each in (period, self._asked) if each is not None]
        self._handle = self._pass = self._asked = None
        if periods:
            self._schedule(min(periods))
