"""Who has vanished while something is on its way to it: found by looking now and then, with one timer for many.

Idle connections cost a comparison: one to which nothing was written since all
of it was acknowledged is not asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from ws_service.net.keepalive import has_vanished

PERIOD = 3.0
"""Seconds between two looks."""

_AT_ONCE = 256
"""Ends that TCP is asked about in one turn of the loop: 10 us each. All legs of 9,000 busy tunnels in one go would keep
everybody else waiting for 0.16 s."""


class Watched(Protocol):
    """One end of a connection."""

    acknowledged: int
    """What ``written`` was when nothing was on its way any more; for ``DeadPeers`` to write."""

    @property
    def written(self) -> int:
        """How many bytes were written to it."""

    @property
    def wire(self) -> asyncio.Transport | None:
        """Its transport; None when it is gone."""

    def vanish(self) -> None:
        """End it: nobody is there any more."""


class DeadPeers:
    """Ends connections whose other end has vanished. ends: called at each look for those to look at."""

    def __init__(self, ends: Callable[[], Iterable[Watched]]) -> None:
        self._ends = ends
        self._timer: asyncio.Handle | None = None

    def wake(self) -> None:
        """Begin to look, and go on while there is anything to look at."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD, self._begin)

    def stop(self) -> None:
        """Look no more until ``wake``."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        self._timer = None
        if ends := list(self._ends()):
            self._look(iter(ends))

    def _look(self, ends: Iterator[Watched]) -> None:
        self._timer = None
        asked = 0
        for end in ends:
            written, wire = end.written, end.wire
            if written == end.acknowledged or wire is None or wire.is_closing():
                continue
            verdict = has_vanished(wire)
            if verdict:
                end.vanish()
            elif verdict is None and not wire.get_write_buffer_size():
                end.acknowledged = written
            asked += 1
            if asked == _AT_ONCE:
                self._timer = asyncio.get_running_loop().call_soon(self._look, ends)
                return
        self.wake()
