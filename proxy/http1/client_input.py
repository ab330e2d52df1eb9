"""What comes from one client before it can be used: bytes that are held, and pauses of reading."""

from __future__ import annotations

import asyncio
from enum import Enum

from proxy.http1.buffered_bytes import BufferedBytes
from proxy.net.fair_reads import READ_SIZE

_UNREAD = "unread"


class Pause(Enum):
    """Why the client's socket is not read."""

    HELD = "as much is held as may be"
    BODY = "a body comes faster than it is taken"
    LENT = "another process may read from the socket"


class ClientInput:
    """The receiving side of a client's connection.

    buffered: counts what waits while reading is paused. limit: bytes that may be held.

    ``transport`` is None before the connection is made, and after its end. ``held``: what came after the request that
    is being served.
    """

    __slots__ = ("_buffered", "_limit", "_pauses", "held", "transport")

    def __init__(self, buffered: BufferedBytes, limit: int) -> None:
        self._buffered = buffered
        self._limit = limit
        self._pauses: set[Pause] = set()
        self.held = bytearray()
        self.transport: asyncio.Transport | None = None

    def hold(self, data: bytes) -> None:
        """Keep bytes for later. Reading is paused when they are as many as may be held."""
        self.held += data
        if len(self.held) >= self._limit and Pause.HELD not in self._pauses:
            self.pause(Pause.HELD)

    def used(self, count: int) -> None:
        """Forget the first bytes of what is held: they are read now."""
        del self.held[:count]
        if Pause.HELD in self._pauses and len(self.held) < self._limit:
            self.resume(Pause.HELD)

    def pause(self, why: Pause) -> None:
        """Stop reading; what the client sends meanwhile stays in the kernel."""
        self._pauses.add(why)
        if self.transport is not None:
            self.transport.pause_reading()
            if why is Pause.HELD:
                self._buffered.count(_UNREAD, len(self.held))
            elif why is Pause.BODY:
                # How much of it waits is not told, and what its upstream is to take waits a second time.
                self._buffered.count(_UNREAD, 2 * (READ_SIZE + 2 * self._limit))

    def resume(self, why: Pause | None = None) -> None:
        """Read again, unless something else is against it. why: what is not against it any more."""
        if why is not None:
            self._pauses.discard(why)
        if self.transport is not None and not self._pauses:
            self._buffered.release(_UNREAD)
            self.transport.resume_reading()

    def discard(self) -> None:
        """Forget what is held, and read whatever comes: it will be thrown away."""
        self.held.clear()
        self._pauses.clear()
        self.resume()

    def ended(self) -> None:
        """Note that the connection has ended, or is no longer ours."""
        self.transport = None
        self.held.clear()
