"""So many at a time, and the next ones in the order in which they came: in all, or of each client."""

from __future__ import annotations

import asyncio

Line = dict["asyncio.Future[None]", None]
"""Those who wait, the first one first."""


class ConcurrencyLimit:
    """So many at a time, and whoever comes later waits, first come, first served.

    limit: how many. None: no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._line: Line = {}
        self.taken = 0

    def reconfigure(self, limit: int | None) -> None:
        """Change the limit from here on; who waits keeps the place."""
        self._limit = limit
        while self._line and (limit is None or self.taken < limit):
            self.taken += 1
            self.leave()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def claim_at_once(self) -> bool:
        """Take a turn if there is one, and nobody waits for it; tell whether."""
        if self._line or (self._limit is not None and self.taken >= self._limit):
            return False
        self.taken += 1
        return True

    async def claim(self, seconds: float | None) -> None:
        """Take a turn, behind those who came before. ``leave`` gives it back.

        seconds: to wait for it; 0 does not wait, None has no end. Raises TimeoutError when there is none in time.
        Cancelling gives up the place.
        """
        if self.claim_at_once():
            return
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line[ticket] = None
        try:
            async with asyncio.timeout(seconds):
                await ticket
        except BaseException:
            if ticket.done() and not ticket.cancelled():  # called up, and gone in the same moment
                self.leave()
            raise
        finally:
            self._line.pop(ticket, None)

    def leave(self) -> None:
        """Give a turn to the next who waits, or back where there are fewer turns now."""
        while self._line and (self._limit is None or self.taken <= self._limit):
            ticket = next(iter(self._line))
            del self._line[ticket]
            if not ticket.done():
                ticket.set_result(None)
                return
        self.taken -= 1


class ConcurrencySlot:
    """A turn of one client; it counts until it is released."""

    __slots__ = ("_key", "_owner")

    def __init__(self, owner: PerClientConcurrency, key: str) -> None:
        self._owner: PerClientConcurrency | None = owner
        self._key = key

    def release(self) -> None:
        """Let the client's next one come. Safe to call again: then it does nothing."""
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.leave(self._key)


class PerClientConcurrency:
    """Turns of each client; nothing is kept of a client that has none and waits for none."""

    def __init__(self) -> None:
        self._clients: dict[str, ConcurrencyLimit] = {}

    @property
    def total(self) -> int:
        """How many there are, those that wait not counted."""
        return sum(turns.taken for turns in self._clients.values())

    @property
    def clients(self) -> int:
        """How many clients have any, or wait for one."""
        return len(self._clients)

    async def claim(self, key: str, most: int | None, seconds: float | None) -> ConcurrencySlot:
        """Take a turn, behind the client's earlier ones.

        key: the client's. most: how many it may have from here on; None: any number. seconds: to wait; 0 does not
        wait, None has no end. Raises TimeoutError when none has ended by then. Cancelling gives up the place.
        """
        turns = self._clients.setdefault(key, ConcurrencyLimit(most))
        turns.reconfigure(most)
        try:
            await turns.claim(seconds)
        finally:
            self._forget(key)
        return ConcurrencySlot(self, key)

    def leave(self, key: str) -> None:
        """Count one out; ``ConcurrencySlot.release`` calls this."""
        self._clients[key].leave()
        self._forget(key)

    def _forget(self, key: str) -> None:
        turns = self._clients.get(key)
        if turns is not None and not turns.taken and not turns.waiting:
            del self._clients[key]
