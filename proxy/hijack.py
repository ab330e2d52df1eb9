"""aiohttp's private corner: everything this project uses of it that is not public API.

aiohttp reads requests and keeps connections (design D7); what goes out is
written by us, byte for byte, and at a WebSocket handshake the connection is
taken away from aiohttp altogether. Both need things that aiohttp does not
promise to keep. They are here and nowhere else, and ``tests/proxy/
test_hijack.py`` has the canary that fails when a new aiohttp changes them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from proxy.headers import Head, Peer
from proxy.heads import HeadLimits
from proxy.patience import Deadlines, SlowReaders, waiting
from proxy.plain import MAX_FIELDS, MAX_HEAD, Request, recognise_request

HAS_C_PARSER = http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
"""Whether aiohttp parses with llhttp. Its pure-Python parser is laxer in ways that smuggle requests."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Written(web.StreamResponse):
    """What a handler returns to aiohttp when the answer is already on its way.

    keep_alive: whether another request may come on this connection.
    """

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._is_kept = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """What aiohttp asks to know whether the connection goes on."""
        return self._is_kept

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing: it is written."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing: it is written."""


class _Parting(Written):
    """The answer to what cannot be read, and a while in which the client can take it before the connection closes."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(keep_alive=False)
        self._connection = connection

    async def write_eof(self, data: bytes = b"") -> None:
        """Send no more, and wait; the client's leaving cancels it."""
        await self._connection.part()


class Client:
    """The client's side of one exchange: what it asked, and raw bytes back to it.

    body: decoded from its transfer coding and from nothing else.
    wants_keep_alive: whether the client's version and Connection field allow another request.
    """

    __slots__ = ("_protocol", "body", "has_written", "head", "peer", "wants_keep_alive")

    def __init__(self, protocol: Connection, head: Head, body: StreamReader, *, wants_keep_alive: bool) -> None:
        self._protocol = protocol
        self.peer = protocol.peer
        self.head = head
        self.body = body
        self.wants_keep_alive = wants_keep_alive
        self.has_written = False

    @classmethod
    def of(cls, request: web.BaseRequest) -> Client:
        """Return the client of a request that aiohttp has read."""
        message = request._message
        head = Head(
            message.method,
            message.path.encode("utf-8", "surrogateescape").decode("latin-1"),
            (message.version.major, message.version.minor),
            message.raw_headers,
            _announces_body(message.raw_headers),
        )
        protocol = cast(Connection, request.protocol)
        return cls(protocol, head, request.content, wants_keep_alive=not message.should_close)

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed, or about to be."""
        transport = self._protocol.transport
        return transport is None or transport.is_closing()

    @property
    def was_too_slow(self) -> bool:
        """Whether it was cut because it took nothing for too long."""
        return self._protocol.was_too_slow

    def write(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionResetError when the client is gone."""
        if self.is_gone:
            raise ConnectionResetError("the client is gone")
        self.has_written = True
        self._protocol.write(data)

    def write_interim(self, data: bytes) -> None:
        """Send an interim answer: the final one can still be anything."""
        if not self.is_gone and not self.has_written:
            self._protocol.write(data)

    async def drain(self) -> None:
        """Wait until the client takes more bytes. Raises ConnectionError when it leaves instead."""
        if self._protocol._paused:
            await self._protocol._drain_helper()

    def cut(self, *, reset: bool) -> None:
        """Close the connection so that the client cannot take what it has for the whole.

        reset: with a TCP reset, for an answer whose end is the connection's.
        """
        transport = self._protocol.transport
        if transport is None:
            return
        if reset:
            _reset(transport)
        else:
            transport.close()

    def take(self) -> tuple[asyncio.Transport, bytes]:
        """Take the connection from aiohttp for good: its transport, paused, and the bytes read behind the head.

        aiohttp closes the transport of a handler that ends; it must not find
        this one. Its bookkeeping of the connection is settled when the task
        that serves it has ended. Raises ConnectionResetError when the client
        is gone.
        """
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.pause_reading()
        leftover, protocol._message_tail = bytes(protocol._message_tail), b""
        protocol.transport = protocol._wire = None
        serving = protocol._task_handler
        assert serving is not None
        serving.add_done_callback(lambda _: protocol.connection_lost(None))
        return transport, leftover

    def hold(self) -> tuple[int, bytes]:
        """Stop reading, for whoever may take the connection: its descriptor, and what was read behind the head.

        ``go_on`` or ``let_go`` follows. What the client sends meanwhile stays
        in the kernel. Raises ConnectionResetError when the client is gone.
        """
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.pause_reading()
        return transport.get_extra_info("socket").fileno(), bytes(self._protocol._message_tail)

    def go_on(self) -> None:
        """Read on behind ``hold``: nobody took the connection."""
        transport = self._protocol.transport
        if transport is not None and not transport.is_closing() and not self._protocol._buffer_paused:
            transport.resume_reading()

    def let_go(self) -> None:
        """Close this process's copy of the descriptor and nothing else: no FIN is sent where another has the socket."""
        try:
            transport, _ = self.take()
        except ConnectionResetError:
            return
        transport.set_protocol(asyncio.Protocol())
        transport.abort()


Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
OnUnreadable = Callable[[web.BaseRequest, int, str], web.StreamResponse]


