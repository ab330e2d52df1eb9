"""One connection to an upstream: one exchange at a time, and the strict reading of its answer.

It is ours, for two reasons. aiohttp's client takes bytes that arrive on an
idle pooled connection for the next answer, and it puts a connection back after
a 101 that nobody asked for (docs/decisions/002-own-upstream-connections.md). llhttp
(through httptools) reads the heads, and nothing after them: it refuses white
space in a chunked body that RFC 9112 allows, and trailers that only have to be
dropped. Here a connection is in use by one
exchange or it is idle, an idle one that says anything is thrown away, and one
is kept only when its answer ended exactly where it should.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol, cast

import httptools

from proxy.errors import UpstreamCut, UpstreamError, UpstreamLost, UpstreamUnreachable
from proxy.http1.chunked import ChunkLimits, ChunkReader, ProtocolError
from proxy.http1.headers import Fields, plain_length, rewritten, tokens
from proxy.http1.methods import SAFE
from proxy.net import tls
from proxy.net.read_after_reset import LastWords, last_words
from proxy.net.read_size import READ_SIZE, give_way
from ws_service.net.keepalive import keep_alive

MAX_HEAD = 65536
"""Bytes of an answer's head and the interim answers before it. Precedents: nginx 4-8 KiB (a known trap for large
cookies), HAProxy 16 KiB, Go 1 MiB, which counts the same."""

MAX_FIELDS = 512
"""Fields of an answer and of the interim answers before it: each takes 7 us, so forty answers of 64 KiB of the shortest
would be a third of a second for everybody (issue 9). Precedents: HAProxy 101, Python's http.client 100."""

_CHUNKS = ChunkLimits(line=MAX_HEAD, framing=None, trailers=MAX_HEAD, fields=MAX_FIELDS)
"""Of an answer. Small chunks are no fault: streams of tokens have a few bytes in each. Trailers are dropped, whatever
they are."""

_TLS_ALERT = 0x15
"""The first byte of what a server of TLS says to plain HTTP, if it says anything (RFC 8446, section 5.1)."""

_HEAD_END = b"\r\n\r\n"
_NO_BODY = frozenset((204, 304))
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")


class Framing(Enum):
    """How the end of an answer's body is known (RFC 9112, section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class Response:
    """The head of an upstream's answer.

    reason: as received, may be empty. framing: how its body ends.
    """

    __slots__ = ("framing", "headers", "reason", "status")

    def __init__(self, status: int, reason: bytes, headers: Fields, framing: Framing) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers
        self.framing = framing

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a field; ``name`` in lower case."""
        return [value for key, value in self.headers if key.lower() == name]


class _TooManyFields(Exception):
    """Ends the parsing of an answer that has been broken off."""


