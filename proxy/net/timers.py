"""Timeouts, found by a periodic sweep over all items: no timer is set or cancelled for one of them.

``Deadlines`` calls a function for each item that has not ended in time. ``SlowReaders`` ends clients that take next to
nothing of what waits for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from math import inf
from typing import Generic, Protocol, TypeVar

from proxy.net.fair_reads import READ_SIZE
from ws_service.net.periodic_sweep import Pass, PeriodicSweep
from ws_service.net.unacknowledged import MIN_RATE

T = TypeVar("T")

SWEEPS = 4
"""Sweeps per timeout: what exceeds it is found within another quarter of it."""

_SHORTEST = 0.05
"""Seconds between two sweeps at the least: a timeout of 0 must not become a busy loop."""

_ROUNDING = 1e-6
"""Seconds that a sum of periods may differ from what it should be."""


def is_over(seconds: float, timeout: float) -> bool:
    """Tell whether a sum of periods has come to a timeout, which is no shorter than ``SWEEPS`` periods."""
    return seconds >= max(timeout, SWEEPS * _SHORTEST) - _ROUNDING


def waits(transport: asyncio.Transport) -> int:
    """Return how many bytes are held in this process for what waits to be sent.

    More than the transport says: it keeps a piece whole until the last of its bytes has left, and over TLS three times
    as much lies in the layers below (measured).
    """
    held = transport.get_write_buffer_size() + READ_SIZE
    return held if transport.get_extra_info("sslcontext") is None else 4 * held


def sweep_period(timeout: float) -> float:
    """Return the seconds between two sweeps for a timeout."""
    return max(timeout / SWEEPS, _SHORTEST)


class Deadlines(Generic[T]):
    """Tells of items that take too long, each with a timeout of its own.

    on_late: called with each, up to a second or a quarter of its timeout late, whichever is less.
    """

    def __init__(self, on_late: Callable[[T], None]) -> None:
        self._on_late = on_late
        self._until: dict[T, float] = {}  # monotonic seconds
        self._shortest = inf  # timeout that began since there was nothing to sweep
        self._sweep = PeriodicSweep(self._pass)

    def __len__(self) -> int:
        return len(self._until)

    def begin(self, one: T, seconds: float) -> None:
        """Give an item so many seconds from now, also if it has begun already."""
        self._until[one] = time.monotonic() + seconds
        if seconds < self._shortest:
            self._shortest = seconds
            self._sweep.start(min(1.0, sweep_period(seconds)))

    def end(self, one: T) -> None:
        """Forget an item, if it has begun at all."""
        self._until.pop(one, None)

    def _pass(self, period: float) -> Pass:
        now = time.monotonic()
        for one in [one for one, until in self._until.items() if until <= now]:
            if self._until.get(one, inf) <= now:  # else the one before has ended it, or it has begun again
                del self._until[one]
                self._on_late(one)
                yield
        if self._until:
            return period
        self._shortest = inf
        return None


class Reader(Protocol):
    """A peer that bytes are sent to."""

    @property
    def timeout(self) -> float:
        """How many seconds it may read almost nothing; the setting with which its exchange began."""

    def taken(self) -> int | None:
        """Return how many bytes it has taken, counted from anywhere; None when nothing waits for it."""

    def took_too_long(self) -> None:
        """End it."""


class SlowReaders:
    """Ends readers that take less than ``MIN_RATE`` for too long, while something waits for them.

    What a reader has taken is what its own kernel has acknowledged (``ws_service.net.unacknowledged``). Nothing is done
    for a message, and nothing is kept of readers for which nothing waits.

    readers: called at each sweep, returns what is to be swept.
    """

    def __init__(self, readers: Callable[[], Iterable[Reader]]) -> None:
        self._readers = readers
        self._standing: dict[Reader, tuple[int, float]] = {}  # what it had taken so many seconds ago, not enough since
        self._sweep = PeriodicSweep(self._pass)

    def start(self, timeout: float) -> None:
        """Sweep from here on, while there are readers. timeout: the shortest that a reader may have now, in seconds."""
        self._sweep.start(sweep_period(timeout))

    def _pass(self, period: float) -> Pass:
        readers = list(self._readers())
        before, standing = self._standing, {}
        for reader in readers:
            taken = reader.taken()
            if taken is None:
                continue
            timeout = reader.timeout
            had, stood = before.get(reader, (taken, -period))
            if taken - had >= max(1, int(timeout * MIN_RATE)):
                had, stood = taken, -period
            if is_over(stood + period, timeout):
                reader.took_too_long()
            else:
                standing[reader] = had, stood + period
            yield
        self._standing = standing
        return sweep_period(min(reader.timeout for reader in readers)) if readers else None
