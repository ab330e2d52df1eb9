"""A client's socket: both of its directions, and the bytes that wait in them, counted for the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from proxy.http1.client_writer import ClientWriter
from proxy.net import tls
from proxy.net.client_limits import Lease
from proxy.net.fair_reads import READ_SIZE
from proxy.net.read_after_reset import half_close
from proxy.net.timers import waits

LeaseBuffer = Callable[[str, int], Lease | None]
"""Counts bytes of a client (``RequestHandler.lease_buffer``): its address, and how many."""

_UNSENT, _UNREAD = "unsent", "unread"
"""Why bytes are counted that wait here."""


class Pause(Enum):
    """Why the client's socket is not read."""

    HELD = "as much is held as may be"
    BODY = "a body comes faster than it is taken"
    LENT = "another process may read from the socket"


class BufferedBytes:
    """At most one lease for each reason why bytes wait. The connection is cut where its client has too many of them.

    lease_buffer: gives the leases. writer: cuts the connection.

    ``address`` is the client's. ``leases``: by reason.
    """

    __slots__ = ("_lease_buffer", "_writer", "address", "leases")

    def __init__(self, lease_buffer: LeaseBuffer, writer: ClientWriter) -> None:
        self._lease_buffer = lease_buffer
        self._writer = writer
        self.leases: dict[str, Lease] = {}
        self.address = "-"

    def count(self, reason: str, size: int) -> None:
        """Count bytes, unless some are counted for the same reason. size: bytes."""
        if reason in self.leases:
            return
        lease = self._lease_buffer(self.address, size)
        if lease is not None:
            self.leases[reason] = lease
        else:
            asyncio.get_running_loop().call_soon(self._writer.took_too_long)  # not in the middle of a write

    def release(self, *reasons: str) -> None:
        """Count them no more, if they were counted."""
        for reason in reasons:
            if (lease := self.leases.pop(reason, None)) is not None:
                lease.release()

    def release_all(self) -> None:
        """Count none any more."""
        self.release(*self.leases)


class ClientSocket:
    """A socket from its beginning until it is closed, or taken.

    lease_buffer: counts what waits. send_timeout: seconds that the client may take next to nothing. limit: bytes that
    may wait in each direction before the other side is made to wait.

    ``transport`` is None before the connection is made, and after its end. ``held``: what came after the request that
    is being served.
    """

    __slots__ = ("_limit", "_pauses", "buffered", "held", "transport", "writer")

    def __init__(self, lease_buffer: LeaseBuffer, send_timeout: float, limit: int) -> None:
        self._limit = limit
        self.transport: asyncio.Transport | None = None
        self.writer = ClientWriter(send_timeout)
        self.buffered = BufferedBytes(lease_buffer, self.writer)
        self.held = bytearray()
        self._pauses: set[Pause] = set()

    def open(self, transport: asyncio.Transport, address: str) -> None:
        """Begin. address: the client's, for which is counted what waits."""
        self.transport = self.writer.transport = transport
        self.buffered.address = address
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

    def set_slow(self, is_slow: bool) -> None:
        """Note that too much waits for the client, or no longer does."""
        self.writer.set_slow(is_slow)
        if not is_slow:
            self.buffered.release(_UNSENT)
        elif self.transport is not None:
            self.buffered.count(_UNSENT, waits(self.transport))

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
                self.buffered.count(_UNREAD, len(self.held))
            elif why is Pause.BODY:
                # How much of it waits is not told, and what its upstream is to take waits a second time.
                self.buffered.count(_UNREAD, 2 * (READ_SIZE + 2 * self._limit))

    def resume(self, why: Pause | None = None) -> None:
        """Read again, unless something else is against it. why: what is not against it any more."""
        if why is not None:
            self._pauses.discard(why)
        if self.transport is not None and not self._pauses:
            self.buffered.release(_UNREAD)
            self.transport.resume_reading()

    def discard(self) -> None:
        """Forget what is held, and read whatever comes: it will be thrown away."""
        self.held.clear()
        self._pauses.clear()
        self.resume()

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
        """Say that nothing more is sent, and throw away what was read too early."""
        self.discard()
        if self.transport is not None and self.transport.can_write_eof():
            half_close(self.transport)

    def close(self) -> None:
        """Close it, after what was written has been sent."""
        if self.transport is not None:
            self.transport.close()

    def release(self) -> None:
        """Forget the transport, and count nothing any more."""
        self.transport = None
        self.writer.ended()
        self.held.clear()
        self.buffered.release_all()

    def _open_transport(self) -> asyncio.Transport:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has left")
        return self.transport
