"""aiohttp's private corner: everything this project uses of it that is not public API.

aiohttp reads requests and keeps connections (docs/decisions/015-aiohttp-public-interface.md); what goes out is
written by us, byte for byte, and at a WebSocket handshake the connection is
taken away from aiohttp altogether. Nor does aiohttp get what a client sends
as it comes: ``strict`` reads it first. All this needs things that aiohttp
does not promise to keep. They are here and nowhere else, and ``tests/proxy/
test_hijack.py`` has the canary that fails when a new aiohttp changes them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, TypedDict, Unpack, cast

from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler as AiohttpProtocol
from aiohttp.web_protocol import RequestPayloadError, _ErrInfo

from proxy.http1.chunked import ProtocolError
from proxy.http1.head_limits import HeadLimits
from proxy.http1.headers import Head, tokens
from proxy.http1.request_handler import ActiveExchange, RequestHandler
from proxy.http1.request_reader import RequestReader
from proxy.http1.simple_message import MAX_FIELDS, MAX_HEAD, SimpleRequest, recognise_request
from proxy.net import tls
from proxy.net.client_limits import Lease, Slot
from proxy.net.peer import Peer
from proxy.net.read_size import READ_SIZE, give_way, last_read
from proxy.net.timers import Deadlines, SlowReaders, waits
from proxy.net.tls_flood import TlsFloods
from ws_service.net.dead_peers import DeadPeers
from ws_service.net.unacknowledged import waiting

HAS_C_PARSER = http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy
"""Whether aiohttp parses with llhttp. Its pure-Python parser is laxer in ways that smuggle requests."""

_PIECE = 16384
"""Bytes of what is held that are looked at together; a head of the usual size, and a body that is not small, fit."""

_LONGEST_CONNECTION = 4096
"""Bytes of Connection fields that are read; a longer list is refused by the routing, or ends its connection."""

_COPIES = 4
"""How often a head is held while its request is served: as it came, in lines, in parts, and as it is sent on."""

_NO_HEAD = Head("-", "/", (1, 0), ())
"""Of a request that could not be read."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SentResponse(web.StreamResponse):
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


class ClientStream:
    """The client's side of one exchange: what it asked, and raw bytes back to it.

    body: decoded from its transfer coding and from nothing else.
    wants_keep_alive: whether the client's version and Connection field allow another request.
    """

    __slots__ = ("_protocol", "_wants_keep_alive", "body", "has_written", "head", "peer")

    def __init__(self, protocol: ClientConnection, head: Head, body: StreamReader, *, wants_keep_alive: bool) -> None:
        self._protocol = protocol
        self.peer = protocol.peer
        self.head = head
        self.body = body
        self._wants_keep_alive = wants_keep_alive
        self.has_written = False

    @classmethod
    def of(cls, request: web.BaseRequest) -> ClientStream:
        """Return the client of a request that aiohttp has read."""
        protocol = cast(ClientConnection, request.protocol)
        head = protocol.head or _NO_HEAD
        return cls(protocol, head, request.content, wants_keep_alive=_wants_keep_alive(head))

    @property
    def began(self) -> float:
        """When the first byte of the request was read that the connection has; monotonic seconds."""
        return self._protocol._began

    @property
    def wants_keep_alive(self) -> bool:
        """Whether another request may come on this connection: the client would, and the gateway does not stop."""
        return self._wants_keep_alive and not self._protocol.is_leaving

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed, or about to be."""
        transport = self._protocol.transport
        return transport is None or transport.is_closing()

    @property
    def has_tls(self) -> bool:
        """Whether TLS ends in this process."""
        transport = self._protocol.transport
        return transport is not None and transport.get_extra_info("sslcontext") is not None

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

    @property
    def is_slow(self) -> bool:
        """Whether more waits for it than may."""
        return self._protocol._paused

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

        The connection still counts as one of the client's until ``take_slot`` has taken that as well.
        """
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.pause_reading()
        leftover = protocol.take_held()
        protocol.transport = protocol._wire = None
        serving = protocol._task_handler
        assert serving is not None
        serving.add_done_callback(lambda _: protocol.connection_lost(None))
        return transport, leftover

    def watch_tls(self, transport: asyncio.Transport, received: Callable[[], int], cut: Callable[[], None]) -> None:
        """Go on watching a connection that was taken, if TLS ends in this process.

        received: returns the bytes that have come from it since. cut: ends it.
        """
        if transport.get_extra_info("sslcontext") is not None:
            before = self._protocol.received()
            self._protocol.tls_floods.add(transport, lambda: before + received(), cut)

    def take_slot(self) -> Slot | None:
        """Take what the connection counts as, for whoever knows its end behind ``take``; None where nobody counts."""
        slot, self._protocol.slot = self._protocol.slot, None
        return slot

    def hold(self) -> tuple[int, bytes]:
        """Stop reading, for whoever may take the connection: its descriptor, and what was read behind the head.

        ``go_on`` or ``let_go`` follows. What the client sends meanwhile stays
        in the kernel. Raises ConnectionResetError when the client is gone.
        """
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        transport.pause_reading()
        self._protocol.is_lent = True
        return transport.get_extra_info("socket").fileno(), bytes(self._protocol._held)

    def go_on(self) -> None:
        """Read on behind ``hold``: nobody took the connection."""
        self._protocol.is_lent = False
        self._protocol.read_on()

    def let_go(self) -> None:
        """Close this process's copy of the descriptor and nothing else: no FIN is sent where another has the socket."""
        try:
            transport, _ = self.take()
        except ConnectionResetError:
            return
        transport.set_protocol(asyncio.Protocol())
        transport.abort()


