"""A client's socket: both directions, the bytes that wait in them, and whether the client reads or has vanished."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import Enum

from proxy.net import tls
from proxy.net.client_limits import Lease
from proxy.net.fair_reads import READ_SIZE
from proxy.net.read_after_reset import half_close
from proxy.net.timers import waits
from ws_service.net.unacknowledged import waiting

LeaseBuffer = Callable[[str, int], Lease | None]
"""Counts bytes of a client (``RequestHandler.lease_buffer``): its address, and how many."""

_UNSENT, _UNREAD = "unsent", "unread"
"""Why bytes are counted that wait here."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Pause(Enum):
    """Why the client's socket is not read."""

    HELD = "as much is held as may be"
    BODY = "a body comes faster than it is taken"
    LENT = "another process may read from the socket"


class ClientSocket:
    """A socket from its beginning until it is closed, or taken.

    lease_buffer: counts what waits. timeout: seconds that the client may read almost nothing, by the settings with
    which its request began. limit: bytes that may wait in each direction before the other side is made to wait.

    ``transport`` is None before the connection is made, and after its end. ``held``: what came after the request that
    is being served. ``leases``: of bytes that wait, by reason. ``is_slow``: more waits than may; nothing more is to be
    written until ``drain`` returns. ``was_too_slow``: it was cut because the client took nothing of what waited for it.
    """

    __slots__ = (
        "_address",
        "_drained",
        "_lease_buffer",
        "_limit",
        "_pauses",
        "held",
        "is_acknowledged",
        "is_slow",
        "leases",
        "timeout",
        "transport",
        "was_too_slow",
        "written",
    )

    def __init__(self, lease_buffer: LeaseBuffer, timeout: float, limit: int) -> None:
        self._lease_buffer = lease_buffer
        self._limit = limit
        self._address = "-"
        self._pauses: set[Pause] = set()
        self._drained: asyncio.Future[None] | None = None
        self.timeout = timeout
        self.transport: asyncio.Transport | None = None
        self.held = bytearray()
        self.leases: dict[str, Lease] = {}
        self.written = 0
        self.is_acknowledged = True  # all of it, at a sweep of ``DeadPeers``
        self.is_slow = self.was_too_slow = False

    def open(self, transport: asyncio.Transport, address: str) -> None:
        """Begin. address: the client's, for which is counted what waits."""
        self.transport = transport
        self._address = address
        tls.bound(transport, self._limit)
        transport.set_write_buffer_limits(high=self._limit)

    @property
    def has_tls(self) -> bool:
        """Whether TLS ends in this process."""
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is not None

    @property
    def is_gone(self) -> bool:
        """Whether it is closed, or about to be."""
        return self.transport is None or self.transport.is_closing()

    @property
    def is_flushing(self) -> bool:
        """Whether bytes wait to be sent."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    # -- bytes that wait: at most one lease for each reason

    def count(self, reason: str, size: int) -> None:
        """Count bytes, unless some are counted for the same reason; cut the client where it has too many of them."""
        if reason in self.leases:
            return
        lease = self._lease_buffer(self._address, size)
        if lease is not None:
            self.leases[reason] = lease
        else:
            asyncio.get_running_loop().call_soon(self.took_too_long)  # not in the middle of a write

    def uncount(self, *reasons: str) -> None:
        """Count them no more, if they were counted."""
        for reason in reasons:
            if (lease := self.leases.pop(reason, None)) is not None:
                lease.release()

    # -- writing

    def write(self, data: bytes) -> None:
        """Send bytes; on a connection that has ended they go nowhere."""
        if self.transport is not None:
            self.written += len(data)
            self.is_acknowledged = False
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client takes more bytes. Raises ConnectionResetError when it leaves instead.

        One coroutine waits at a time; it may be cancelled.
        """
        if self.is_slow and self.transport is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self.transport is None:
            raise ConnectionResetError("the client has left")

    def set_slow(self, is_slow: bool) -> None:
        """Note that too much waits for the client, or no longer does."""
        self.is_slow = is_slow
        if not is_slow:
            self._wake()
            self.uncount(_UNSENT)
        elif self.transport is not None:
            self.count(_UNSENT, waits(self.transport))

    def reset(self) -> None:
        """Cut the connection with a TCP reset: unsent bytes are discarded, also those in the kernel."""
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()

    # -- what ``SlowReaders`` and ``DeadPeers`` ask

    def taken(self) -> int | None:
        """Return how many bytes the client has taken; None when nothing waits for it."""
        left = None if self.transport is None else waiting(self.transport)
        return None if left is None else self.written - left

    def took_too_long(self) -> None:
        """Cut the client, with what waits for it."""
        self.was_too_slow = True
        self.reset()

    vanish = reset

    # -- reading

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
                self.count(_UNREAD, len(self.held))
            elif why is Pause.BODY:
                # How much of it waits is not told, and what its upstream is to take waits a second time.
                self.count(_UNREAD, 2 * (READ_SIZE + 2 * self._limit))

    def resume(self, why: Pause | None = None) -> None:
        """Read again, unless something else is against it. why: what is not against it any more."""
        if why is not None:
            self._pauses.discard(why)
        if self.transport is not None and not self._pauses:
            self.uncount(_UNREAD)
            self.transport.resume_reading()

    # -- lent, taken, closed

    def lend(self) -> tuple[int, bytes]:
        """Stop reading: the descriptor, and what was read too early. Raises ConnectionResetError when it is gone."""
        transport = self._open_transport()
        self.pause(Pause.LENT)
        return transport.get_extra_info("socket").fileno(), bytes(self.held)

    def take(self) -> tuple[asyncio.Transport, bytes]:
        """Give it away: the transport, paused, and what was read too early. Raises ConnectionResetError when it is
        gone."""
        transport = self._open_transport()
        transport.pause_reading()
        held = bytes(self.held)
        self.release()
        return transport, held

    def end_sending(self) -> None:
        """Say that nothing more is sent; forget what is held, and read whatever comes: it will be thrown away."""
        self.held.clear()
        self._pauses.clear()
        self.resume()
        if self.transport is not None and self.transport.can_write_eof():
            half_close(self.transport)

    def close(self) -> None:
        """Close it, after what was written has been sent."""
        if self.transport is not None:
            self.transport.close()

    def release(self) -> None:
        """Forget the transport, and count nothing any more."""
        self.transport = None
        self._wake()
        self.held.clear()
        self.uncount(*self.leases)

    def _open_transport(self) -> asyncio.Transport:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has left")
        return self.transport

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
