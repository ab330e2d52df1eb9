"""So many at a time, and the next ones in the order in which they came: in all, or of each client."""

from __future__ import annotations

import asyncio

SlotWaiters = dict["asyncio.Future[ConcurrencyLimit]", None]
"""Those that wait for a slot, the first one first."""


class ConcurrencyLimit:
    """So many at a time, and what comes later waits, first come, first served.

    limit: how many. None: no limit. waiters: shared with other limits, so that what waits gets the first slot of any;
    None: its own.

    ``gives`` tells whether what waits may get a slot of this one.
    """

    def __init__(self, limit: int | None, waiters: SlotWaiters | None = None) -> None:
        self._limit = limit
        self._waiters: SlotWaiters = {} if waiters is None else waiters
        self.gives = True
        self.taken = 0

    def reconfigure(self, limit: int | None) -> None:
        """Change the limit from here on; what waits keeps its place."""
        self._limit = limit
        self.give()

    def give(self) -> None:
        """Give the slots that are free to those that wait."""
        while self._waiters and self.gives and (self._limit is None or self.taken < self._limit):
            self.taken += 1
            self.release()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiters)

    def try_acquire(self) -> bool:
        """Take a slot if one is free, and nothing waits for it; tell whether."""
        if self._waiters or (self._limit is not None and self.taken >= self._limit):
            return False
        self.taken += 1
        return True

    async def acquire(self, seconds: float | None) -> None:
        """Take a slot, after those that came before. ``release`` gives it back.

        seconds: to wait for it; 0 does not wait, None has no end. Raises TimeoutError when there is none in time.
        Cancelling gives up the place.
        """
        if not self.try_acquire():
            await next_slot(self._waiters, seconds)

    def release(self) -> None:
        """Give a slot to the next that waits, or back where there are fewer slots now."""
        while self._waiters and self.gives and (self._limit is None or self.taken <= self._limit):
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            if not waiter.done():
                waiter.set_result(self)
                return
        self.taken -= 1


async def next_slot(waiters: SlotWaiters, seconds: float | None) -> ConcurrencyLimit:
    """Wait for a slot, after those that came before; return the limit whose it is, and that releases it.

    waiters: of one limit, or of several. seconds: to wait; 0 does not wait, None has no end. Raises TimeoutError when
    there is none in time. Cancelling gives up the place.
    """
    waiter: asyncio.Future[ConcurrencyLimit] = asyncio.get_running_loop().create_future()
    waiters[waiter] = None
    try:
        async with asyncio.timeout(seconds):
            return await waiter
    except BaseException:
        if waiter.done() and not waiter.cancelled():  # it was given a slot, and cancelled in the same moment
            waiter.result().release()
        raise
    finally:
        waiters.pop(waiter, None)


class ConcurrencySlot:
    """A slot of one client; it counts until it is released."""

    __slots__ = ("_key", "_owner")

    def __init__(self, owner: PerClientConcurrency, key: str) -> None:
        self._owner: PerClientConcurrency | None = owner
        self._key = key

    def release(self) -> None:
        """Let the client's next one come. Safe to call again: then it does nothing."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.release(self._key)


class PerClientConcurrency:
    """Slots of each client; nothing is kept of a client that has none and waits for none."""

    def __init__(self) -> None:
        self._clients: dict[str, ConcurrencyLimit] = {}

    @property
    def total(self) -> int:
        """How many there are, those that wait not counted."""
        return sum(limit.taken for limit in self._clients.values())

    @property
    def clients(self) -> int:
        """How many clients have any, or wait for one."""
        return len(self._clients)

    async def acquire(self, key: str, most: int | None, seconds: float | None) -> ConcurrencySlot:
        """Take a slot, after the client's earlier ones.

        key: the client's. most: how many it may have from here on; None: any number. seconds: to wait; 0 does not
        wait, None has no end. Raises TimeoutError when none has ended by then. Cancelling gives up the place.
        """
        limit = self._clients.setdefault(key, ConcurrencyLimit(most))
        limit.reconfigure(most)
        try:
            await limit.acquire(seconds)
        finally:
            self._forget(key)
        return ConcurrencySlot(self, key)

    def release(self, key: str) -> None:
        """Count one out; ``ConcurrencySlot.release`` calls this."""
        self._clients[key].release()
        self._forget(key)

    def _forget(self, key: str) -> None:
        limit = self._clients.get(key)
        if limit is not None and not limit.taken and not limit.waiting:
            del self._clients[key]
