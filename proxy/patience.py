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

from proxy.reads import READ_SIZE
from ws_service.unacknowledged import MIN_RATE

T = TypeVar("T")

LOOKS = 4
"""Looks per patience: whoever exceeds it is found within another quarter."""

_SHORTEST = 0.05
"""Seconds between two looks at the least: a patience of 0 must not become a busy loop."""


def waits(transport: asyncio.Transport) -> int:
    """Return how many bytes are held in this process for what waits to be sent.

    More than the transport says: it keeps a piece whole until the last of its bytes has left, and over TLS three times
    as much lies in the layers below (measured).
    """
    held = transport.get_write_buffer_size() + READ_SIZE
    return held if transport.get_extra_info("sslcontext") is None else 4 * held


class Reader(Protocol):
    """Somebody to whom bytes go."""

    def taken(self) -> int | None:
        """Return how many bytes it has taken, counted from anywhere; None when nothing waits for it."""

    def took_too_long(self) -> None:
        """End it."""


class Deadlines(Generic[T]):
    """Tells of things that take too long, each from its own beginning.

    patience: seconds; what takes too long is told up to a second or a quarter of it later, whichever is less.
    on_late: called with each.
    """

    def __init__(self, patience: float, on_late: Callable[[T], None]) -> None:
        self._on_late = on_late
        self._since: dict[T, float] = {}  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None
        self.use(patience)

    def use(self, patience: float) -> None:
        """Have another patience from here on, also with those that have begun."""
        self._patience = patience
        self._pause = max(min(1.0, patience / LOOKS), _SHORTEST)

    def begin(self, one: T) -> None:
        """Count its time from now, also if it was counted already."""
        loop = asyncio.get_running_loop()
        self._since.pop(one, None)
        self._since[one] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._pause, self._look)

    def end(self, one: T) -> None:
        """Forget it, if it was counted at all."""
        self._since.pop(one, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() - self._patience
        self._timer = None
        late = [one for one, _ in takewhile(lambda item: item[1] <= latest, self._since.items())]
        try:
            for one in late:
                if self._since.pop(one, None) is not None:  # else the one before has ended it
                    self._on_late(one)
        finally:
            if self._since and self._timer is None:
                self._timer = loop.call_later(self._pause, self._look)


class SlowReaders:
    """Ends readers that take less than ``MIN_RATE`` for too long, while something waits for them.

    patience: seconds. readers: called at each look for those to look at.
    """

    def __init__(self, patience: float, readers: Callable[[], Iterable[Reader]]) -> None:
        self._readers = readers
        self._standing: dict[Reader, tuple[int, int]] = {}  # what it had taken so many looks ago, and not enough since
        self._timer: asyncio.TimerHandle | None = None
        self.use(patience)

    def use(self, patience: float) -> None:
        """Have another patience from the next look on; looks that were in vain still count."""
        self._pause = max(patience / LOOKS, _SHORTEST)
        self._enough = max(1, int(patience * MIN_RATE))

    def wake(self) -> None:
        """Begin to look, and go on while there are readers."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._look)

    def _look(self) -> None:
        self._timer = None
        readers = list(self._readers())
        before, self._standing = self._standing, {}
        for reader in readers:
            taken = reader.taken()
            if taken is None:
                continue
            had, looks = before.get(reader, (taken, -1))
            if taken - had >= self._enough:
                had, looks = taken, -1
            if looks + 1 >= LOOKS:
                reader.took_too_long()
            else:
                self._standing[reader] = had, looks + 1
        if readers:
            self.wake()
