"""One connection to an upstream: the transport of one exchange at a time, with a reader of its response.

It is our own: aiohttp's client takes bytes that arrive on an idle pooled
connection for the next response, and it puts a connection back after a 101
that nothing asked for (docs/decisions/002-own-upstream-connections.md). Here a
connection is in use by one exchange or it is idle, an idle one on which
anything arrives is closed, and one is kept only when its response ended
exactly where it should.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from proxy.errors import UpstreamCut, UpstreamError, UpstreamLost, UpstreamUnreachable
from proxy.http1.response_reader import BadResponse, Response, ResponseReader
from proxy.net.fair_reads import READ_SIZE, pause_after_large_read
from proxy.upstream.transport import UpstreamTransport

SAFE = frozenset(("GET", "HEAD"))
"""Methods of requests that may be sent again whenever they got no response (RFC 9110, section 9.2). Not PUT and DELETE:
sent twice they do no harm, but a while later they may undo what the user has done since."""

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
"""These may be sent again at once when it is not known whether they arrived (section 9.2.2)."""

_TLS_ALERT = b"\x15"
"""The first byte of what a TLS server answers to plain HTTP, if it answers at all (RFC 8446, section 5.1)."""


class FastPathListener(Protocol):
    """An exchange of the fast path, which reads its response itself."""

    def response_received(self, data: bytes) -> None:
        """Take bytes of the response."""

    def upstream_lost(self, exc: Exception | None) -> None:
        """Hear that the connection has ended before it was given back."""


class ConnectionOwner(Protocol):
    """The address that a connection leads to, to which it is given back."""

    sockets: int
    """How many tunnels to it are open; counted by the one that opens them."""

    which: str
    """Its URL where its upstream has several addresses, for the access log; empty elsewhere."""

    def release(self, connection: UpstreamConnection) -> None:
        """Take it back when its exchange is over; closes it unless another may follow."""

    def discard(self, connection: UpstreamConnection) -> None:
        """Take it back and close it. Safe to call twice."""

    def detach(self, connection: UpstreamConnection) -> tuple[asyncio.Transport, bytes]:
        """Let it go for good after its 101: its transport, paused, and what came with the 101."""

    def doubt(self) -> None:
        """Prefer other addresses for a while: a request got no answer here."""


class UpstreamConnection(UpstreamTransport):
    """A connection to an upstream, carrying one exchange at a time.

    ``begin``, ``write``, ``await head()``, then ``await read()`` until it
    returns nothing. It is given back with ``Upstream.release``, which keeps
    or closes it. Cancelling a wait leaves the connection in the middle of an
    exchange; releasing it then closes it.

    upstream_name: for messages. buffer: bytes read ahead before the upstream is made to wait.
    """

    owner: ConnectionOwner
    """Set when it is opened; a probe's has none."""

    def __init__(self, upstream_name: str, buffer: int) -> None:
        super().__init__(buffer)
        self._name = upstream_name
        self._waiter: asyncio.Future[None] | None = None
        self._listener: FastPathListener | None = None
        self._pieces: list[bytes] = []
        self._taken = 0  # bytes of the body that have been read from here
        self._error: Exception | None = None
        self.reader: ResponseReader | None = None
        """Of the exchange under way; None while it is idle."""
        self.idle_since = 0.0
        self.is_reused = False

    # -- the exchange

    def begin(
        self,
        method: str,
        on_interim: Callable[[Response], None] = lambda _: None,
        *,
        may_switch: bool = False,
        listener: FastPathListener | None = None,
    ) -> ResponseReader:
        """Start an exchange; return the reader of its response.

        method: of the request; a response to HEAD has no body whatever it says.
        on_interim: called with each 1xx response but 101 (RFC 9110, section 15.2).
        may_switch: whether the request asks for another protocol; a 101 to any other is an error of the upstream.
        listener: is given the bytes of the response, and the reader is its own; None: ``head`` and ``read`` give them.
        """
        self.reader = reader = ResponseReader(method, on_interim, may_switch=may_switch)
        self._listener = listener
        self._taken = 0
        self.has_sent = method in SAFE
        if self.is_closing:
            self._lost(None)
        return reader

    def leave_fast_path(self, data: bytes, on_interim: Callable[[Response], None]) -> None:
        """Go on without the listener, with the first bytes of the response: ``head`` and ``read`` give it from here on.

        on_interim: as in ``begin``.
        """
        assert self.reader is not None
        self._listener = None
        self.reader.on_interim = on_interim
        self.data_received(data)

    def fail(self, error: Exception) -> None:
        """End the exchange with an error of our own: ``head`` and ``read`` raise it."""
        if self._error is None and self.reader is not None and not self.reader.is_complete:
            self._error = error
            self._wake()

    async def head(self) -> Response:
        """Wait for the final response's head. Raises UpstreamError when none comes."""
        assert self.reader is not None
        while self.reader.head is None:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self.reader.head

    async def read(self) -> bytes:
        """Wait for more of the body; nothing means its end. Raises UpstreamCut when it ends too early."""
        assert self.reader is not None
        while not self._pieces:
            if self.reader.is_complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        """Return what has arrived of the body and was not read yet; may be nothing."""
        assert self.reader is not None
        if not self._pieces:
            return b""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._taken = self.reader.body_size
        if self._is_full:
            self._is_full = False
            self._read_on()
        return data

    @property
    def buffered(self) -> int:
        """How many bytes of the body have arrived and were not read yet."""
        return 0 if self.reader is None else self.reader.body_size - self._taken

    @property
    def has_head(self) -> bool:
        """Whether the final response has begun."""
        return self.reader is not None and self.reader.head is not None

    @property
    def is_complete(self) -> bool:
        """Whether the whole response has arrived and been read."""
        return self.reader is not None and self.reader.is_complete and not self._pieces

    @property
    def is_reusable(self) -> bool:
        """Whether another exchange may follow this one."""
        reader = self.reader
        is_over = reader is None or (reader.is_reusable and self._error is None and not self._pieces)
        return is_over and not (self.is_closing or self.is_reset)

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Hand out the transport after a 101, paused, and the bytes that came with it."""
        transport, self._transport = self._transport, None
        if self.reader is None or transport is None or transport.is_closing():
            raise UpstreamError(f"The upstream {self._name} closed its connection right after its 101.")
        return transport, self.reader.leftover

    def ended_early(self, exc: Exception | None) -> UpstreamError:
        """Return the error for an upstream that leaves during an exchange; exc: what ``connection_lost`` was told."""
        reset = " (connection reset)" if exc is not None else ""
        reader = self.reader
        if reader is not None and reader.status:
            return UpstreamCut(f"The upstream {self._name} closed the connection in the middle of a body{reset}.")
        if not self.has_sent:
            return UpstreamUnreachable(f"The upstream {self._name} closed the connection before anything was sent.")
        what = f"The upstream {self._name} closed the connection without an answer{reset}."
        if reader is not None and reader.has_begun:
            return UpstreamError(what, is_transient=True)
        # Many servers of HTTPS say nothing at all to plain HTTP.
        tls_too = f" If it speaks TLS, write https:// in gateway.upstreams.{self._name}." * (not self.has_tls)
        return UpstreamLost(what, advice=f"For the operator: its own log may say why.{tls_too}")

    # -- between two exchanges

    def rest(self) -> None:
        """Wait for the next exchange."""
        self.reader = self._listener = None
        self.is_reused = True
        self.idle_since = time.monotonic()

    def abort(self) -> None:
        """Close at once; the listener hears nothing more. Safe to call twice."""
        self._listener = None
        self.vanish()

    # -- asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Read a piece of the response; make the upstream wait when the body is read from here more slowly."""
        if len(data) >= READ_SIZE and self._transport is not None and not self.is_closing:
            pause_after_large_read(self._transport, self, len(data))
            self._loop.call_soon(self._read_on)
        if self._listener is not None:
            self._listener.response_received(data)
            return
        reader = self.reader
        if reader is None or reader.is_complete:
            # Nothing asked for it: a late 408, or a body after a response to HEAD. It must never become the next one.
            self.abort()
            return
        if self._error is None:
            self._feed(reader, data)
            self._wake()

    def eof_received(self) -> None:
        """Take the upstream's end as the end of a body that has no other."""
        if self._listener is None and self.reader is not None and self._error is None:
            self.reader.end()
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange with an error, unless the whole response is here after all."""
        if self.reader is not None and self._reads_after_reset(exc):
            return
        self._transport = None
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.upstream_lost(exc)
            return
        self.resume_writing()
        self._lost(exc)

    # -- inside

    def _feed(self, reader: ResponseReader, data: bytes) -> None:
        is_first = not reader.has_begun
        try:
            reader.feed(data, self._pieces)
        except BadResponse as error:
            if is_first and data.startswith(_TLS_ALERT) and not self.has_tls:
                self._break("answers in TLS", f"write https:// and not http:// in gateway.upstreams.{self._name}.")
            else:
                self._break(str(error))
        if self.is_closing:
            return
        if reader.status == 101:
            self.pause_reading()
        if self.buffered > self._buffer and not self._is_full and self._transport is not None:
            self._is_full = True
            self._transport.pause_reading()

    def _break(self, what: str, remedy: str = "") -> None:
        """End the exchange as an error of the upstream; remedy: what the operator can do."""
        kind = UpstreamCut if self.has_head else UpstreamError
        self._error = kind(
            f"The upstream {self._name} {what}.",
            advice=remedy and f"For the operator: {remedy}",
            detail=remedy and f"the upstream {self._name} {what}; {remedy}",
        )
        self.abort()

    def _lost(self, exc: Exception | None) -> None:
        if self.reader is None or self.reader.is_complete or self._error is not None:
            return
        self._error = self.ended_early(exc)
        self._wake()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