class FastPathListener(Protocol):
    """Whoever carries a plain exchange."""

    def answered(self, data: bytes) -> None:
        """Take bytes of the answer."""

    def upstream_lost(self, exc: Exception | None) -> None:
        """Hear that the connection has ended, before ``end_plain`` was called."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to an upstream, carrying one exchange at a time.

    ``begin``, ``write``, ``await head()``, then ``await read()`` until it
    returns nothing. Who holds it gives it back with ``Upstream.release``,
    which keeps or closes it. Cancelling a wait leaves the connection in the
    middle of an exchange; releasing it then closes it.

    upstream_name: for messages. buffer: bytes read ahead before the upstream is made to wait.
    """

    def __init__(self, upstream_name: str, buffer: int) -> None:
        self._name = upstream_name
        self._buffer = buffer
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable: asyncio.Future[None] | None = None
        self._listener: FastPathListener | None = None
        self._idle = True
        self._is_given_up = False
        self._is_held = self._reading_paused = False
        self.idle_since = 0.0
        self.is_reused = False
        self.has_tls = False
        self.is_counted = False
        """Whether it is one of those in flight; its upstream's to write."""
        self.acknowledged = 0
        self.has_sent = False
        """Whether any byte of the exchange may have left: then nobody can tell what the upstream has read. Of a method
        that may be sent again in any case it is not asked, and true from the beginning."""

    # -- a plain exchange

    def begin_plain(self, listener: FastPathListener, method: str) -> None:
        """Start an exchange whose answer ``listener`` reads, byte by byte as they come."""
        self._idle = False
        self.has_answered = False
        self.has_sent = method in SAFE
        self._listener = listener

    def end_plain(self) -> None:
        """End it: the listener hears nothing more. Unless its answer is here to its last byte, ``abort`` comes next."""
        self._listener = None
        self._idle = True

    def hold(self, is_held: bool) -> None:
        """Make the upstream wait, or let it go on."""
        self._is_held = is_held
        if not is_held:
            self._read_on()
        elif self._transport is not None and not self.is_closing:
            self._transport.pause_reading()

    # -- the exchange

    def begin(
        self, method: str, on_interim: Callable[[Response], None] = lambda _: None, *, may_switch: bool = False
    ) -> None:
        """Start an exchange.

        method: of the request; an answer to HEAD has no body whatever it says.
        on_interim: called with each 1xx answer but 101 (RFC 9110, section 15.2).
        may_switch: whether the request asks for another protocol; a 101 to any other is a fault of the upstream.
        """
        self._idle = False
        self._method = method
        self._on_interim = on_interim
        self._may_switch = may_switch
        self._switching: Response | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._answer: Response | None = None
        self._head_bytes = self._field_bytes = self._fields = 0
        self._seam = b""  # the last bytes of a head that is not whole yet
        self._left = 0  # bytes of the body still to come, where its length is known
        self._chunks = ChunkReader(_CHUNKS)
        self._is_kept = False  # as far as the head says
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._is_held = self._reading_paused = False
        self._complete = False
        self._reusable = False
        self._error: UpstreamError | Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._leftover = b""
        self.has_answered = False
        self.has_sent = method in SAFE
        if self._transport is None or self._transport.is_closing():
            self._lost(None)

    def write(self, data: bytes) -> None:
        """Send bytes; on a connection that is gone they go nowhere, and ``head`` says why."""
        if self._transport is None or self._transport.is_closing():
            return
        if not self.has_sent:
            data = self._send_at_once(self._transport, data)
        if data:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the upstream takes more bytes, or is gone."""
        if self._writable is not None:
            await self._writable

    def fail(self, error: Exception) -> None:
        """End the exchange from our side: whoever waits gets ``error``."""
        if self._error is None and not self._complete:
            self._error = error
            self._reusable = False
            self._wake()

    async def head(self) -> Response:
        """Wait for the final answer's head. Raises UpstreamError when none comes."""
        while self._answer is None:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._answer

    def read_nowait(self) -> bytes:
        """Return what has arrived of the body and was not read yet; may be nothing."""
        if not self._pieces:
            return b""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._reading_paused:
            self._reading_paused = False
            self._read_on()
        return data

    async def read(self) -> bytes:
        """Wait for more of the body; nothing means its end. Raises UpstreamCut when it ends too early."""
        while not self._pieces:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait()
        return self.read_nowait()

    @property
    def has_head(self) -> bool:
        """Whether the final answer has begun."""
        return self._answer is not None

    @property
    def is_complete(self) -> bool:
        """Whether the whole answer has arrived and been read."""
        return self._complete and not self._pieces

    @property
    def is_reusable(self) -> bool:
        """Whether another exchange may follow this one."""
        if isinstance(self._transport, LastWords):
            return False
        return self._idle or (self.is_complete and self._reusable and not self.is_closing)

    def ended_early(self, exc: Exception | None, *, has_answered: bool) -> UpstreamError:
        """Return the error for an upstream that leaves in the middle; ``exc`` is what ``connection_lost`` was told."""
        reset = " (connection reset)" if exc is not None else ""
        if has_answered:
            return UpstreamCut(f"The upstream {self._name} closed the connection in the middle of a body{reset}.")
        if not self.has_sent:
            return UpstreamUnreachable(f"The upstream {self._name} closed the connection before anything was sent.")
        what = f"The upstream {self._name} closed the connection without an answer{reset}."
        if self.has_answered:
            return UpstreamError(what, passes=True)
        # Many servers of HTTPS say nothing at all to plain HTTP.
        tls_too = f" If it speaks TLS, write https:// in gateway.upstreams.{self._name}." * (not self.has_tls)
        return UpstreamLost(what, advice=f"For whoever runs this: its own log may say why.{tls_too}")

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Hand out the transport behind a 101, paused, and the bytes that came with it."""
        transport, self._transport = self._transport, None
        if transport is None or transport.is_closing():
            raise UpstreamError(f"The upstream {self._name} closed its connection right behind its 101.")
        return transport, self._leftover

    # -- idling

    def rest(self) -> None:
        """Wait for the next exchange."""
        self._idle = True
        self.is_reused = True
        self.idle_since = time.monotonic()

    def has_gone_stale(self) -> bool:
        """Ask the kernel whether the upstream has closed or said something that nobody has read yet.

        For every request, also for those that could be sent again: what an upstream said unasked would be read as
        the answer. Costs one system call, less than 1 us. Over TLS what waits may be no more than a ticket for the
        next session; nobody can tell without reading it, and a connection that need not have been given up is cheap.
        """
        return self.is_closing or bool(self._poll.poll(0))

    @property
    def written(self) -> int:
        """Return another number than ``acknowledged``: nobody counts, and those in use are few."""
        return self.acknowledged + 1

    @property
    def wire(self) -> asyncio.Transport | None:
        """Return the transport; None behind its end."""
        return self._transport

    def vanish(self) -> None:
        """Give up an upstream that is not there any more."""
        self.abort()

    def has_ended(self) -> bool:
        """Ask the kernel whether the upstream has closed a new connection without a word. Over TLS it cannot tell."""
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
        """Close at once. Safe to call twice."""
        self._is_given_up = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_closing(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._transport is None or self._transport.is_closing()

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
        """Parse; hold the body back when whoever reads it is slower."""
        if len(data) >= READ_SIZE and self._transport is not None and not self.is_closing:
            give_way(self._transport, self, len(data))
            self._loop.call_soon(self._read_on)
        if self._listener is not None:
            self._listener.answered(data)
            return
        if self._idle or self._complete:
            # Nobody asked: a late 408, or a body behind a HEAD. It must never be read as the next answer.
            self._reusable = False
            self.abort()
            return
        if not self.has_answered and data[0] != 0x48:
            if data[0] == _TLS_ALERT and not self.has_tls:
                self._break("answers in TLS", f"write https:// and not http:// in gateway.upstreams.{self._name}.")
            else:
                self._break("sent something that is not HTTP (it does not begin with an H)")
            self._wake()
            return
        self.has_answered = True
        if self._answer is None:
            self._head_bytes += len(data)
        try:
            body = self._read_heads(data)
            if body and self._error is None:
                self._read_body(body)
        except (httptools.HttpParserError, ProtocolError) as error:
            self._break(f"sent something that is not HTTP ({error})")
        if self._answer is None and self._head_bytes > MAX_HEAD:
            self._break(f"sent more than {MAX_HEAD} bytes of header")
        self._wake()

    def _read_heads(self, data: bytes) -> bytes:
        """Give the parser the heads that are here, as far as the answer's own; return what comes after it."""
        data, begin, fed = self._seam + data, 0, len(self._seam)
        self._seam = b""
        while self._answer is None and self._error is None and fed < len(data):
            end = data.find(_HEAD_END, begin) + len(_HEAD_END)
            if end < len(_HEAD_END):
                end, self._seam = len(data), data[max(begin, len(data) - 3) :]
            try:
                self._parser.feed_data(data[fed:end])
            except httptools.HttpParserUpgrade:
                self._switch(data[end:])
                return b""
            begin = fed = end
        return data[fed:]

    def _read_body(self, data: bytes) -> None:
        assert self._answer is not None
        framing = self._answer.framing
        end, is_whole = len(data), False
        if framing is Framing.LENGTH:
            end = min(end, self._left)
            self._left -= end
            is_whole = not self._left
            self._hold_piece(data[:end])
        elif framing is Framing.CHUNKED:
            pieces: list[bytes] = []
            try:
                end = self._chunks.feed(data, pieces)
            finally:
                self._hold_piece(b"".join(pieces))
            is_whole = self._chunks.is_whole
        elif framing is Framing.UNTIL_CLOSE:
            self._hold_piece(data)
        if is_whole or self._complete:
            self._complete = True
            # What comes after it is a second answer, or a body where none may be: nobody asked for it.
            self._reusable = self._is_kept and is_whole and end == len(data)

    def _read_on(self) -> None:
        if not (self._is_held or self._reading_paused or self.is_closing):
            assert self._transport is not None
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """Take the upstream's end as the end of a body that has no other."""
        if self._listener is not None:
            return
        if not self._idle and not self._complete and self._error is None and self._ends_with_connection:
            self._complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever still waits, unless the answer is here after all."""
        # An upstream that refuses an upload answers (413, say) and closes with the rest unread, which resets the
        # connection. The write that meets the reset must not lose the answer that came before it.
        # Not where the exchange has been given up since: nobody would read it to its end, and close its descriptor.
        if not (self._idle or self._is_given_up):
            is_paused = self._is_held or self._reading_paused
            if (rest := last_words(self._transport, self, exc, is_paused=is_paused)) is not None:
                self._transport = rest
                self.resume_writing()
                return
        if self._listener is not None:
            listener, self._listener = self._listener, None
            self._transport = None
            listener.upstream_lost(exc)
            return
        self._transport = None
        self.resume_writing()
        if not self._idle:
            self._lost(exc)

    def pause_writing(self) -> None:
        """Make ``drain`` wait."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let ``drain`` go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # -- httptools

    def on_status(self, reason: bytes) -> None:
        """Collect the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field."""
        self._headers.append((name, value.strip(b" \t")))
        self._field_bytes += len(name) + len(value) + 4
        self._fields += 1
        if self._fields > MAX_FIELDS:
            self._break(f"sent more than {MAX_FIELDS} header fields")
            raise _TooManyFields  # else llhttp would go on with all that it has

    def on_headers_complete(self) -> None:
        """Decide how the body ends."""
        if self._complete or self._error is not None:
            return
        status: int = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if status < 100 or version not in ("1.0", "1.1") or _REASON.fullmatch(self._reason) is None:
            self._break("sent a status line that is not HTTP/1.1's")
        self._field_bytes += len(self._reason) + 13
        if self._field_bytes > MAX_HEAD:
            self._break(f"sent more than {MAX_HEAD} bytes of header")
        headers = tuple(self._headers)
        self._headers = []
        framing, headers = self._framing(status, version, headers)
        answer = Response(status, self._reason, headers, framing)
        self._reason = b""
        if self._error is not None:
            return
        if status == 101:
            self._switching = answer  # llhttp tells a moment later whether it really switches
        elif status < 200:
            self._on_interim(answer)
        else:
            self._answer = answer
            # An answer to HEAD that does not say how its body would end: that would be with the connection.
            has_end = status in _NO_BODY or bool(answer.all(b"content-length") or answer.all(b"transfer-encoding"))
            options = tokens(answer.all(b"connection"))
            keeps = b"close" not in options and (version == "1.1" or b"keep-alive" in options)
            self._is_kept = has_end and keeps
            if framing is Framing.NONE or (framing is Framing.LENGTH and not self._left):
                self._complete = True
                self._reusable = self._is_kept

    # -- inside

    def _framing(self, status: int, version: str, headers: Fields) -> tuple[Framing, Fields]:
        """Return how the body ends, and the fields with its length as a plain number."""
        said = [value for name, value in headers if name.lower() == b"content-length"]
        codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
        length = plain_length(said[0]) if said else None
        if len(said) + len(codings) > 1 or (said and length is None):
            self._break("did not say in one way how long its body is")
        elif codings and (tokens(codings) != [b"chunked"] or version == "1.0"):
            self._break("used a transfer coding other than chunked")
        elif status < 200 and (codings or length not in (None, b"0")):
            self._break(f"said that a {status} has a body")
        if length is not None and said != [length]:
            headers = rewritten(headers, b"content-length", length)
        if self._method == "HEAD" or status in _NO_BODY or status < 200:
            return Framing.NONE, headers
        if codings:
            return Framing.CHUNKED, headers
        if length is None:
            return Framing.UNTIL_CLOSE, headers
        self._left = int(length)
        return Framing.LENGTH, headers

    def _hold_piece(self, data: bytes) -> None:
        """Hold a piece of the body until it is read."""
        if not data:
            return
        self._pieces.append(data)
        self._held += len(data)
        if self._held > self._buffer and not self._reading_paused and not self.is_closing:
            assert self._transport is not None
            self._reading_paused = True
            self._transport.pause_reading()

    def _send_at_once(self, transport: asyncio.Transport, data: bytes) -> bytes:
        """Give the first bytes of an exchange to the kernel now; return those that it does not take.

        A transport may keep them until the end of this turn of the loop, and the upstream's end may come before. Then
        nobody could tell whether they left, and a request that must not be sent twice would fail.
        """
        if self.has_tls or transport.get_write_buffer_size():
            self.has_sent = True
            return data
        try:
            count = os.write(self._descriptor, data)
        except BlockingIOError:
            count = 0
        except OSError:  # nothing has left: whoever holds the connection hears so
            transport.abort()
            return b""
        self.has_sent = True
        return data[count:]

    @property
    def _ends_with_connection(self) -> bool:
        return self._answer is not None and self._answer.framing is Framing.UNTIL_CLOSE

    def _switch(self, leftover: bytes) -> None:
        if not self._may_switch or self._switching is None:
            self._break("switched protocols, which nobody had asked for")
            return
        self._answer = self._switching
        self.hold(True)
        self._leftover = leftover
        self._reusable = False
        self._complete = True

    def _break(self, what: str, remedy: str = "") -> None:
        """End the exchange as a fault of the upstream; remedy: what whoever runs this can do."""
        if self._complete:
            self._reusable = False
            return
        kind = UpstreamError if self._answer is None else UpstreamCut
        self._error = self._error or kind(
            f"The upstream {self._name} {what}.",
            advice=remedy and f"For whoever runs this: {remedy}",
            detail=remedy and f"the upstream {self._name} {what}; {remedy}",
        )
        self.abort()

    def _lost(self, exc: Exception | None) -> None:
        if self._complete or self._error is not None:
            return
        self._error = self.ended_early(exc, has_answered=self._answer is not None)
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
