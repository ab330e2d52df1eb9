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
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol, cast

from proxy.errors import UpstreamCut, UpstreamError, UpstreamLost, UpstreamUnreachable
from proxy.http1.methods import SAFE
from proxy.http1.response_reader import BadResponse, Response, ResponseReader
from proxy.net import tls
from proxy.net.read_after_reset import LastWords, last_words
from proxy.net.read_size import READ_SIZE, give_way
from ws_service.net.keepalive import keep_alive

_TLS_ALERT = b"\x15"
"""The first byte of what a TLS server answers to plain HTTP, if it answers at all (RFC 8446, section 5.1)."""


class FastPathListener(Protocol):
    """An exchange of the fast path, which reads its response itself."""

    def response_received(self, data: bytes) -> None:
        """Take bytes of the response."""

    def upstream_lost(self, exc: Exception | None) -> None:
        """Hear that the connection has ended before it was given back."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream, carrying one exchange at a time.

    ``begin``, ``write``, ``await head()``, then ``await read()`` until it
    returns nothing. It is given back with ``Upstream.release``, which keeps
    or closes it. Cancelling a wait leaves the connection in the middle of an
    exchange; releasing it then closes it.

    upstream_name: for messages. buffer: bytes read ahead before the upstream is made to wait.
    """

    def __init__(self, upstream_name: str, buffer: int) -> None:
        self._name = upstream_name
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._listener: FastPathListener | None = None
        self._pieces: list[bytes] = []
        self._taken = 0  # bytes of the body that have been read from here
        self._error: Exception | None = None
        self._is_paused = self._is_full = False
        self._is_given_up = False
        self.reader: ResponseReader | None = None
        """Of the exchange under way; None while it is idle."""
        self.idle_since = 0.0
        self.is_reused = False
        self.has_tls = False
        self.is_counted = False
        """Whether it is one of those in flight; its upstream's to write."""
        self.is_acknowledged = False
        self.has_sent = False
        """Whether any byte of the exchange may have left: then it is unknown what the upstream has read. For a method
        that may be sent again in any case it is of no interest, and true from the beginning."""

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

    def write(self, data: bytes) -> None:
        """Send bytes; on a connection that is gone they go nowhere, and ``head`` says why."""
        if self._transport is None or self._transport.is_closing():
            return
        self.is_acknowledged = False
        if not self.has_sent:
            data = self._send_at_once(self._transport, data)
        if data:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the upstream takes more bytes, or is gone."""
        if self._writable is not None:
            await self._writable

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
        return is_over and not self.is_closing and not isinstance(self._transport, LastWords)

    def pause_reading(self) -> None:
        """Read nothing more until ``resume_reading``, which makes the upstream wait."""
        self._is_paused = True
        if self._transport is not None and not self.is_closing:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on. Safe to call twice."""
        self._is_paused = False
        self._read_on()

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

    def has_gone_stale(self) -> bool:
        """Ask the kernel whether the upstream has closed, or sent something that was not read yet.

        For every request, also for those that could be sent again: what an upstream sent unasked would be read as
        the response. Costs one system call, less than 1 us. Over TLS what waits may be no more than a ticket for the
        next session; that cannot be told without reading it, and to give up a good connection is cheap.
        """
        return self.is_closing or bool(self._poll.poll(0))

    def has_ended(self) -> bool:
        """Ask the kernel whether the upstream has closed a new connection at once. Over TLS it cannot tell."""
        if self.is_closing or self.has_tls:
            return self.is_closing
        assert self._transport is not None
        lent = self._transport.get_extra_info("socket")
        sock = socket.socket(lent.family, lent.type, lent.proto, fileno=lent.fileno())
        try:
            return not sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            sock.detach()

    def abort(self) -> None:
        """Close at once; the listener hears nothing more. Safe to call twice."""
        self._listener = None
        self.vanish()

    @property
    def is_closing(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._transport is None or self._transport.is_closing()

    # -- for the search for dead peers

    @property
    def wire(self) -> asyncio.Transport | None:
        """Return the transport; None after its end."""
        return self._transport

    def vanish(self) -> None:
        """Give up an upstream that does not acknowledge any more."""
        self._is_given_up = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._buffer)
        self.has_tls = transport.get_extra_info("sslcontext") is not None
        tls.bound(transport, self._buffer)
        self._descriptor: int = transport.get_extra_info("socket").fileno()
        keep_alive(transport.get_extra_info("socket"))
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Read a piece of the response; make the upstream wait when the body is read from here more slowly."""
        if len(data) >= READ_SIZE and self._transport is not None and not self.is_closing:
            give_way(self._transport, self, len(data))
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
        # An upstream that refuses an upload answers (413, say) and closes with the rest unread, which resets the
        # connection. The write that meets the reset must not lose the answer that came before it.
        # Not where the exchange has been given up since: nothing would read it to its end, and close its descriptor.
        if self.reader is not None and not self._is_given_up:
            is_paused = self._is_paused or self._is_full
            if (rest := last_words(self._transport, self, exc, is_paused=is_paused)) is not None:
                self._transport = rest
                self.resume_writing()
                return
        self._transport = None
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.upstream_lost(exc)
            return
        self.resume_writing()
        self._lost(exc)

    def pause_writing(self) -> None:
        """Make ``drain`` wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let ``drain`` go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

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

    def _read_on(self) -> None:
        if not (self._is_paused or self._is_full or self.is_closing):
            assert self._transport is not None
            self._transport.resume_reading()

    def _send_at_once(self, transport: asyncio.Transport, data: bytes) -> bytes:
        """Give the first bytes of an exchange to the kernel now; return those that it does not take.

        A transport may keep them until the end of this turn of the loop, and the upstream's end may come before. Then
        it would be unknown whether they left, and a request that must not be sent twice would fail.
        """
        if self.has_tls or transport.get_write_buffer_size():
            self.has_sent = True
            return data
        try:
            count = os.write(self._descriptor, data)
        except BlockingIOError:
            count = 0
        except OSError:  # nothing has left: ``retry`` hears so
            transport.abort()
            return b""
        self.has_sent = True
        return data[count:]

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
