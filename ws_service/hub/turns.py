"""Shares of the loop's turns: for what many clients ask at once, and for one task that has much to do.

One operation takes a few milliseconds at most (a megabyte that is recovered, a list of a thousand clients). Hundreds of
clients may ask at once, each in a task of its own, and all these tasks would run in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import chain, islice, zip_longest

log = logging.getLogger(__name__)

SHARE = 0.004
"""Seconds of one turn."""

_WOKEN = 64
"""Operations that are woken in one turn, at most. Those that find no time left wait on, at a few microseconds each."""


class Turns:
    """Lets operations of different tasks begin, in each turn of the loop as many as fit into ``SHARE``.

    Round robin over the clients that ask; those of one client in their order.

    What an operation does before its first wait counts. One begins in each turn, however long it takes.
    """

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._until: float | None = None  # the end of this turn's share; None: nothing has begun in this turn
        self._waiting: OrderedDict[str, dict[_Place, None]] = OrderedDict()
        self._is_scheduled = False

    def __len__(self) -> int:
        """How many operations wait."""
        return sum(map(len, self._waiting.values()))

    async def next(self, client: str) -> None:
        """Wait until an operation may begin. Cancelling it gives the place up.

        client: whose it is (``client_key``): one with hundreds of connections has one share.
        """
        if not self._waiting and self._has_time():
            return
        place = _Place()
        self._waiting.setdefault(client, {})[place] = None
        try:
            await self._wait(place)
            while not self._has_time():
                await self._wait(place)
        finally:
            self._leave(client, place)

    # -- inside

    def _leave(self, client: str, place: _Place) -> None:
        queue = self._waiting[client]
        del queue[place]
        if queue:
            self._waiting.move_to_end(client)  # the others come first now
        else:
            del self._waiting[client]
        if self._waiting:
            self._schedule()

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
        queues = [islice(queue, _WOKEN) for queue in islice(self._waiting.values(), _WOKEN)]
        in_order = (place for place in chain.from_iterable(zip_longest(*queues)) if place is not None)
        for place in islice(in_order, _WOKEN):
            if place.woken is not None and not place.woken.done():
                place.woken.set_result(None)


class _Place:
    """In the queue. woken: what it waits for."""

    __slots__ = ("woken",)

    def __init__(self) -> None:
        self.woken: asyncio.Future[None] | None = None


class Share:
    """Does what comes at once, such as the ends of all sockets of a client: in each turn of the loop as much as fits
    into ``SHARE``, in its order. What comes alone is done at once.

    Time of the processor counts, and not of the clock: what is done at once must not depend on other programs.
    """

    def __init__(self) -> None:
        self._left = SHARE
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_scheduled = self._is_over = False

    def __len__(self) -> int:
        """How much waits."""
        return len(self._waiting)

    def do(self, what: Callable[[], None]) -> None:
        """Do something that waits for nothing: now, or in a later turn."""
        if self._is_over:
            what()
            return
        self._waiting.append(what)
        if len(self._waiting) == 1:
            self._work()
        self._schedule()

    def close(self) -> None:
        """Do now what waits, and whatever comes."""
        self._is_over = True
        while self._waiting:
            self._do(self._waiting.popleft())

    # -- inside

    def _work(self) -> None:
        while self._waiting and self._left > 0:
            began = time.thread_time()
            self._do(self._waiting.popleft())
            self._left -= time.thread_time() - began

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:  # a fault of one must not keep the others
            log.exception("the end of a client could not be carried out")

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_over:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        self._left = SHARE
        self._work()
        if self._waiting:
            self._schedule()


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
