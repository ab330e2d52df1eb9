"""How much is fed to all WebSocket libraries of the process in one turn of the loop, and whose turn it is.

A library works through everything that it is given before anybody else has
a turn. A bound for each socket alone is none: a client with a thousand of
them has a thousand times as much (issue 9). So there is one budget for the
process, and what it does not reach waits: clients take turns, and the
sockets of a client take turns within that of their client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Protocol

log = logging.getLogger(__name__)

TURN = 512
"""What is fed in one turn of the loop, in frames as ``frames.FrameSplitter`` counts them, at 6 to 15 µs for each."""

SLICE = 32
"""What one socket is fed at once. The library says behind a slice, and not within it, that it wants no more."""

_LONGEST = 0.004
"""Seconds behind which a turn ends also when there is budget: a frame may cost more than the cutter can know."""


class Payer(Protocol):
    """A client, as far as feeding its sockets is concerned."""

    def delay(self) -> float:
        """Return the seconds for which none of its sockets is fed; 0 when they may be."""


class Fed(Protocol):
    """A socket of which bytes wait to be fed."""

    def feed(self) -> int:
        """Feed a slice; return what it counted. Whoever wants more enters again."""


class Feeder:
    """The budget of the turn, and the line of those that it did not reach.

    ``left`` is the budget that the turn has left; there is none where it is 0 or less.
    """

    def __init__(self) -> None:
        self.left = TURN
        self._lines: OrderedDict[Payer, OrderedDict[Fed, None]] = OrderedDict()
        self._aside: dict[Payer, tuple[OrderedDict[Fed, None], asyncio.TimerHandle]] = {}
        self._is_turn_coming = False

    def spend(self, units: int) -> None:
        """Take something off the budget of this turn."""
        self.left -= units
        self._have_a_turn()

    def enter(self, client: Payer, one: Fed) -> None:
        """Have a socket fed when it is its client's turn, and its own among those of its client. Entering twice is one.

        One of a client that has to wait comes when the client may be fed again.
        """
        aside = self._aside.get(client)
        line = aside[0] if aside is not None else self._lines.setdefault(client, OrderedDict())
        line[one] = None
        if aside is None:
            self._have_a_turn()

    def leave(self, client: Payer, one: Fed) -> None:
        """Feed a socket no more. Safe to call for one that does not wait."""
        if (line := self._lines.get(client)) is not None:
            line.pop(one, None)
            if not line:
                del self._lines[client]
        elif (aside := self._aside.get(client)) is not None:
            aside[0].pop(one, None)
            if not aside[0]:
                aside[1].cancel()
                del self._aside[client]

    def __len__(self) -> int:
        """How many sockets wait."""
        return sum(map(len, self._lines.values())) + sum(len(line) for line, _ in self._aside.values())

    def _have_a_turn(self) -> None:
        if not self._is_turn_coming:
            self._is_turn_coming = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a turn of the loop: those that wait come before what is read in it."""
        self._is_turn_coming = False
        self.left = TURN
        latest = time.monotonic() + _LONGEST
        while self._lines and self.left > 0:
            client = next(iter(self._lines))
            if (delay := client.delay()) > 0:
                self._put_aside(client, delay)
                continue
            self._lines.move_to_end(client)
            self._feed_one(client)
            if time.monotonic() > latest:
                self.left = 0
        if self._lines:
            self._have_a_turn()

    def _feed_one(self, client: Payer) -> None:
        line = self._lines[client]
        one, _ = line.popitem(last=False)
        if not line:
            del self._lines[client]
        try:
            units = one.feed()
        except Exception:  # one connection's fault must not be the end of everybody's turns
            log.exception("a connection cannot be fed; the others are")
            units = SLICE
        self.spend(max(1, units))

    def _put_aside(self, client: Payer, delay: float) -> None:
        timer = asyncio.get_running_loop().call_later(delay, self._bring_back, client)
        self._aside[client] = self._lines.pop(client), timer

    def _bring_back(self, client: Payer) -> None:
        self._lines[client], _ = self._aside.pop(client)
        self._have_a_turn()