class Carried(Protocol):
    """Whoever carries a plain exchange."""

    def client_left(self) -> None:
        """Hear that the client's connection is gone."""

    def cut(self) -> None:
        """End: the gateway stops, and its patience has."""

    def client_is_slow(self, is_slow: bool) -> None:
        """Hear that the client takes no more bytes for now, or takes them again."""


OnPlain = Callable[["Connection", Request], Carried | None]


class Connection(RequestHandler):
    """A client's connection: aiohttp's, and four things more.

    Heads have limits and deadlines, what cannot be read gets our own answer,
    who takes nothing of its answers is cut, and a plain request that arrives whole between two others is offered to
    ``on_plain`` before aiohttp sees it. While that one is carried, whatever
    else arrives is held; ``plain_ended`` gives it on.

    ``peer`` is who is at the other end. ``was_too_slow``: it was cut because
    it took nothing of what waited for it.
    """

    __slots__ = (
        "_carried",
        "_head",
        "_heads",
        "_held",
        "_is_broken",
        "_is_leaving",
        "_is_narrow",
        "_limits",
        "_on_plain",
        "_on_unreadable",
        "_owed",
        "_wire",
        "_written",
        "peer",
        "was_too_slow",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        on_plain: OnPlain,
        on_unreadable: OnUnreadable,
        limits: HeadLimits,
        heads: Deadlines[Connection],
        **kwargs: Any,
    ) -> None:
        super().__init__(manager, **kwargs)
        self._on_plain = on_plain
        self._on_unreadable = on_unreadable
        self._limits = limits
        self._heads = heads
        self._is_narrow = limits.is_below(MAX_HEAD, MAX_FIELDS)  # whether a plain request could exceed them
        self._head = b""  # what is here of one that is not whole yet
        self._is_broken = False  # nothing more of this connection is read
        self._carried: Carried | None = None
        self._held = b""
        self._owed: int | None = 0  # of the request that aiohttp reads; None: nobody knows where it ends
        self._is_leaving = False
        self._wire: asyncio.Transport | None = None  # aiohttp forgets its own before the last bytes have left
        self._written = 0  # bytes that were given to it
        self.peer = Peer("-")
        self.was_too_slow = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._wire = self.transport
        self.peer = _peer(transport)
        self._heads.begin(self)

    def data_received(self, data: bytes) -> None:
        """Offer a plain request to ``on_plain``; give everything else to aiohttp."""
        if self._carried is not None:
            self._hold(data)
            return
        if self._is_broken:
            return
        if not data or self._owed != 0:  # aiohttp itself calls, to be reminded of what it holds; or this is a body
            if self._owed is not None:
                self._owed = self._owed - len(data) if self._owed >= len(data) else None
            super().data_received(data)
            return
        if not self._head:
            request = recognise_request(data)
            if request is not None and not request.owed and self._is_between_requests and not self._is_large(data):
                self._carried = self._on_plain(self, request)
                if self._carried is not None:
                    self._request_count += 1
                    return
        self._read_head(data)

    def _is_large(self, data: bytes) -> bool:
        return self._is_narrow and self._limits.exceeded_by(data) is not None

    def _read_head(self, data: bytes) -> None:
        """Give aiohttp more of a head, and count along: its own limits are for each field."""
        is_first, count = not self._head, self._request_count
        self._head += data
        excess = self._limits.exceeded_by(self._head)
        if excess is not None:
            self._break(excess.status, excess.message)
            return
        super().data_received(data)
        _, end, behind = self._head.partition(b"\r\n\r\n")
        if end or self._request_count > count:  # whole, or broken
            self._head = b""
            self._owed = self._owed_behind(len(behind)) if self._request_count == count + 1 else None
        elif is_first and count:
            self._heads.begin(self)

    def _owed_behind(self, come: int) -> int | None:
        """Return how many bytes of the body of the request that has just been read are still to come, if one can tell.

        come: bytes that came behind its head.
        """
        message, body = self._messages[-1]
        if isinstance(message, _ErrInfo) or message.upgrade or message.chunked:
            return None
        size = 0 if body is EMPTY_PAYLOAD else int(message.headers["Content-Length"])
        return size - come if size >= come else None

    def head_is_late(self) -> None:
        """Answer a head that is not here in time; who has not begun one has asked nothing, and gets no answer."""
        if self._head:
            self._break(408, "The head of the request did not come in time.")
        elif self._request_count == 0:
            self.force_close()

    def _break(self, status: int, message: str) -> None:
        """Answer, behind whatever is answered already, and read no more."""
        self._head = b""
        self._is_broken = True
        self._messages.append((_ErrInfo(status, BadHttpMessage(message), message), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def part(self) -> None:
        """Close in two steps: a close on bytes that nobody has read resets the connection, and our last answer with it.

        RFC 9112, section 9.6. What still comes is thrown away.
        """
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        await asyncio.sleep(self._lingering_time)

    def write(self, data: bytes) -> None:
        """Send bytes of an answer; to a client that is gone they go nowhere."""
        if self.transport is not None:
            self._written += len(data)
            self.transport.write(data)

    def taken(self) -> int | None:
        """Return how many bytes the client has taken; None when nothing waits for it."""
        left = None if self._wire is None else waiting(self._wire)
        return None if left is None else self._written - left

    def took_too_long(self) -> None:
        """Cut the client, with what waits for it: a reset, so that the kernel lets go of its part too."""
        self.was_too_slow = True
        if self._wire is not None:
            _reset(self._wire)

    def client(self, request: Request, *, has_written: bool) -> Client:
        """Return a plain request's client, for carrying it the ordinary way after all.

        has_written: whether a part of the answer is with it already.
        """
        body = EMPTY_PAYLOAD
        if request.body:
            # With a limit that it does not reach: nobody may read it, and then a pause would be for ever.
            body = StreamReader(self, len(request.body), loop=self._loop)
            body.feed_data(request.body)
            body.feed_eof()
        client = Client(self, request.to_head(), body, wants_keep_alive=True)
        client.has_written = has_written
        return client

    def plain_ended(self, keep_alive: bool) -> None:
        """Go on behind a plain exchange: with what was held, with the end, or with waiting."""
        self._carried = None
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        held, self._held = self._held, b""
        if not keep_alive or self._is_leaving:
            self.force_close()
            return
        if held:
            if self.transport is not None and len(held) >= self._read_bufsize:
                self.transport.resume_reading()
            self.data_received(held)

    def close(self) -> None:
        """Take no more requests; a plain exchange that is under way ends first, as aiohttp's own do."""
        if self._carried is None:
            super().close()
        else:
            self._is_leaving = True

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp calls it so
        """End now, within ``timeout`` seconds; whoever carries a plain exchange is told first."""
        carried, self._carried = self._carried, None
        if carried is not None:
            carried.cut()
        await super().shutdown(timeout)

    def pause_writing(self) -> None:
        """The client is slow."""
        super().pause_writing()
        if self._carried is not None:
            self._carried.client_is_slow(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if self._carried is not None:
            self._carried.client_is_slow(False)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End; whoever carries a plain exchange is told."""
        self._heads.end(self)
        carried, self._carried = self._carried, None
        self._wire = None
        super().connection_lost(exc)
        if carried is not None:
            carried.client_left()

    @property
    def _is_between_requests(self) -> bool:
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages and not self._paused and not self._close

    def _hold(self, data: bytes) -> None:
        was_small = len(self._held) < self._read_bufsize
        self._held += data
        if was_small and len(self._held) >= self._read_bufsize and self.transport is not None:
            self.transport.pause_reading()

    def _process_keepalive(self) -> None:
        if self._carried is not None:  # aiohttp does not see it, and would take the connection for idle
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be read."""
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        self._is_broken = True
        if isinstance(exc, LineTooLong):  # behind a chunked body or another request, where heads cannot be followed
            is_line = exc.args[1] == self._limits.request_line != self._limits.header
            status, message = (
                (414, "The request line is too long.") if is_line else (431, "A header field is too large.")
            )
        self._on_unreadable(request, status, message or "")
        return _Parting(self)


class Listener(web.Server):
    """aiohttp's low-level server: a factory of protocols for ``loop.create_server``.

    handler: called for each request. on_plain: offered each plain request
    first; returns who carries it, or None to decline.
    on_unreadable: called with the status and the reason when a request cannot
    be read at all; writes the answer.
    limits: of the heads of requests. head_timeout, send_timeout, keepalive_timeout: seconds. read_buffer: bytes
    of a request body held before the client is made to wait.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        on_plain: OnPlain = lambda connection, request: None,
        on_unreadable: OnUnreadable,
        limits: HeadLimits,
        head_timeout: float,
        send_timeout: float,
        keepalive_timeout: float,
        read_buffer: int,
    ) -> None:
        super().__init__(
            handler,
            # A client that leaves cancels its request upstream, at once.
            handler_cancellation=True,
        )
        self._slow_readers = SlowReaders(send_timeout, self._clients)
        self._options: dict[str, Any] = {
            "on_plain": on_plain,
            "on_unreadable": on_unreadable,
            "limits": limits,
            "heads": Deadlines[Connection](head_timeout, Connection.head_is_late),
            "keepalive_timeout": keepalive_timeout,
            "read_bufsize": read_buffer,
            "access_log": None,
            "auto_decompress": False,
            # Never reached by a head that is followed here; aiohttp's are for each field.
            "max_line_size": limits.request_line,
            "max_field_size": limits.header,
            "max_headers": limits.fields,
            # Seconds that an unread body is read and thrown away, so that the client can read the answer before the
            # reset that closing on unread bytes would send (RFC 9112, section 9.6).
            "lingering_time": 5.0,
        }

    def __call__(self) -> RequestHandler:
        """Make the protocol of one connection."""
        self._slow_readers.wake()
        return Connection(self, loop=self._loop, **self._options)

    def _clients(self) -> list[Connection]:
        return cast(list[Connection], self.connections)


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _announces_body(headers: tuple[tuple[bytes, bytes], ...]) -> bool:
    for name, value in headers:
        key = name.lower()
        if key == b"transfer-encoding" or (key == b"content-length" and value.strip(b"0")):
            return True
    return False


def _peer(transport: asyncio.BaseTransport) -> Peer:
    name = transport.get_extra_info("peername")
    address = name[0] if isinstance(name, tuple) else "unix"
    return Peer(address, "https" if transport.get_extra_info("sslcontext") is not None else "http")
