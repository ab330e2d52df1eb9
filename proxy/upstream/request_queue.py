"""Who waits for one upstream, and why: it has all that it may have, or it is away.

There is one room for both, so that together they are bounded. What waits
has a time of its own, leaves without a trace when it is cancelled, and goes
first come, first served.
"""

from __future__ import annotations

import asyncio
import random
from itertools import islice

from proxy.errors import Stopping, UpstreamFull
from proxy.net.concurrency import ConcurrencyLimit, Line

STEP = 0.05
"""Seconds between two batches of those who are let go when their upstream is back, give or take a half: 1, 2, 4, 8, ...
so that it gets warm before it gets busy. 1024 of them take half a second."""


class RequestQueue:
    """The requests that one upstream has, and those that wait for it.

    name: of the upstream, for messages. in_flight: how many requests it is
    given at the same time. None: no limit. places: how many may wait.
    """

    def __init__(self, name: str, *, in_flight: int | None, places: int) -> None:
        self._name = name
        self._turns = ConcurrencyLimit(in_flight)
        self._askers: Line = {}
        self._held: Line = {}
        self._letting_go: asyncio.TimerHandle | None = None
        self._closed = ""  # what is said to whoever still comes
        self._places = places

    def reconfigure(self, *, in_flight: int | None, places: int) -> None:
        """Change what holds from here on; who waits already keeps the place."""
        self._places = places
        self._turns.reconfigure(in_flight)

    @property
    def in_flight(self) -> int:
        """How many requests the upstream has."""
        return self._turns.taken

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._turns.waiting + len(self._askers) + len(self._held)

    @property
    def awaits_return(self) -> bool:
        """Whether somebody waits to hear of an upstream that is away."""
        return bool(self._askers or self._held)

    # -- a turn

    def claim_at_once(self) -> bool:
        """Take a turn if there is one, and nobody waits for it; tell whether."""
        return self._turns.claim_at_once()

    async def claim(self, seconds: float) -> None:
        """Take a turn, behind those who came before. ``leave`` gives it back.

        seconds: to wait for it. Raises UpstreamFull when there is none in
        time, or no place to wait. Cancelling gives up the place.
        """
        if self._turns.claim_at_once():
            return
        self._find_place()
        try:
            await self._turns.claim(seconds)
        except TimeoutError:
            raise self._full(f"had no room for another request within {seconds:g} s") from None

    def leave(self) -> None:
        """Give a turn to the next who waits, or back."""
        self._turns.leave()

    # -- an upstream that is away

    async def news(self) -> None:
        """Wait for the next look at the upstream; whatever it finds, ``tell`` ends the wait."""
        await self._wait(self._askers, None)

    async def hold(self, seconds: float) -> None:
        """Wait for the upstream's return. Raises TimeoutError, UpstreamFull and Stopping."""
        await self._wait(self._held, seconds)

    def tell(self) -> None:
        """End the wait of those who want to know, one way or the other."""
        _call_up(self._askers, len(self._askers))

    def open(self) -> None:
        """Let those go who wait for its return: one now, and twice as many each time."""
        if self._held and self._letting_go is None:
            self._let_go(1)

    def shut(self) -> None:
        """Let nobody go any more: it is away again."""
        if self._letting_go is not None:
            self._letting_go.cancel()
            self._letting_go = None

    def close(self, why: str = "This gateway is stopping.") -> None:
        """Send those away who wait for its return, and whoever still comes for that.

        why: a sentence, for the client.
        """
        self._closed = why
        self.shut()
        for line in (self._askers, self._held):
            _call_up(line, len(line))

    # -- inside

    def _let_go(self, count: int) -> None:
        self._letting_go = None
        _call_up(self._held, count)
        if self._held:
            pause = STEP * random.uniform(0.5, 1.5)
            self._letting_go = asyncio.get_running_loop().call_later(pause, self._let_go, count * 2)

    async def _wait(self, line: Line, seconds: float | None) -> None:
        if not self._closed:
            ticket = self._stand(line)
            try:
                async with asyncio.timeout(seconds):
                    await ticket
            finally:
                line.pop(ticket, None)
        if self._closed:
            raise Stopping(self._closed, headers=[(b"Retry-After", b"1")])

    def _stand(self, line: Line) -> asyncio.Future[None]:
        if line is not self._askers or line:  # where nobody asks, nobody finds out
            self._find_place()
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line[ticket] = None
        return ticket

    def _find_place(self) -> None:
        if self.waiting >= self._places:
            raise self._full(f"has {self.waiting} requests waiting for it, and no room for another")

    def _full(self, what: str) -> UpstreamFull:
        return UpstreamFull(
            f"The upstream {self._name} {what}.",
            advice="It is busy or just coming back; try again in a moment.",
            detail=f"the upstream {self._name} {what}; {self.in_flight} are in flight "
            "(gateway.limits.in_flight and limits.waiting)",
        )


def _call_up(line: Line, count: int) -> None:
    for ticket in list(islice(line, count)):
        del line[ticket]
        if not ticket.done():
            ticket.set_result(None)
