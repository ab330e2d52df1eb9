"""Fair reading: how much all WebSocket libraries of the process are given in one turn of the loop, and in which order.

A library works through everything that it is given before another connection has a turn. A limit for each socket alone
does not help: a client with a thousand of them has a thousand times as much (issue 9). So there is one budget for the
process, and what it does not reach waits: round robin over the clients, and over the sockets of each.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Protocol

log = logging.getLogger(__name__)

BUDGET = 512
"""What is given in one turn of the loop, in frames as ``frames.FrameSplitter`` counts them, at 6 to 15 µs for each."""

SLICE = 32
"""What one socket is given at once. The library says after a slice, and not within it, that it wants no more."""

_LONGEST_TURN = 0.004
"""Seconds after which a turn ends also when there is budget: a frame may cost more than the splitter can know."""


class Client(Protocol):
    """A client, as far as the order is concerned."""

    def delay(self) -> float:
        """Return the seconds for which none of its sockets is read; 0 when they may be."""


class Input(Protocol):
    """A socket of which bytes wait for the library."""

    def feed(self) -> int:
        """Give the library a slice; return what it cost. What wants more enters again."""


class ReadScheduler:
    """The budget of the turn, and the queues of those that it did not reach.

    ``left`` is the budget that the turn has left in frames; there is none where it is 0 or less.
    """

    def __init__(self) -> None:
        self.left = BUDGET
        self._until: float | None = None  # the end of this turn's time; None: nothing has been read in it
        self._queues: OrderedDict[Client, OrderedDict[Input, None]] = OrderedDict()
        self._delayed: dict[Client, tuple[OrderedDict[Input, None], asyncio.TimerHandle]] = {}
        self._is_scheduled = False

    @property
    def is_spent(self) -> bool:
        """Whether nothing more is to be read in this turn."""
        return self.left <= 0 or (self._until is not None and time.monotonic() >= self._until)

    def spend(self, units: int) -> None:
        """Take something off the budget of this turn, whose time begins with the first."""
        self.left -= units
        if self._until is None:
            self._until = time.monotonic() + _LONGEST_TURN
        self._schedule()

    def enter(self, client: Client, one: Input) -> None:
        """Have a socket read when it is its turn among those of its client. Entering twice is one.

        One of a client that has to wait comes when the client may be read again.
        """
        delayed = self._delayed.get(client)
        queue = delayed[0] if delayed is not None else self._queues.setdefault(client, OrderedDict())
        queue[one] = None
        if delayed is None:
            self._schedule()

    def leave(self, client: Client, one: Input) -> None:
        """Read a socket no more. Safe to call for one that does not wait."""
        if (queue := self._queues.get(client)) is not None:
            queue.pop(one, None)
            if not queue:
                del self._queues[client]
        elif (delayed := self._delayed.get(client)) is not None:
            delayed[0].pop(one, None)
            if not delayed[0]:
                delayed[1].cancel()
                del self._delayed[client]

    def __len__(self) -> int:
        """How many sockets wait."""
        return sum(map(len, self._queues.values())) + sum(len(queue) for queue, _ in self._delayed.values())

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a turn of the loop: those that wait come before what is read in it."""
        self._is_scheduled = False
        self.left = BUDGET
        self._until = latest = time.monotonic() + _LONGEST_TURN
        while self._queues and self.left > 0:
            client = next(iter(self._queues))
            if (delay := client.delay()) > 0:
                self._delay(client, delay)
                continue
            self._queues.move_to_end(client)
            self._feed_one(client)
            if time.monotonic() > latest:
                self.left = 0
        if self._queues:
            self._schedule()
        if not self._is_scheduled:
            self._until = None

    def _feed_one(self, client: Client) -> None:
        queue = self._queues[client]
        one, _ = queue.popitem(last=False)
        if not queue:
            del self._queues[client]
        try:
            units = one.feed()
        except Exception:  # a fault of one connection must not end the turns of all
            log.exception("a connection cannot be read; the others are")
            units = SLICE
        self.spend(max(1, units))

    def _delay(self, client: Client, delay: float) -> None:
        timer = asyncio.get_running_loop().call_later(delay, self._resume, client)
        self._delayed[client] = self._queues.pop(client), timer

    def _resume(self, client: Client) -> None:
        self._queues[client], _ = self._delayed.pop(client)
        self._schedule()
