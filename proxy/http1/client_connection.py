"""A client's connection: it owns the socket, reads strictly, and serves one request at a time.

A simple request that came whole is offered to the gateway's fast path. Any
other is served by a task of its own; one whose body is still on its way by
aiohttp's server (``aiohttp_server``). What comes after a request is held
until that is answered.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from proxy.http1.aiohttp_server import StreamedExchange
from proxy.http1.chunked import ProtocolError
from proxy.http1.client_stream import ClientStream, RequestBody, SentResponse, WholeBody
from proxy.http1.client_writer import ClientWriter
from proxy.http1.headers import Head
from proxy.http1.request_handler import ActiveExchange
from proxy.http1.request_reader import RequestReader
from proxy.net import tls
from proxy.net.client_limits import Lease, Slot
from proxy.net.fair_reads import READ_SIZE, large_read, pause_after_large_read
from proxy.net.peer import Peer
from proxy.net.read_after_reset import half_close
from proxy.net.timers import waits
from proxy.net.tls_flood import TlsFloods

if TYPE_CHECKING:
    from proxy.http1.http_listener import Listener

logger = logging.getLogger("proxy")

LINGERING_TIME = 5.0
"""Seconds for which bytes are thrown away after the last answer. Precedent: nginx lingering_timeout 5s."""

_PIECE = 16384
"""Bytes of what is held that are read together; a head of the usual size, and a body that is not small, fit."""

_COPIES = 4
"""How often a head is held while its request is served: as it came, in lines, in parts, and as it is sent on."""

_NO_HEAD = Head("-", "/", (1, 0), ())
"""Of a request that could not be read."""


class State(Enum):
    """What a client's connection does."""

    IDLE = "idle"
    READING = "reading a head"
    SERVING = "serving a request"
    LINGERING = "lingering close"
    """The last answer is sent; what still comes is thrown away. A close on bytes that were not read would reset the
    connection, and the answer with it (RFC 9112, section 9.6)."""
    DETACHED = "detached"
    """The socket has another owner; the exchange that gave it away goes on to its end."""
    CLOSED = "closed"
    """No more is read. What is written is still sent."""

    __hash__ = object.__hash__  # members are singletons; Enum's own is a call of Python for each look-up


TRANSITIONS: dict[State, dict[str, State]] = {
    State.IDLE: {
        "first byte": State.READING,
        "request": State.SERVING,
        "bad request": State.LINGERING,
        "close": State.CLOSED,
    },
    State.READING: {"request": State.SERVING, "bad request": State.LINGERING, "close": State.CLOSED},
    State.SERVING: {
        "answered": State.IDLE,
        "bytes left": State.LINGERING,
        "detach": State.DETACHED,
        "close": State.CLOSED,
    },
    State.LINGERING: {"close": State.CLOSED},
    State.DETACHED: {"close": State.CLOSED},
    State.CLOSED: {"close": State.CLOSED},
}
"""State, what happens, next state. ``docs/architecture.md`` draws its picture from this table."""


