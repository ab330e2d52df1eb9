"""A client's connection: it owns the socket, reads strictly, and serves one request at a time.

A simple request that has arrived whole is offered to the gateway's fast path. Any
other is served by a task of its own; one whose body is still arriving by
aiohttp's server (``aiohttp_server``). Bytes after a request are held until it
has been answered.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, cast

from proxy.http1.aiohttp_server import StreamedExchange
from proxy.http1.chunked import ProtocolError
from proxy.http1.client_socket import ClientSocket
from proxy.http1.client_stream import ClientStream, RequestBody
from proxy.http1.headers import Head
from proxy.http1.request_handler import ActiveExchange, TaskExchange
from proxy.http1.request_reader import RequestReader
from proxy.net.client_limits import Slot
from proxy.net.fair_reads import large_read, pause_after_large_read
from proxy.net.peer import Peer

if TYPE_CHECKING:
    from proxy.http1.connection_manager import ConnectionManager

LINGERING_TIME = 5.0
"""Seconds for which bytes are discarded after the last response. Precedent: nginx lingering_timeout 5s."""

_PIECE = 16384
"""Bytes of what is held that are read together; a head of the usual size fits, and a small body."""

_COPIES = 4
"""How often a head is held while its request is served: as it came, in lines, in parts, and as it is sent on."""

_BODY_COPIES = 2
"""How often a body is held that has come whole: as it came, and as it is sent on, also while it waits for its upstream.
One that comes in pieces is counted where it makes the client wait."""

_LARGE_HEAD, _LARGE_BODY = "large head", "large body"
"""Why bytes are counted that wait here."""

_NO_HEAD = Head("-", "/", (1, 0), ())
"""Of a request that could not be read."""


class State(Enum):
    """What a client's connection does."""

    IDLE = "idle"
    READING = "reading a head"
    SERVING = "serving a request"
    LINGERING = "lingering close"
    """The last response has been sent; further bytes are discarded. A close with unread bytes would reset the
    connection, and the client could lose the response (RFC 9112, section 9.6)."""
    DETACHED = "detached"
    """The socket has another owner; the exchange that detached it goes on to its end."""
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

    manager: what holds for all connections. announced: the client that a proxy in front has announced; None: the
    transport knows. slot: what the connection counts as; it is released at its end. None where it is not counted.

    ``settings`` are those that held when it began. ``exchange``: the one that is served; None between two.
    ``received``: bytes that came. ``idle_since``: when the last exchange ended, or the connection began; monotonic
    seconds.
    """

    __slots__ = (
        "_announced",
        "_began",
        "_has_served",
        "_is_broken",
        "_large_read",
        "_reader",
        "_state",
        "exchange",
        "idle_since",
        "manager",
        "peer",
        "received",
        "settings",
        "slot",
        "socket",
    )

    def __init__(self, manager: ConnectionManager, announced: Peer | None = None, slot: Slot | None = None) -> None:
        self.manager = manager
        self.settings = settings = manager.settings
        self._announced = announced
        self.slot = slot
        self.peer = Peer("-")
        self.socket = ClientSocket(manager.handler.lease_buffer, settings.timeouts.send, settings.buffer)
        self.received = 0
        self.idle_since = 0.0
        self.exchange: ActiveExchange | None = None
        self._state = State.IDLE
        self._reader = RequestReader(manager.head_limits)
        self._began = 0.0  # when the first byte of the request came; monotonic seconds
        self._has_served = False  # a request
        self._is_broken = False  # nothing more that comes is a request
        self._large_read = 0  # bytes of one read, after which other connections have a turn

    # -- asyncio's interface of a protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.peer = _peer(transport, self._announced)
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        self.socket.open(transport, self.peer.address)
        self._large_read = large_read(transport)
        if self.socket.has_tls:
            self.manager.tls_floods.add(transport, lambda: self.received, self.socket.took_too_long)
        self.manager.opened(self)

    def data_received(self, data: bytes) -> None:
        """Read a request, or hold what comes after one that is being served."""
        self.received += len(data)
        taken = 0 if self.socket.held or not self._may_read else self._read(data)
        if taken < len(data):
            self.socket.hold(data[taken:])
        transport = self.socket.transport
        if len(data) >= self._large_read and transport is not None and not transport.is_closing():
            pause_after_large_read(transport, self, len(data))
            self.manager.loop.call_soon(self.socket.resume)

    def pause_writing(self) -> None:
        """Note that the client is slow."""
        self.socket.set_slow(True)
        if self.exchange is not None:
            self.exchange.client_is_slow(True)

    def resume_writing(self) -> None:
        """Note that the client has caught up."""
        self.socket.set_slow(False)
        if self.exchange is not None:
            self.exchange.client_is_slow(False)
        self._read_held()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, and tell the exchange."""
        if self.socket.transport is not None:
            self._state = TRANSITIONS[self._state]["close"]
            self._let_go()
            if self.exchange is not None:
                self.exchange.client_left()
            else:
                self.manager.ended(self)

    # -- reading

    @property
    def _may_read(self) -> bool:
        """Whether arriving bytes are read now.

        They are not while a request is served whose body is complete, and a new request is not while earlier responses
        wait to be read by the client.
        """
        if self._state is State.IDLE:
            return not self.socket.is_slow
        return self._state is not State.SERVING or self._has_rest

    @property
    def _has_rest(self) -> bool:
        """Whether a part of the request has come, and not all of it."""
        return self._reader.has_begun and not self._reader.is_whole

    def _read(self, data: bytes) -> int:
        """Read what goes on with a request, or begins one; return how many bytes that were."""
        reader, state = self._reader, self._state
        if self._is_broken or state is State.CLOSED:
            return len(data)
        if state is State.IDLE:
            self._began = self.manager.loop.time()
        try:
            body, rest = reader.feed(data)
        except ProtocolError as error:
            self._break(error)
            return len(data)
        if state is State.SERVING:
            assert isinstance(self.exchange, StreamedExchange)
            self.exchange.body_received(body, reader.is_whole)
        elif state is State.LINGERING:
            if reader.is_whole:
                self.close()
        elif reader.head is not None:
            self._serve(reader.head, body)
        elif state is State.IDLE and reader.has_begun:
            self._state = TRANSITIONS[state]["first byte"]
            if self._has_served:  # the first head has its time from connecting
                self.manager.heads.begin(self, self.manager.settings.timeouts.head)
        return len(data) - len(rest)

    def _read_held(self) -> None:
        """Read what came after a request, in pieces: to copy all of it for each request would cost its square."""
        while self.socket.held and self._may_read:
            self.socket.used(self._read(bytes(self.socket.held[:_PIECE])))

    def _serve(self, head: Head, body: bytes) -> None:
        """Have a request served. body: what has come of its body."""
        reader, manager = self._reader, self.manager
        self._state = TRANSITIONS[self._state]["request"]
        self._has_served = True
        self.socket.timeout = manager.settings.timeouts.send
        if reader.head_size > self.settings.buffer:
            self.socket.count(_LARGE_HEAD, _COPIES * reader.head_size)
        if not reader.is_whole:
            self.exchange = exchange = StreamedExchange(self, head, self._began, reader.length)
            exchange.body_received(body, is_last=False)
            return
        self.exchange = manager.handler.offer_simple(self, head, body) if head.is_simple else None
        if self.exchange is None:
            if len(body) > self.settings.buffer:
                self.socket.count(_LARGE_BODY, _BODY_COPIES * len(body))
            work = manager.handler.handle(self.stream(head, body))
            self.exchange = TaskExchange(work, f"request of {self.peer.address}", self.exchange_ended)

    def _break(self, error: ProtocolError) -> None:
        """Read no more. A request that is being served ends with its body; otherwise the error is the response."""
        self._is_broken = True
        if isinstance(self.exchange, StreamedExchange):
            self.exchange.body_broken(error)
        elif self._state is State.LINGERING:
            self.close()
        else:
            stream = self.stream(self._reader.head or _NO_HEAD, b"")
            self.manager.handler.refuse(stream, error.status, str(error))
            self._linger("bad request")

    def head_is_late(self) -> None:
        """Answer a head that is late. A client that has not begun a head gets no response."""
        if self._state is State.READING:
            self._break(ProtocolError("The head of the request did not come in time.", 408))
        elif self._state is State.IDLE and not self._has_served:
            self.close()

    # -- the end of an exchange, and of the connection

    def exchange_ended(self, keep_alive: bool) -> None:
        """After an exchange: read what was held, wait for the next request, or close."""
        self.exchange = None
        if self.socket.leases:
            self.socket.uncount(_LARGE_HEAD, _LARGE_BODY)
        if self._state is not State.SERVING:
            self._let_go()
            self.manager.ended(self)
        elif keep_alive and not self._has_rest:
            self._state = TRANSITIONS[self._state]["answered"]
            self.idle_since = self.manager.loop.time()
            self._reader.next()
            if self.socket.held:
                self._read_held()
        elif self._has_rest or self.socket.held:
            self._linger("bytes left")
        else:
            self.close()

    def _linger(self, why: str) -> None:
        """Close in two steps (lingering close): end our direction, and discard what still arrives for some seconds."""
        self._state = TRANSITIONS[self._state][why]
        self._is_broken = self._is_broken or bool(self.socket.held) or self._reader.head is None
        self.socket.end_sending()
        self.manager.lingering.begin(self, LINGERING_TIME)

    def close(self) -> None:
        """Close, after what was written has been sent."""
        self._state = TRANSITIONS[self._state]["close"]
        self.socket.close()

    def close_if_idle(self, since: float) -> None:
        """Close, if no request, and no part of one, has been under way from ``since`` on (monotonic seconds)."""
        has_begun = self._reader.has_begun or self.socket.held
        if self._state is State.IDLE and self.idle_since <= since and not has_begun:
            self.close()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Take the socket for good: its transport, paused, and the bytes that were read after the head.

        Raises ConnectionResetError when the client has left.
        """
        taken = self.socket.take()
        self._state = TRANSITIONS[self._state]["detach"]
        return taken

    def _let_go(self) -> None:
        """Release what the connection holds."""
        self.socket.release()
        self.manager.heads.end(self)
        self.manager.lingering.end(self)
        slot, self.slot = self.slot, None
        if slot is not None:
            slot.release()

    # -- what others ask

    @property
    def is_flushing(self) -> bool:
        """Whether the only thing left is that the client reads its response."""
        return self.exchange is None and self.socket.is_flushing

    def stream(self, head: Head, body: bytes, *, has_written: bool = False) -> ClientStream:
        """Return the stream of a request that has come whole.

        has_written: whether a part of the response has been sent already.
        """
        return ClientStream(self, head, RequestBody(body), began=self._began, has_written=has_written)


def _peer(transport: asyncio.BaseTransport, announced: Peer | None) -> Peer:
    """Return the other end of a connection. After a PROXY header that is the client, for every purpose.

    Also for trust: the proxy is trusted for the PROXY header, which a client can neither leave out nor change. It
    passes X-Forwarded-For on as the client wrote it, so whether that is trusted depends on the client's own address.
    """
    has_tls = transport.get_extra_info("sslcontext") is not None
    if announced is not None:
        return Peer(announced.address, "https" if has_tls else announced.scheme)
    name = transport.get_extra_info("peername")
    return Peer(name[0] if isinstance(name, tuple) else "unix", "https" if has_tls else "http")
