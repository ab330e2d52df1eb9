"""A client's socket: both of its directions, and what waits in them."""

from __future__ import annotations

import asyncio

from proxy.http1.buffered_bytes import BufferedBytes
from proxy.http1.client_input import ClientInput, Pause
from proxy.http1.client_writer import ClientWriter
from proxy.http1.request_handler import RequestHandler
from proxy.net import tls
from proxy.net.read_after_reset import half_close
from proxy.net.timers import waits

_UNSENT = "unsent"


class ClientSocket:
    """A socket from its beginning until it is closed, or taken.

    handler: counts what waits. send_timeout: seconds that the client may take next to nothing. limit: bytes that may
    wait in each direction before the other side is made to wait.

    ``transport`` is None before the connection is made, and after its end.
    """

    __slots__ = ("_limit", "buffered", "input", "transport", "writer")

    def __init__(self, handler: RequestHandler, send_timeout: float, limit: int) -> None:
        self._limit = limit
        self.transport: asyncio.Transport | None = None
        self.writer = ClientWriter(send_timeout)
        self.buffered = BufferedBytes(handler, self.writer)
        self.input = ClientInput(self.buffered, limit)

    def open(self, transport: asyncio.Transport, address: str) -> None:
        """Begin. address: the client's, for which is counted what waits."""
        self.transport = self.writer.transport = self.input.transport = transport
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

    def lend(self) -> tuple[int, bytes]:
        """Stop reading: the descriptor, and what was read too early. Raises ConnectionResetError when it is gone."""
        transport = self._open_transport()
        self.input.pause(Pause.LENT)
        return transport.get_extra_info("socket").fileno(), bytes(self.input.held)

    def take(self) -> tuple[asyncio.Transport, bytes]:
        """Give it away: the transport, paused, and what was read too early. Raises ConnectionResetError when it is
        gone."""
        transport = self._open_transport()
        transport.pause_reading()
        held = bytes(self.input.held)
        self.release()
        return transport, held

    def end_sending(self) -> None:
        """Say that nothing more is sent, and throw away what was read too early."""
        self.input.discard()
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
        self.input.ended()
        self.buffered.release_all()

    def _open_transport(self) -> asyncio.Transport:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has left")
        return self.transport