class ClientConnection(asyncio.Protocol):
    """One connection of a client.

    listener: what holds for all connections. announced: the client that a proxy in front has announced; None: the
    transport knows. slot: what the connection counts as; it is released at its end. None where it is not counted.

    ``options`` are those that held when it began. ``received``: bytes that came. ``idle_since``: when the last
    exchange ended, or the connection began; the loop's clock.
    """

    __slots__ = (
        "_announced",
        "_began",
        "_exchange",
        "_has_served",
        "_held",
        "_is_body_full",
        "_is_broken",
        "_is_full",
        "_is_lent",
        "_large_head",
        "_large_read",
        "_listener",
        "_reader",
        "_state",
        "_unread",
        "_unsent",
        "idle_since",
        "options",
        "peer",
        "received",
        "slot",
        "transport",
        "writer",
    )

    def __init__(self, listener: Listener, announced: Peer | None = None, slot: Slot | None = None) -> None:
        self._listener = listener
        self.options = options = listener.options
        self._announced = announced
        self.slot = slot
        self.peer = Peer("-")
        self.transport: asyncio.Transport | None = None
        self.writer = ClientWriter(options.send_timeout)
        self.received = 0
        self.idle_since = 0.0
        self._state = State.IDLE
        self._exchange: ActiveExchange | None = None
        self._reader = RequestReader(options.limits)
        self._began = 0.0  # when the first byte of the request came; monotonic seconds
        self._has_served = False  # a request
        self._held = bytearray()  # what came after the request that is being served
        self._is_full = False  # of what is held: reading is paused for it
        self._is_body_full = False  # reading is paused for a body that comes faster than it is taken
        self._is_lent = False  # another process may read from the socket
        self._is_broken = False  # nothing more that comes is a request
        self._large_read = 0  # bytes of one read, after which other connections have a turn
        self._large_head: Lease | None = None  # a head that is larger than what may be held is counted too
        self._unread: Lease | None = None  # what is held of what the client sends is counted while reading is paused
        self._unsent: Lease | None = None  # and what waits for the client while that is too much

    # -- asyncio's interface of a protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.peer = _peer(transport, self._announced)
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        self.transport = self.writer.transport = transport
        tls.bound(transport, self.options.read_buffer)
        transport.set_write_buffer_limits(high=self.options.read_buffer)
        self._large_read = large_read(transport)
        if transport.get_extra_info("sslcontext") is not None:
            self.tls_floods.add(transport, lambda: self.received, self.writer.took_too_long)
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read a request, or hold what comes after one that is being served."""
        self.received += len(data)
        taken = 0 if self._held or not self._may_read else self._read(data)
        if taken < len(data):
            self._hold(data[taken:])
        if len(data) >= self._large_read and not self.is_gone:
            assert self.transport is not None
            pause_after_large_read(self.transport, self, len(data))
            asyncio.get_running_loop().call_soon(self._read_on)

    def pause_writing(self) -> None:
        """Hear that the client is slow."""
        self.writer.set_slow(True)
        if self._unsent is None and self.transport is not None:
            self._unsent = self._lease(waits(self.transport))
        if self._exchange is not None:
            self._exchange.client_is_slow(True)

    def resume_writing(self) -> None:
        """Hear that the client has caught up."""
        self.writer.set_slow(False)
        self._unsent = _release(self._unsent)
        if self._exchange is not None:
            self._exchange.client_is_slow(False)
        self._read_held()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, and tell the exchange."""
        if self.transport is not None:
            self._state = TRANSITIONS[self._state]["close"]
            self._let_go()
            if self._exchange is not None:
                self._exchange.client_left()
            else:
                self._listener.ended(self)

    # -- reading

    @property
    def _may_read(self) -> bool:
        """Whether what comes is read now. Nothing is while a request is served whose body is whole, nor a new one
        while the answers before it are not taken."""
        if self._state is State.IDLE:
            return not self.writer.is_slow
        return self._state is not State.SERVING or not (self._reader.is_whole or not self._reader.has_begun)

    def _read(self, data: bytes) -> int:
        """Read what goes on with a request, or begins one; return how many bytes that were."""
        reader, state = self._reader, self._state
        if self._is_broken or state is State.CLOSED:
            return len(data)
        if state is State.IDLE:
            self._began = time.monotonic()
        try:
            body, rest = reader.feed(data)
        except ProtocolError as error:
            self._break(error)
            return len(data)
        if state is State.SERVING:
            assert isinstance(self._exchange, StreamedExchange)
            self._exchange.body_received(body, reader.is_whole)
        elif state is State.LINGERING:
            if reader.is_whole:
                self.close()
        elif reader.head is not None:
            self._serve(reader.head, body)
        elif state is State.IDLE and reader.has_begun:
            self._state = TRANSITIONS[state]["first byte"]
            if self._has_served:  # the first head of all has its time from connecting
                self._listener.heads.begin(self, self._listener.options.head_timeout)
        return len(data) - len(rest)

    def _serve(self, head: Head, body: bytes) -> None:
        """Have a request served. body: what has come of its body."""
        reader, listener = self._reader, self._listener
        self._state = TRANSITIONS[self._state]["request"]
        self._has_served = True
        self.writer.timeout = listener.options.send_timeout
        if reader.head_size > self.options.read_buffer:
            self._large_head = self._lease(_COPIES * reader.head_size)
        if not reader.is_whole:
            self._exchange = exchange = StreamedExchange(
                listener.streaming, self, self._handle_streamed, 2 * self.options.read_buffer, reader.length
            )
            exchange.body_received(body, is_last=False)
            return
        self._exchange = listener.handler.offer_simple(self, head, body) if head.is_simple else None
        if self._exchange is None:
            self._exchange = _TaskExchange(self, listener.handler.handle(self.stream(head, body)))

    async def _handle_streamed(self, body: RequestBody) -> SentResponse:
        assert self._reader.head is not None
        return await self._listener.handler.handle(ClientStream(self, self._reader.head, body, began=self._began))

    def _break(self, error: ProtocolError) -> None:
        """Read no more. A request that is served already ends with its body; otherwise the error is the answer."""
        self._is_broken = True
        if isinstance(self._exchange, StreamedExchange):
            self._exchange.body_broken(error)
        elif self._state is State.LINGERING:
            self.close()
        else:
            stream = self.stream(self._reader.head or _NO_HEAD, b"")
            self._listener.handler.refuse(stream, error.status, str(error))
            self._linger("bad request")

    def head_is_late(self) -> None:
        """Answer a head that is not here in time. A client that has not begun one has asked nothing: it gets none."""
        if self._state is State.READING:
            self._break(ProtocolError("The head of the request did not come in time.", 408))
        elif self._state is State.IDLE and not self._has_served:
            self.close()

    # -- what is held, and pauses of reading

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= self.options.read_buffer and not self._is_full:
            self._is_full = True
            self._pause_reading(len(self._held))

    def _read_held(self) -> None:
        """Read what came after a request, in pieces: to copy all of it for each request would cost its square."""
        while self._held and self._may_read:
            del self._held[: self._read(bytes(self._held[:_PIECE]))]
        if self._is_full and len(self._held) < self.options.read_buffer:
            self._is_full = False
            self._read_on()

    def pause_body(self) -> None:
        """Make the client wait: a body comes faster than it is taken."""
        self._is_body_full = True
        # Nobody says how much of it waits; and what its upstream is to take waits a second time.
        self._pause_reading(2 * (READ_SIZE + 2 * self.options.read_buffer))

    def resume_body(self) -> None:
        """Take more of a body."""
        self._is_body_full = False
        self._read_on()

    def _pause_reading(self, size: int) -> None:
        if self.transport is not None:
            self.transport.pause_reading()
            self._unread = self._unread or self._lease(size)

    def _read_on(self) -> None:
        """Read again, unless something else is against it."""
        if self.transport is not None and not (self._is_full or self._is_body_full or self._is_lent):
            self._unread = _release(self._unread)
            self.transport.resume_reading()

    # -- the end of an exchange, and of the connection

    def exchange_ended(self, keep_alive: bool) -> None:
        """Go on after an exchange: with what was held, with waiting, or with the end."""
        self._exchange = None
        self._large_head = _release(self._large_head)
        has_rest = self._reader.has_begun and not self._reader.is_whole
        if self._state is not State.SERVING:
            self._let_go()
            self._listener.ended(self)
        elif keep_alive and not has_rest:
            self._state = TRANSITIONS[self._state]["answered"]
            self.idle_since = asyncio.get_running_loop().time()
            if self._reader.has_begun:
                self._reader.next()
            self._read_held()
        elif has_rest or self._held:
            self._linger("bytes left")
        else:
            self.close()

    def _linger(self, why: str) -> None:
        """Close in two steps: say that nothing more is sent, and throw away what still comes for a moment."""
        self._state = TRANSITIONS[self._state][why]
        self._is_broken = self._is_broken or bool(self._held) or self._reader.head is None
        self._held.clear()
        self._is_full = self._is_body_full = False
        self._read_on()
        if self.transport is not None and self.transport.can_write_eof():
            half_close(self.transport)
        self._listener.lingering.begin(self, LINGERING_TIME)

    def close(self) -> None:
        """Close, after what was written has been sent."""
        self._state = TRANSITIONS[self._state]["close"]
        if self.transport is not None:
            self.transport.close()

    def close_if_idle(self, since: float) -> None:
        """Close, if no request has been under way from ``since`` on (the loop's clock), not even a part of its head."""
        if self._state is State.IDLE and self.idle_since <= since and not self._held and not self._reader.has_begun:
            self.close()

    def cut_exchange(self) -> None:
        """End the exchange under way, if there is one."""
        if self._exchange is not None:
            self._exchange.cut()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Take the socket for good: its transport, paused, and the bytes that were read after the head.

        Raises ConnectionResetError when the client has left.
        """
        transport = self._open_transport()
        transport.pause_reading()
        leftover = bytes(self._held)
        self._state = TRANSITIONS[self._state]["detach"]
        slot, self.slot = self.slot, None
        self._let_go()
        self.slot = slot
        return transport, leftover

    def lend_socket(self) -> tuple[int, bytes]:
        """Stop reading until ``resume``: the descriptor, and the bytes that were read after the head.

        Raises ConnectionResetError when the client has left.
        """
        transport = self._open_transport()
        transport.pause_reading()
        self._is_lent = True
        return transport.get_extra_info("socket").fileno(), bytes(self._held)

    def resume(self) -> None:
        """Read on after ``lend_socket``."""
        self._is_lent = False
        self._read_on()

    def _open_transport(self) -> asyncio.Transport:
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the client has left")
        return self.transport

    def _let_go(self) -> None:
        """Give back what a connection has."""
        self.transport = None
        self.writer.ended()
        self._held.clear()
        self._listener.heads.end(self)
        self._listener.lingering.end(self)
        _release(self.slot)
        self.slot = None
        self._unsent = _release(self._unsent)
        self._unread = _release(self._unread)
        self._large_head = _release(self._large_head)

    # -- what others ask

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self.transport is None or self.transport.is_closing()

    @property
    def is_flushing(self) -> bool:
        """Whether nothing more is to be done than that the client takes its answer."""
        return self._exchange is None and self.transport is not None and self.transport.get_write_buffer_size() > 0

    @property
    def is_serving(self) -> bool:
        """Whether an exchange is under way."""
        return self._exchange is not None

    @property
    def is_leaving(self) -> bool:
        """Whether the answer to the request under way, or to the next one, is the last."""
        return self._listener.is_leaving

    @property
    def tls_floods(self) -> TlsFloods:
        """What cuts connections over TLS in which next to nothing is said."""
        return self._listener.tls_floods

    def stream(self, head: Head, body: bytes, *, has_written: bool = False) -> ClientStream:
        """Return the stream of a request that has come whole.

        has_written: whether a part of the answer is with the client already.
        """
        stream = ClientStream(self, head, WholeBody(body), began=self._began)
        stream.has_written = has_written
        return stream

    def _lease(self, size: int) -> Lease | None:
        """Count bytes that wait on this connection; cut it where its client has too many of them."""
        lease = self._listener.handler.lease_buffer(self.peer.address, size)
        if lease is None:
            asyncio.get_running_loop().call_soon(self.writer.took_too_long)  # not in the middle of a write
        return lease


class _TaskExchange:
    """An exchange that is served by a task of its own."""

    __slots__ = ("_connection", "_task")

    def __init__(self, connection: ClientConnection, work: Coroutine[Any, Any, SentResponse]) -> None:
        self._connection = connection
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(work, name=f"request of {connection.peer.address}")
        self._task.add_done_callback(self._ended)

    def client_left(self) -> None:
        """Cancel the task."""
        self._task.cancel()

    def cut(self) -> None:
        """Cancel the task."""
        self._task.cancel()

    def client_is_slow(self, is_slow: bool) -> None:
        """Do nothing: the task waits itself."""

    def _ended(self, task: asyncio.Task[SentResponse]) -> None:
        keep_alive = False
        if not task.cancelled():
            error = task.exception()
            if error is None:
                keep_alive = task.result().keep_alive
            elif not isinstance(error, ConnectionError):
                logger.error("a fault of the gateway itself", exc_info=error)
        self._connection.exchange_ended(keep_alive)


def _release(lease: Lease | None) -> Lease | None:
    """Release a lease, if there is one; return what takes its place: none."""
    if lease is not None:
        lease.release()
    return None


def _peer(transport: asyncio.BaseTransport, announced: Peer | None) -> Peer:
    """Return the other end of a connection. After a PROXY header that is the client, for every purpose.

    Also for trust: the proxy that announced it is trusted in this one thing, because a client can neither leave it
    out nor add to it. Its X-Forwarded-For it passes on as the client wrote it, so only the client's own address can
    say whether that is trusted.
    """
    has_tls = transport.get_extra_info("sslcontext") is not None
    if announced is not None:
        return Peer(announced.address, "https" if has_tls else announced.scheme)
    name = transport.get_extra_info("peername")
    return Peer(name[0] if isinstance(name, tuple) else "unix", "https" if has_tls else "http")