class ClientConnection(AiohttpProtocol):
    """A client's connection: aiohttp's, and five things more.

    Each head has a deadline, who takes nothing of its answers is cut, what
    cannot be read gets our own answer, a plain request that arrives whole
    between two others is offered to the handler before aiohttp sees it, and
    aiohttp sees nothing that ``RequestReader`` has not found to be strict.
    Both get one request at a time: what arrives behind it is held until it
    is answered.

    ``peer`` is who is at the other end. ``slot`` is what the connection counts
    as, until it ends. ``was_too_slow``: it was cut because it took nothing of
    what waited for it.
    """

    __slots__ = (
        "_announced",
        "_began",
        "_body",
        "_carried",
        "_handler",
        "_heads",
        "_held",
        "_is_answered",
        "_is_broken",
        "_is_full",
        "_is_narrow",
        "_large_head",
        "_limits",
        "_listener",
        "_most",
        "_reader",
        "_received",
        "_unread",
        "_unsent",
        "_wire",
        "_written",
        "is_acknowledged",
        "is_lent",
        "peer",
        "slot",
        "timeout",
        "was_too_slow",
    )

    peer: Peer
    timeout: float

    def __init__(
        self,
        manager: Listener,
        *,
        limits: HeadLimits,
        heads: Deadlines[ClientConnection],
        announced: Peer | None = None,
        slot: Slot | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(manager, **kwargs)
        self._listener = manager
        self.timeout = manager.send_timeout
        """Seconds that the client may take next to nothing, by the settings that its request began with."""
        self.slot = slot
        self._handler = manager.handler
        self._limits = limits
        self._is_narrow = limits.is_below(MAX_HEAD, MAX_FIELDS)  # whether a plain request could exceed them
        self._heads = heads
        self._carried: ActiveExchange | None = None
        self._held = bytearray()  # what came behind the request that is being served
        self._reader = RequestReader(limits)
        self._began = time.monotonic()  # when the first byte of the head came that is being read
        self._body = EMPTY_PAYLOAD  # of the request that aiohttp serves
        self._is_answered = False  # that request is, though its body may still come
        self._is_full = False  # of what is held: reading is paused for it
        self._is_broken = False  # nothing more of this connection is read
        self._announced = announced
        self._wire: asyncio.Transport | None = None  # aiohttp forgets its own before the last bytes have left
        self._written = 0  # bytes that were given to it
        self.is_acknowledged = True
        self._received = 0  # bytes that came from it
        self._most = 0  # bytes of one read, behind which others have a turn
        self._large_head: Lease | None = None  # a head that is larger than what others hold is counted too
        self._unread: Lease | None = None  # what is held of what it sends is counted while reading is paused
        self._unsent: Lease | None = None  # and what waits for it while that is too much
        self.is_lent = False  # somebody else may read from the socket
        self.peer = Peer("-")
        self.was_too_slow = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.peer = _peer(transport, self._announced)
        super().connection_made(transport)
        tls.bound(transport, self._read_bufsize)
        self._wire = self.transport
        assert self._wire is not None
        self._wire.set_write_buffer_limits(high=self._read_bufsize)
        self._most = last_read(self._wire)
        if self._wire.get_extra_info("sslcontext") is not None:
            self.tls_floods.add(self._wire, self.received, self.took_too_long)
        self._heads.begin(self, self._listener.head_timeout)

    def data_received(self, data: bytes) -> None:
        """Offer a plain request to the handler; give everything else to aiohttp, if it can be read in one way only."""
        if not data:
            super().data_received(data)  # aiohttp itself calls, to be reminded of what it holds
            return
        self._received += len(data)
        if not self._is_broken:
            taken = 0 if self._held or self._is_busy else self._take(data)
            if taken < len(data):
                self._hold(data[taken:])
        if len(data) >= self._most and self.transport is not None and not self.transport.is_closing():
            give_way(self.transport, self, len(data))
            self._loop.call_soon(self.read_on)

    @property
    def head(self) -> Head | None:
        """What the request that aiohttp serves asks; None while there is none."""
        return self._reader.head

    @property
    def _is_busy(self) -> bool:
        """Whether a request is served, or the answers to those before are not read: nothing more is, meanwhile."""
        return self._carried is not None or self._reader.is_whole or (self._paused and not self._reader.has_begun)

    def _take(self, data: bytes) -> int:
        """Serve the request that ``data`` begins or goes on with; return how many bytes of it that were."""
        if self._reader.has_begun or not self._offer(data):
            return self._read(data)
        return len(data)

    def read_on(self) -> None:
        """Read again, where nothing stands against it."""
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def _offer(self, data: bytes) -> bool:
        request = recognise_request(data)
        if request is None or request.owed or not self._is_between_requests:
            return False
        if self._is_narrow and self._limits.exceeded_by(data[: data.index(b"\r\n\r\n") + 4]) is not None:
            return False
        self._carried = self._handler.offer_simple(self, request)
        if self._carried is None:
            return False
        self._request_count += 1
        self.timeout = self._listener.send_timeout
        return True

    def _read(self, data: bytes) -> int:
        reader = self._reader
        had_begun, had_head = reader.has_begun, reader.has_head
        if not had_begun:
            self._began = time.monotonic()
        try:
            good, behind = reader.feed(data)
        except ProtocolError as error:
            self._break(error, had_head)
            return len(data)
        if reader.has_begun and not (had_begun or reader.has_head or self._request_count == 0):
            # Its first byte; the first head of all has its time from connecting.
            self._heads.begin(self, self._listener.head_timeout)
        if good:
            if reader.has_head and not had_head:
                self.timeout = self._listener.send_timeout
            if not had_head and reader.head_size > self._read_bufsize:
                self._large_head = self._count(_COPIES * reader.head_size)
            super().data_received(good)
            if self._messages:
                message, body = self._messages[-1]
                if isinstance(message, _ErrInfo):
                    self._break_body(message.message)
                elif not had_head:
                    self._body = body
        return len(data) - len(behind)

    def _break(self, error: ProtocolError, had_head: bool) -> None:
        """Read no more. A request that is served already ends with its body; otherwise the error is the answer."""
        if had_head:
            self._break_body(str(error))
            return
        self._is_broken = True
        self._messages.append((_ErrInfo(error.status, BadHttpMessage(str(error)), str(error)), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break_body(self, why: str) -> None:
        self._is_broken = True
        if self._is_answered:  # aiohttp waits for the rest, to throw it away
            self._body.feed_eof()
        elif not self._body.is_eof():
            self._body.set_exception(RequestPayloadError(why))

    def head_is_late(self) -> None:
        """Answer a head that is not here in time; who has not begun one has asked nothing, and gets no answer."""
        if self._reader.has_head or self._is_broken:
            return
        if self._reader.has_begun:
            self._break(ProtocolError("The head of the request did not come in time.", 408), had_head=False)
        elif self._request_count == 0:
            self.force_close()

    async def part(self) -> None:
        """Close in two steps: a close on bytes that nobody has read resets the connection, and our last answer with it.

        RFC 9112, section 9.6. What still comes is thrown away.
        """
        self._is_broken = True
        self.take_held()
        self._buffer_paused = self._reading_paused = False  # also for a body that nobody takes any more
        self.read_on()
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        await asyncio.sleep(self._lingering_time)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Go on with what came behind the request, if the connection goes on; end it if it is broken."""
        self._is_answered = True
        lease, self._large_head = self._large_head, None
        _give_back(lease)
        if self._is_broken and not self._body.is_eof():
            self._body.feed_eof()  # aiohttp would wait for it
        finished = await super().finish_response(request, resp, start_time)
        if resp.keep_alive and self._reader.is_whole:
            self._reader.next()
            self._body, self._is_answered = EMPTY_PAYLOAD, False
            self._give_on_what_was_held()
        elif (self._is_broken or self._held) and self.transport is not None:
            await self.part()
        return finished

    def write(self, data: bytes) -> None:
        """Send bytes of an answer; to a client that is gone they go nowhere."""
        if self.transport is not None:
            self._written += len(data)
            self.is_acknowledged = False
            self.transport.write(data)

    def taken(self) -> int | None:
        """Return how many bytes the client has taken; None when nothing waits for it."""
        left = None if self._wire is None else waiting(self._wire)
        return None if left is None else self._written - left

    @property
    def wire(self) -> asyncio.Transport | None:
        """Return the transport; None behind its end."""
        return self._wire

    def vanish(self) -> None:
        """Cut a client that is not there any more."""
        if self._wire is not None:
            _reset(self._wire)

    def received(self) -> int:
        """Return how many bytes have come from the client."""
        return self._received

    def took_too_long(self) -> None:
        """Cut the client, with what waits for it: a reset, so that the kernel lets go of its part too."""
        self.was_too_slow = True
        if self._wire is not None:
            _reset(self._wire)

    def client(self, request: SimpleRequest, *, has_written: bool) -> ClientStream:
        """Return a plain request's client, for carrying it the ordinary way after all.

        has_written: whether a part of the answer is with it already.
        """
        body = EMPTY_PAYLOAD
        if request.body:
            # With a limit that it does not reach: nobody may read it, and then a pause would be for ever.
            body = StreamReader(self, len(request.body), loop=self._loop)
            body.feed_data(request.body)
            body.feed_eof()
        client = ClientStream(self, request.to_head(), body, wants_keep_alive=True)
        client.has_written = has_written
        return client

    def exchange_ended(self, keep_alive: bool) -> None:
        """Go on behind a plain exchange: with what was held, with the end, or with waiting."""
        self._carried = None
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if keep_alive:
            self._give_on_what_was_held()
        else:
            self.take_held()
            self.force_close()

    @property
    def tls_floods(self) -> TlsFloods:
        """What cuts connections over TLS in which next to nothing is said."""
        return self._listener.tls_floods

    @property
    def is_leaving(self) -> bool:
        """Whether the answer to the request under way, or to the next one, is the last."""
        return self._listener.is_leaving

    @property
    def is_flushing(self) -> bool:
        """Whether nothing more is to be done than that the client takes its answer."""
        if self._carried is not None or self._current_request is not None:
            return False
        return self._listener._connections[self].get_write_buffer_size() > 0

    def close_if_idle(self, since: float) -> None:
        """Close, if no request has been under way from ``since`` on (the loop's clock), not even a part of its head."""
        if (
            self._carried is None
            and not self._reader.has_begun
            and self._is_between_requests
            and not self._held
            and self._next_keepalive_close_time - self._keepalive_timeout <= since
        ):
            self.force_close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """End now, within ``timeout`` seconds; whoever carries a plain exchange is told first."""
        carried, self._carried = self._carried, None
        if carried is not None:
            carried.cut()
        await super().shutdown(timeout)

    def pause_writing(self) -> None:
        """The client is slow."""
        super().pause_writing()
        if self._unsent is None and self._wire is not None:
            self._unsent = self._count(waits(self._wire))
        if self._carried is not None:
            self._carried.client_is_slow(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        lease, self._unsent = self._unsent, None
        _give_back(lease)
        if self._carried is not None:
            self._carried.client_is_slow(False)
        elif not self._reader.is_whole:
            self._give_on_what_was_held()

    def _count(self, size: int) -> Lease | None:
        """Count bytes that wait on this connection; cut it where its client has too many of them."""
        lease = self._handler.lease_buffer(self.peer.address, size)
        if lease is None:
            self._loop.call_soon(self.took_too_long)  # not in the middle of a write
        return lease

    def connection_lost(self, exc: BaseException | None) -> None:
        """End; whoever carries a plain exchange is told."""
        self._heads.end(self)
        carried, self._carried = self._carried, None
        self._wire = None
        super().connection_lost(exc)
        for lease in (self.slot, self._unsent, self._unread, self._large_head):
            _give_back(lease)
        if carried is not None:
            carried.client_left()

    @property
    def _is_between_requests(self) -> bool:
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages and not self._paused and not self._close

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= self._read_bufsize and not self._is_full:
            self._is_full = True
            self._pause_transport_reading()
            self._count_unread(len(self._held))

    def _give_on_what_was_held(self) -> None:
        """Serve what came behind a request, in pieces: to copy all of it for each request would cost its square."""
        while self._held and not self._is_busy and not self._is_broken:
            del self._held[: self._take(bytes(self._held[:_PIECE]))]
        if self._is_full and len(self._held) < self._read_bufsize:
            self._is_full = False
            self.read_on()

    def take_held(self) -> bytes:
        """Take what came behind the request that is being served."""
        held, self._held = bytes(self._held), bytearray()
        self._is_full = False
        return held

    def pause_reading(self) -> None:
        """Hear from aiohttp that a body comes faster than it is taken."""
        super().pause_reading()
        # Nobody says how much of it waits; and what its upstream is to take waits a second time.
        self._count_unread(2 * (READ_SIZE + 2 * self._read_bufsize))

    def _count_unread(self, size: int) -> None:
        if self._unread is None and self.transport is not None:
            self._unread = self._count(size)

    def _resume_transport_reading(self) -> None:
        # aiohttp lets go of a pause for its own buffers alone; ours stand beside it.
        if self._is_full or self.is_lent:
            return
        lease, self._unread = self._unread, None
        super()._resume_transport_reading()
        _give_back(lease)

    def _process_keepalive(self) -> None:
        # aiohttp sees neither, and would take the connection for idle.
        if self._carried is not None or self._reader.has_begun or self._held:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        self._handler.refuse(ClientStream.of(request), status, message or "")
        return SentResponse(keep_alive=False)


class ListenerOptions(TypedDict):
    """What holds for clients: what a reload may change.

    limits: of the heads of requests. head_timeout, send_timeout,
    keepalive_timeout: seconds. read_buffer: bytes of a request body held
    before the client is made to wait.
    """

    limits: HeadLimits
    head_timeout: float
    send_timeout: float
    keepalive_timeout: float
    read_buffer: int


class Listener(web.Server):
    """aiohttp's low-level server: a factory of protocols for ``loop.create_server``.

    handler: of requests. terms: what holds for clients.

    ``on_empty`` is called when the last connection has ended behind ``leave``.
    """

    def __init__(
        self,
        handler: RequestHandler,
        **terms: Unpack[ListenerOptions],
    ) -> None:
        super().__init__(
            lambda request: handler.handle(ClientStream.of(request)),
            # A client that leaves cancels its request upstream, at once.
            handler_cancellation=True,
        )
        self.is_leaving = False
        self.tls_floods = TlsFloods()
        self.handler = handler
        self.on_empty: Callable[[], None] = lambda: None
        self._heads = Deadlines[ClientConnection](ClientConnection.head_is_late)
        self._slow_readers = SlowReaders(self._clients)
        self._dead_peers = DeadPeers(self._clients)
        self._options: dict[str, Any] = {
            "heads": self._heads,
            "access_log": None,
            "auto_decompress": False,
            # Seconds that an unread body is read and thrown away, so that the client can read the answer before the
            # reset that closing on unread bytes would send (RFC 9112, section 9.6).
            "lingering_time": 5.0,
        }
        self.reconfigure(**terms)

    def reconfigure(self, **terms: Unpack[ListenerOptions]) -> None:
        """Change what holds for connections that begin from here on; the first two timeouts for heads and exchanges."""
        self.head_timeout, self.send_timeout = terms["head_timeout"], terms["send_timeout"]
        self._slow_readers.wake(self.send_timeout)
        limits = terms["limits"]
        self._options["limits"] = limits
        # aiohttp's own limits are for each line; it gets none that the reader has not found to be within ours.
        self._options["max_line_size"] = limits.request_line
        self._options["max_field_size"] = limits.header
        self._options["max_headers"] = limits.fields
        self._options["keepalive_timeout"] = terms["keepalive_timeout"]
        self._options["read_bufsize"] = terms["read_buffer"]

    def leave(self) -> None:
        """Let each answer that has not begun yet be the last on its connection, and say so (``Connection: close``)."""
        self.is_leaving = True

    def close_idle(self, since: float) -> None:
        """Close the connections on which no request has been under way from ``since`` on (the loop's clock)."""
        for connection in self.connections:
            cast(ClientConnection, connection).close_if_idle(since)

    @property
    def flushing(self) -> int:
        """How many clients have not taken an answer yet whose exchange has ended."""
        return sum(cast(ClientConnection, connection).is_flushing for connection in self._connections)

    def connection_lost(self, handler: AiohttpProtocol, exc: BaseException | None = None) -> None:
        """Note that a connection has ended; it counts until the task that serves it has ended too."""
        super().connection_lost(handler, exc)
        serving = handler._task_handler
        if serving is None:
            self._tell_if_empty()
        else:
            # Also before ``leave``: the task may end behind it.
            serving.add_done_callback(self._tell_if_empty)

    def _tell_if_empty(self, _: object = None) -> None:
        if self.is_leaving and not self._connections:
            self.on_empty()

    def __call__(self, announced: Peer | None = None, slot: Slot | None = None) -> ClientConnection:
        """Make the protocol of one connection.

        announced: who a proxy in front says that the client is; None: the transport knows.
        slot: what it counts as; it is released at its end. None where nobody counts.
        """
        self._slow_readers.wake(self.send_timeout)
        self._dead_peers.wake()
        return ClientConnection(self, loop=self._loop, announced=announced, slot=slot, **self._options)

    def _clients(self) -> list[ClientConnection]:
        return cast(list[ClientConnection], self.connections)


def _reset(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _give_back(lease: Lease | None) -> None:
    if lease is not None:
        lease.release()


def _wants_keep_alive(head: Head) -> bool:
    """Ask Connection alone (RFC 9112, section 9.3), and not Proxy-Connection."""
    values = head.all(b"connection")
    if sum(map(len, values)) > _LONGEST_CONNECTION:
        return False
    options = tokens(values)
    return b"close" not in options and (head.version >= (1, 1) or b"keep-alive" in options)


def _peer(transport: asyncio.BaseTransport, announced: Peer | None) -> Peer:
    """Return who is at the other end. Behind a PROXY header that is the client, for every purpose.

    Also for trust: who announced it is believed in this one thing, because it cannot be left out or added to by a
    client. Its X-Forwarded-For it passes on as the client wrote it, so only the client's own address can say whether
    that is to be believed.
    """
    has_tls = transport.get_extra_info("sslcontext") is not None
    if announced is not None:
        return Peer(announced.address, "https" if has_tls else announced.scheme)
    name = transport.get_extra_info("peername")
    return Peer(name[0] if isinstance(name, tuple) else "unix", "https" if has_tls else "http")
