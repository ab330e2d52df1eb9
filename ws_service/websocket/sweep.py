"""The periodic sweep over the connections of the service: timeouts, and clients that have left without being read.

A transport whose reading is paused notices neither an end nor a reset, so
poll(2) is asked about these. Connections that wait for nothing cost nothing.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol, TypeVar

from ws_service.net.dead_peers import Connected, DeadPeers
from ws_service.net.periodic_sweep import Pass, PeriodicSweep

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

PERIOD = 1.0
"""Seconds between two sweeps."""

_FULL = 10
"""Sweeps between two that look for unsent bytes at every connection: a buffer below its mark is not reported."""

_POLLED = 8
"""Connections that poll(2) is asked about at once: one piece of work."""

_ENDED = getattr(select, "POLLRDHUP", 0)
RESET = select.POLLERR | select.POLLHUP if hasattr(select, "poll") else 0
"""What poll(2) says of a connection that was reset, or has ended in both directions."""


class Swept(Connected, Protocol):
    """A connection that is swept."""

    def check(self, now: float) -> bool:
        """Act on what is late. now: seconds of the loop's clock. Returns whether it has to be checked again."""

    def paused_descriptor(self) -> int | None:
        """Return the descriptor of a connection that does not read at the moment; None while it does."""

    def peer_ended(self, is_reset: bool, now: float) -> None:
        """Hear that the peer has ended, which reading would have told. Called at each sweep."""

    def has_unsent(self) -> bool:
        """Tell whether bytes wait in this process for the peer to take some."""


class Sweep:
    """Sweeps connections: those that wait for something at each pass, all of them now and then."""

    def __init__(self) -> None:
        self._all: set[Swept] = set()
        self._active: dict[Swept, None] = {}  # those that wait for something
        self._count = 0
        self._sweep = PeriodicSweep(self._pass)
        self._dead_peers = DeadPeers(lambda: self._all)

    def add(self, one: Swept) -> None:
        """Sweep a connection from now on."""
        self._all.add(one)
        self._sweep.start(PERIOD)
        self._dead_peers.start()

    def activate(self, one: Swept) -> None:
        """Check a connection at each pass, until its ``check`` says that it is enough. Only those that were added."""
        if one in self._all:
            self._active[one] = None

    def remove(self, one: Swept) -> None:
        """Forget a connection. Safe to call twice."""
        self._all.discard(one)
        self._active.pop(one, None)

    def __len__(self) -> int:
        return len(self._all)

    # -- inside

    def _pass(self, _: float) -> Pass:
        now = asyncio.get_running_loop().time()
        self._count += 1
        if self._count % _FULL == 0:
            for one in list(self._all):
                if self._ask(one, one.has_unsent):
                    self.activate(one)
                yield
        yield from self._ask_for_ends(now)
        for one in list(self._active):
            if not self._ask(one, partial(one.check, now)):
                self._active.pop(one, None)
            yield
        return PERIOD if self._all else None

    def _ask(self, one: Swept, question: Callable[[], _Answer]) -> _Answer | None:
        """Ask a connection something. A fault of one connection must not end the timeouts of all."""
        try:
            return question()
        except Exception:
            log.exception("the sweep cannot check a connection; it is not swept any more")
            self.remove(one)
            return None

    def _ask_for_ends(self, now: float) -> Iterator[None]:
        """Ask for those whose peer has ended, some at a time."""
        active = list(self._active)
        for first in range(0, len(active), _POLLED):
            paused: dict[int, Swept] = {}
            for one in active[first : first + _POLLED]:
                number = self._ask(one, one.paused_descriptor) if one in self._active else None
                if number is not None and number >= 0:
                    paused[number] = one
            for number, events in _poll(paused):
                if not events & select.POLLNVAL:
                    one = paused[number]
                    self._ask(one, partial(one.peer_ended, bool(events & RESET), now))
            yield


def _poll(descriptors: Iterable[int]) -> list[tuple[int, int]]:
    """Return which of some descriptors have ended or were reset, without waiting; nothing where there is no poll(2)."""
    if not hasattr(select, "poll"):
        return []
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, _ENDED)  # POLLERR and POLLHUP are always reported
    return poll.poll(0)
