"""The requests of one upstream: those in flight, and those that wait, because it has all it may have or is unreachable.

There is one queue for both reasons and for all of its addresses, so that
together they are bounded, and the first address that has a slot takes what
came first. What waits has a timeout of its own, leaves nothing behind when it
is cancelled, and goes first come, first served.
"""

from __future__ import annotations

import asyncio
import random
from itertools import islice

from proxy.errors import Stopping, UpstreamFull
from proxy.net.concurrency import ConcurrencyLimit, SlotWaiters, next_slot

Waiters = dict["asyncio.Future[None]", None]
"""Those that wait, the first one first."""

STEP = 0.05
"""Seconds between two batches of requests that are let go when their upstream is back, give or take a half: 1, 2, 4,
8, ... so that it gets warm before it gets busy. 1024 of them take half a second."""


class RequestQueue:
    """The requests that one upstream has, and those that wait for it.

    name: of the upstream, for messages. waiting: how many may wait.
    """

    def __init__(self, name: str, *, waiting: int) -> None:
        self._name = name
        self._slots: list[ConcurrencyLimit] = []
        self._for_slot: SlotWaiters = {}
        self._for_check: Waiters = {}
        self._for_return: Waiters = {}
        self._timer: asyncio.TimerHandle | None = None  # for the next batch of those that wait for its return
        self._closed = ""  # what is said to those that still come
        self._max_waiting = waiting

    def reconfigure(self, *, waiting: int) -> None:
        """Change the limit from here on; what waits already keeps its place."""
        self._max_waiting = waiting

    def add_slots(self) -> ConcurrencyLimit:
        """Return the slots of one more address, as many as it is configured to have; what waits gets them too."""
        slots = ConcurrencyLimit(None, self._for_slot)
        self._slots.append(slots)
        return slots

    def remove_slots(self, slots: ConcurrencyLimit) -> None:
        """Forget the slots of an address that has gone, and has none taken."""
        self._slots.remove(slots)

    @property
    def in_flight(self) -> int:
        """How many requests the upstream has."""
        return sum(slots.taken for slots in self._slots)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._for_slot) + len(self._for_check) + len(self._for_return)

    @property
    def awaits_check(self) -> bool:
        """Whether requests wait for a check of an upstream that is unreachable."""
        return bool(self._for_check)

    @property
    def awaits_return(self) -> bool:
        """Whether requests wait for an upstream that is unreachable."""
        return bool(self._for_check or self._for_return)

    # -- a slot

    async def wait_for_slot(self, timeout: float) -> ConcurrencyLimit:
        """Wait for a slot of any address, after those that came before; return the slots that it is of.

        timeout: seconds to wait for it. Raises UpstreamFull when there is none in time, or too many wait. Cancelling
        gives up the place.
        """
        self._check_length()
        try:
            return await next_slot(self._for_slot, timeout)
        except TimeoutError:
            raise self._full(f"could take no other request within {timeout:g} s", "in_flight") from None

    # -- an upstream that is unreachable

    async def wait_for_check(self) -> None:
        """Wait for the next health check; whatever it finds, ``checked`` ends the wait."""
        await self._wait(self._for_check, None)

    async def wait_for_return(self, timeout: float) -> None:
        """Wait until the upstream is reachable. timeout: seconds. Raises TimeoutError, UpstreamFull and Stopping."""
        await self._wait(self._for_return, timeout)

    def checked(self) -> None:
        """Let go what waits for a health check."""
        _let_go(self._for_check, len(self._for_check))

    def resume(self) -> None:
        """Let go what waits for its return: one request now, and twice as many each time."""
        if self._for_return and self._timer is None:
            self._let_batch_go(1)

    def suspend(self) -> None:
        """Let nothing go any more: it is unreachable again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self, why: str = "This gateway is stopping.") -> None:
        """End the wait of all that wait for its return, and of those that still come for that, with Stopping.

        why: a sentence, for the client.
        """
        self._closed = why
        self.suspend()
        for waiters in (self._for_check, self._for_return):
            _let_go(waiters, len(waiters))

    # -- inside

    def _let_batch_go(self, count: int) -> None:
        self._timer = None
        _let_go(self._for_return, count)
        if self._for_return:
            pause = STEP * random.uniform(0.5, 1.5)
            self._timer = asyncio.get_running_loop().call_later(pause, self._let_batch_go, count * 2)

    async def _wait(self, waiters: Waiters, timeout: float | None) -> None:
        if not self._closed:
            # One may always ask for a check: without it none would be made.
            if waiters is not self._for_check or waiters:
                self._check_length()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiters[waiter] = None
            try:
                async with asyncio.timeout(timeout):
                    await waiter
            finally:
                waiters.pop(waiter, None)
        if self._closed:
            raise Stopping(self._closed, headers=[(b"Retry-After", b"1")])

    def _check_length(self) -> None:
        if self.waiting >= self._max_waiting:
            raise self._full(f"has {self.waiting} requests waiting for it, which is as many as may", "waiting")

    def _full(self, what: str, limit: str) -> UpstreamFull:
        return UpstreamFull(
            f"The upstream {self._name} {what}.",
            advice="It is busy or just coming back; try again in a moment.",
            detail=f"the upstream {self._name} {what}; {self.in_flight} are in flight "
            "(gateway.limits.in_flight and limits.waiting)",
            limit=limit,
        )


def _let_go(waiters: Waiters, count: int) -> None:
    for waiter in list(islice(waiters, count)):
        del waiters[waiter]
        if not waiter.done():
            waiter.set_result(None)
