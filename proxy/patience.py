"""Who takes nothing of what waits for it: found by looking now and then, with one timer for everybody.

A reader may be as slow as it likes, as long as it takes something. What it
has taken is what its own kernel has acknowledged: ours holds megabytes for
it and takes more only when a third of that is free, which a phone on a bad
line may need minutes for. Nothing is done per message, and nothing is kept
of readers for whom nothing waits.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Callable, Iterable
from typing import Protocol

LOOKS = 4
"""Looks per patience: who stands is cut after the patience, or up to a quarter later."""

_SHORTEST = 0.05
"""Seconds between two looks at the least: a patience of 0 must not become a busy loop."""


def waiting(transport: asyncio.Transport) -> int | None:
    """Return how many bytes the other side has not acknowledged yet; None when none of them waits in this process."""
    held = transport.get_write_buffer_size()
    if not held:
        return None
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # macOS does not say; there, progress is what our kernel takes
        return held
    return held + int(struct.unpack("i", answer)[0])


class Reader(Protocol):
    """Somebody to whom bytes go."""

    def taken(self) -> int | None:
        """Return how many bytes it has taken, counted from anywhere; None when nothing waits for it."""

    def took_too_long(self) -> None:
        """End it."""


class SlowReaders:
    """Ends readers that take nothing for too long.

    patience: seconds. readers: called at each look for those to look at.
    """

    def __init__(self, patience: float, readers: Callable[[], Iterable[Reader]]) -> None:
        self._pause = max(patience / LOOKS, _SHORTEST)
        self._readers = readers
        self._standing: dict[Reader, tuple[int, int]] = {}  # what it had taken, and for how many looks nothing more
        self._timer: asyncio.TimerHandle | None = None

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
            had, looks = before.get(reader, (-1, 0))
            looks = looks + 1 if taken == had else 0
            if looks >= LOOKS:
                reader.took_too_long()
            else:
                self._standing[reader] = taken, looks
        if readers:
            self.wake()
