"""Who is too slow: found by looking now and then, with one timer for everybody.

``Deadlines`` ends what has not come to its end in time. ``SlowReaders`` ends
who takes next to nothing of what waits for it.

What a reader has taken is what its own kernel has acknowledged
(``ws_service.unacknowledged``). Nothing is done per message, and nothing is
kept of readers for whom nothing waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Generic, Protocol, TypeVar

from proxy.net.read_size import READ_SIZE
from ws_service.net.unacknowledged import MIN_RATE

T = TypeVar("T")

LOOKS = 4
"""Looks per timeout: whoever exceeds it is found within another quarter."""

_SHORTEST = 0.05
"""Seconds between two looks at the least: a timeout of 0 must not become a busy loop."""

_ROUNDING = 1e-6
"""Seconds that a sum of pauses may differ from what it should be."""


def waits(transport: asyncio.Transport) -> int:
    """Return how many bytes are held in this process for what waits to be sent.

    More than the transport says: it keeps a piece whole until the last of its bytes has left, and over TLS three times
    as much lies in the layers below (measured).
    """
    held = transport.get_write_buffer_size() + READ_SIZE
    return held if transport.get_extra_info("sslcontext") is None else 4 * held


class Reader(Protocol):
    """Somebody to whom bytes go."""

    @property
    def timeout(self) -> float:
        """How many seconds it may take next to nothing; what its exchange began with."""

    def taken(self) -> int | None:
        """Return how many bytes it has taken, counted from anywhere; None when nothing waits for it."""

    def took_too_long(self) -> None:
        """End it."""


class Deadlines(Generic[T]):
    """Tells of things that take too long, each from its own beginning.

    timeout: seconds; what takes too long is told up to a second or a quarter of it later, whichever is less.
    on_late: called with each.
    """

    def __init__(self, timeout: float, on_late: Callable[[T], None]) -> None:
        self._on_late = on_late
        self._until: dict[T, float] = {}  # in the order in which they began, which is that of their ends ...
        self._unordered = 0.0  # ... but for those that end before this, which began with more timeout than later ones
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = timeout

    def __len__(self) -> int:
        return len(self._until)

    def use(self, timeout: float) -> None:
        """Have another timeout with those that begin from here on; those that have begun keep theirs."""
        if self._until and timeout < self._timeout:
            self._unordered = max(self._unordered, max(self._until.values()))
        self._timeout = timeout

    def begin(self, one: T) -> None:
        """Count its time from now, also if it was counted already."""
        loop = asyncio.get_running_loop()
        self._until.pop(one, None)
        self._until[one] = loop.time() + self._timeout
        if self._timer is None:
            self._look_later(loop)

    def end(self, one: T) -> None:
        """Forget it, if it was counted at all."""
        self._until.pop(one, None)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(max(min(1.0, self._timeout / LOOKS), _SHORTEST), self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        if now < self._unordered:
            late = [one for one, until in self._until.items() if until <= now]
        else:
            late = [one for one, _ in takewhile(lambda item: item[1] <= now, self._until.items())]
        try:
            for one in late:
                if self._until.pop(one, None) is not None:  # else the one before has ended it
                    self._on_late(one)
        finally:
            if self._until and self._timer is None:
                self._look_later(loop)


class SlowReaders:
    """Ends readers that take less than ``MIN_RATE`` for too long, while something waits for them.

    timeout: seconds of the readers that begin now; each has its own. readers: called at each look for those to look
    at.
    """

    def __init__(self, timeout: float, readers: Callable[[], Iterable[Reader]]) -> None:
        self._readers = readers
        self._standing: dict[Reader, tuple[int, float]] = {}  # what it had taken so many seconds ago, not enough since
        self._timer: asyncio.TimerHandle | None = None
        self._shortest = timeout

    def use(self, timeout: float) -> None:
        """Expect readers with another timeout from here on."""
        if timeout < self._shortest:
            self._shortest = timeout
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
                self.wake()

    def wake(self) -> None:
        """Begin to look, and go on while there are readers."""
        if self._timer is None:
            pause = max(self._shortest / LOOKS, _SHORTEST)
            # By the pauses and not by the clock: a process that stood still has given nobody time to take anything.
            self._timer = asyncio.get_running_loop().call_later(pause, self._look, pause)

    def _look(self, pause: float) -> None:
        self._timer = None
        readers = list(self._readers())
        before, self._standing = self._standing, {}
        self._shortest = min((reader.timeout for reader in readers), default=self._shortest)
        for reader in readers:
            taken = reader.taken()
            if taken is None:
                continue
            timeout = reader.timeout
            had, stood = before.get(reader, (taken, -pause))
            if taken - had >= max(1, int(timeout * MIN_RATE)):
                had, stood = taken, -pause
            if stood + pause >= max(timeout, LOOKS * _SHORTEST) - _ROUNDING:
                reader.took_too_long()
            else:
                self._standing[reader] = had, stood + pause
        if readers:
            self.wake()
