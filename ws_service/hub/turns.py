"""Shares of the loop's turns: for what many clients ask at once, and for one task that has much to do.

One operation takes a few milliseconds at most (a megabyte that is recovered, a list of a thousand clients). Hundreds of
clients may ask at once, each in a task of its own, and all these tasks would run in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from itertools import islice

SHARE = 0.004
"""Seconds of one turn."""

_WOKEN = 64
"""Operations that are woken in one turn, at most. Those that find no time left wait on, at a few microseconds each."""


class Turns:
    """Lets operations of different tasks begin in their order, in each turn of the loop as many as fit into ``SHARE``.

    What an operation does before its first wait counts. One begins in each turn, however long it takes.
    """

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._until: float | None = None  # the end of this turn's share; None: nothing has begun in this turn
        self._waiting: OrderedDict[_Place, None] = OrderedDict()
        self._is_scheduled = False

    def __len__(self) -> int:
        """How many operations wait."""
        return len(self._waiting)

    async def next(self) -> None:
        """Wait until an operation may begin. Cancelling it gives the place up."""
        if not self._waiting and self._has_time():
            return
        place = _Place()
        self._waiting[place] = None
        try:
            await self._wait(place)
            while not self._has_time():
                await self._wait(place)
        finally:
            del self._waiting[place]
            if self._waiting:
                self._schedule()

    # -- inside

    async def _wait(self, place: _Place) -> None:
        place.woken = asyncio.get_running_loop().create_future()
        self._schedule()
        await place.woken

    def _has_time(self) -> bool:
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._share
            self._schedule()
        return now < self._until

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a turn: its share starts with the first of those that are woken here."""
        self._is_scheduled = False
        self._until = None
        for place in islice(self._waiting, _WOKEN):
            if place.woken is not None and not place.woken.done():
                place.woken.set_result(None)


class _Place:
    """In the queue. woken: what it waits for."""

    __slots__ = ("woken",)

    def __init__(self) -> None:
        self.woken: asyncio.Future[None] | None = None


class Pace:
    """Interrupts a task with much to do, so that it takes ``SHARE`` of a turn at most."""

    def __init__(self) -> None:
        self._until = 0.0

    async def keep(self) -> None:
        """Leave others their turn, where the share of this one is used."""
        now = time.monotonic()
        if now >= self._until:
            if self._until:
                await asyncio.sleep(0)
                now = time.monotonic()
            self._until = now + SHARE
