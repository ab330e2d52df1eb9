"""One upstream: its address, its connections, and the strict reading of its answers.

The connections are ours, on llhttp (through httptools), for two reasons.
aiohttp's client takes bytes that arrive on an idle pooled connection for
the next answer, and it puts a connection back after a 101 that nobody asked
for (docs/decisions/002-our-own-way-out.md). Here a connection is in use by
one exchange or it is idle, an idle one that says anything is thrown away,
and a connection is kept only when its answer ended exactly where it should.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import NotRequired, Protocol, TypedDict, Unpack, cast

import httptools

from proxy import config, tls
from proxy.config import Limits, Settings
from proxy.errors import (
    ConnectTimeout,
    Exhausted,
    ProxyError,
    UpstreamCut,
    UpstreamError,
    UpstreamLost,
    UpstreamUnreachable,
)
from proxy.headers import Fields
from proxy.health import Health
from proxy.names import Name
from proxy.waiting import Room
from proxy.watch import Watch

MAX_HEAD = 65536
"""Bytes of an answer's head and the interim answers before it. Precedents: nginx 4-8 KiB (a known trap for large
cookies), HAProxy 16 KiB, Go 1 MiB, which counts the same."""

_MAX_BODILESS = 4 * MAX_HEAD
"""Bytes in a row of an answer, head included, that are no body. More than a head, because what comes in one read is
counted as one."""

MAX_IDLE = 256
"""Idle connections kept for each upstream; they are closed after ``upstream_idle`` anyway."""

_NO_BODY = frozenset((204, 304))
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")

_NO_LIMITS = Limits(in_flight=None)
_NO_PROBES = config.Health(interval=0)

_OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""What has run out here, and says nothing about the upstream."""


class Framing(Enum):
    """How the end of an answer's body is known (RFC 9112, section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class Answer:
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


class PlainListener(Protocol):
    """Whoever carries a plain exchange."""

    def answered(self, data: bytes) -> None:
        """Take bytes of the answer."""

    def upstream_lost(self, exc: Exception | None) -> None:
        """Hear that the connection has ended, before ``end_plain`` was called."""


class Connection(asyncio.Protocol):
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
        self._listener: PlainListener | None = None
        self._idle = True
        self.idle_since = 0.0
        self.is_reused = False
        self.has_tls = False
        self.is_counted = False
        """Whether it is one of those in flight; its upstream's to write."""

    # -- a plain exchange

    def begin_plain(self, listener: PlainListener) -> None:
        """Start an exchange whose answer ``listener`` reads, byte by byte as they come."""
        self._idle = False
        self.has_answered = False
        self._listener = listener

    def end_plain(self) -> None:
        """End it: the listener hears nothing more. Unless its answer is here to its last byte, ``abort`` comes next."""
        self._listener = None
        self._idle = True

    def hold(self, is_held: bool) -> None:
        """Make the upstream wait, or let it go on."""
        if self._transport is not None and not self._is_closing:
            (self._transport.pause_reading if is_held else self._transport.resume_reading)()

    # -- the exchange

    def begin(
        self, method: str, on_interim: Callable[[Answer], None] = lambda _: None, *, may_switch: bool = False
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
        self._switching: Answer | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._answer: Answer | None = None
        self._head_bytes = self._field_bytes = 0
        self._bodiless = 0
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._reading_paused = False
        self._complete = False
        self._reusable = False
        self._error: UpstreamError | Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._leftover = b""
        self.has_answered = False
        if self._transport is None or self._transport.is_closing():
            self._lost(None)

    def write(self, data: bytes) -> None:
        """Send bytes; on a connection that is gone they go nowhere, and ``head`` says why."""
        if self._transport is not None:
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

    async def head(self) -> Answer:
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
            if self._transport is not None and not self._is_closing:
                self._transport.resume_reading()
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
        return self._idle or (self.is_complete and self._reusable and not self._is_closing)

    def ended_early(self, exc: Exception | None, *, has_answered: bool) -> UpstreamError:
        """Return the error for an upstream that leaves in the middle; ``exc`` is what ``connection_lost`` was told."""
        reset = " (connection reset)" if exc is not None else ""
        if has_answered:
            return UpstreamCut(f"The upstream {self._name} closed the connection in the middle of a body{reset}.")
        kind = UpstreamError if self.has_answered else UpstreamLost
        return kind(f"The upstream {self._name} closed the connection without an answer{reset}.")

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
        return self._is_closing or bool(self._poll.poll(0))

    def abort(self) -> None:
        """Close at once. Safe to call twice."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # Not isinstance: uvloop's transports do not derive from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._buffer)
        self.has_tls = transport.get_extra_info("sslcontext") is not None
        tls.bound(transport, self._buffer)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parse; hold the body back when whoever reads it is slower."""
        if self._listener is not None:
            self._listener.answered(data)
            return
        if self._idle or self._complete:
            # Nobody asked: a late 408, or a body behind a HEAD. It must never be read as the next answer.
            self._reusable = False
            self.abort()
            return
        if not self.has_answered and data[0] != 0x48:
            self._break("sent something that is not HTTP (it does not begin with an H)")
            self._wake()
            return
        self.has_answered = True
        if self._answer is None:
            self._head_bytes += len(data)
        self._bodiless += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._break(f"sent something that is not HTTP ({error})")
        if self._answer is None and self._head_bytes > MAX_HEAD:
            self._break(f"sent more than {MAX_HEAD} bytes of header")
        if self._bodiless > _MAX_BODILESS and not self._complete:
            # Trailers, or extensions of chunks: llhttp takes them without end, and holds a trailer until it is whole.
            self._break(f"sent more than {_MAX_BODILESS} bytes without a body in them")
        self._wake()

    def eof_received(self) -> None:
        """Take the upstream's end as the end of a body that has no other."""
        if self._listener is not None:
            return
        if not self._idle and not self._complete and self._error is None and self._ends_with_connection:
            self._complete = True
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever still waits, unless the answer is here after all."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            self._transport = None
            listener.upstream_lost(exc)
            return
        if exc is not None and not self._idle:
            self._hear_last_words()
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

    def on_message_begin(self) -> None:
        """Notice a second answer behind the first."""
        if self._complete:
            self._reusable = False

    def on_status(self, reason: bytes) -> None:
        """Collect the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a field. Trailers are left out: RFC 9110, 6.5.1 lets a gateway do so."""
        if self._answer is None:
            self._headers.append((name, value.strip(b" \t")))
            self._field_bytes += len(name) + len(value) + 4

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
        answer = Answer(status, self._reason, headers, self._framing(status, version, headers))
        self._reason = b""
        if self._error is not None:
            return
        if status == 101:
            self._switching = answer  # llhttp tells a moment later whether it really switches
        elif status < 200:
            self._on_interim(answer)
        else:
            self._answer = answer
            if answer.framing is Framing.NONE:
                # llhttp would wait for the body that Content-Length describes.
                self._complete = True
                self._reusable = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        """Hold a piece of the body until it is read."""
        if self._complete:
            self._reusable = False
            return
        self._bodiless = 0
        self._pieces.append(data)
        self._held += len(data)
        if self._held > self._buffer and not self._reading_paused and not self._is_closing:
            assert self._transport is not None
            self._reading_paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """Note the end of the answer, unless it was an interim one."""
        if self._answer is not None and not self._complete:
            self._complete = True
            self._reusable = self._parser.should_keep_alive()

    # -- inside

    def _framing(self, status: int, version: str, headers: Fields) -> Framing:
        lengths = [value for name, value in headers if name.lower() == b"content-length"]
        codings = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
        if len(lengths) + len(codings) > 1 or any(_LENGTH.fullmatch(length) is None for length in lengths):
            self._break("did not say in one way how long its body is")
        elif codings and (codings != [b"chunked"] or version == "1.0"):
            self._break("used a transfer coding other than chunked")
        elif status < 200 and (codings or lengths not in ([], [b"0"])):
            self._break(f"said that a {status} has a body")
        if self._method == "HEAD" or status in _NO_BODY or status < 200:
            return Framing.NONE
        if codings:
            return Framing.CHUNKED
        return Framing.LENGTH if lengths else Framing.UNTIL_CLOSE

    @property
    def _ends_with_connection(self) -> bool:
        return self._answer is not None and self._answer.framing is Framing.UNTIL_CLOSE

    def _switch(self, leftover: bytes) -> None:
        if not self._may_switch or self._switching is None:
            self._break("switched protocols, which nobody had asked for")
            return
        self._answer = self._switching
        if self._transport is not None:
            self._transport.pause_reading()
        self._leftover = leftover
        self._reusable = False
        self._complete = True

    def _break(self, what: str) -> None:
        if self._complete:
            self._reusable = False
            return
        kind = UpstreamError if self._answer is None else UpstreamCut
        self._error = self._error or kind(f"The upstream {self._name} {what}.")
        self.abort()

    def _hear_last_words(self) -> None:
        """Read what the kernel still holds of a connection that a failed write has closed.

        An upstream that refuses an upload answers (413, say) and closes with the rest unread, which resets the
        connection. The write that meets the reset must not lose the answer that came before it. Over TLS what the
        kernel holds is not HTTP, and is lost.
        """
        if self._transport is None or self.has_tls:
            return
        try:
            descriptor = self._transport.get_extra_info("socket").fileno()
            while not self._complete and self._held <= self._buffer and (data := os.read(descriptor, 65536)):
                self.data_received(data)
        except OSError:
            return

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


class Ways(TypedDict):
    """How an upstream is dealt with: what a reload may change.

    connect_timeout: seconds to connect, TLS included. idle: seconds that an
    unused connection is kept. buffer: bytes held per direction before the
    sender is made to wait.
    context: how TLS is spoken to an ``https`` one; None: to the others.
    hold: seconds that requests wait for its return; 0: none. queue: seconds
    that they wait for a turn. limits: of them ``in_flight`` and ``waiting``.
    probes: how it is looked at. path: to ask for, to learn whether it is
    well; None: that it takes a connection is enough.
    """

    connect_timeout: float
    idle: float
    buffer: int
    context: NotRequired[ssl.SSLContext | None]
    hold: NotRequired[float]
    queue: NotRequired[float]
    limits: NotRequired[Limits]
    probes: NotRequired[config.Health]
    path: NotRequired[str | None]


class Upstream:
    """One of the services behind the gateway: its connections, who waits for it, and what is known of it.

    name: ``dash`` or ``ws``, as the configuration calls it.
    url: ``http://host:port``, ``https://host:port`` or ``unix:path``.
    ways: how it is dealt with.

    An exchange takes a connection with ``acquire`` (or ``acquire_at_once``)
    and gives it back with ``release``, ``discard`` or ``detach``: in between
    it is in flight. So a long answer (an event stream) is in flight to its
    end, and a tunnel only to its 101.
    """

    def __init__(self, name: str, url: str, **ways: Unpack[Ways]) -> None:
        self.name = name
        self.url = url
        self.authority = b"localhost" if url.startswith("unix:") else url.partition("://")[2].encode()
        self._host, self._port = ("", 0) if url.startswith("unix:") else split_url(url)
        self._host_name = Name(self._host)
        self._idle: deque[Connection] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._watch = Watch(name, self._look, lambda: self.room.awaits_return, 0)
        self.health = Health(name, fails=1, passes=1)
        self.room = Room(name, in_flight=None, places=0)
        self.adapt(**ways)

    # -- its life

    def adapt(self, **ways: Unpack[Ways]) -> None:
        """Change how it is dealt with from here on; what is known of it stays, and who waits for it."""
        self._connect_timeout = ways["connect_timeout"]
        self._idle_seconds = ways["idle"]
        self._buffer = ways["buffer"]
        self._tls = ways.get("context")
        self.hold_seconds = ways.get("hold", 0.0)
        self._queue_seconds = ways.get("queue", 0.0)
        self._path = ways.get("path")
        limits, probes = ways.get("limits", _NO_LIMITS), ways.get("probes", _NO_PROBES)
        self._probe_timeout = probes.timeout
        self._watch.adapt(probes.interval)
        self.health.adapt(fails=probes.fails, passes=probes.passes)
        self.room.adapt(in_flight=limits.in_flight, places=limits.waiting)

    def start(self) -> None:
        """Begin to look whether it is there, as often as its probes say."""
        self._watch.start()

    def close(self, why: str = "This gateway is stopping.") -> None:
        """Close every idle connection and keep none any more, look at it no more, and send away who waits for it."""
        self._watch.stop()
        self.room.close(why)
        self._idle_seconds = 0
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self._idle.pop().abort()

    async def closed(self) -> None:
        """Wait until nothing of it runs any more, behind ``close``."""
        await self._watch.stopped()

    # -- for exchanges

    async def acquire(self, *, is_new: bool = False) -> Connection:
        """Take a connection for one exchange: an idle one, or a new one; waits while the upstream has all it may have.

        is_new: make one in any case. Raises UpstreamUnreachable,
        ConnectTimeout, UpstreamFull, Exhausted, Stopping, and UpstreamError
        when TLS cannot be spoken to it; cancelling gives everything back.
        While the upstream is away nobody but the watch tries to connect:
        whoever comes hears what its next look finds.
        """
        while True:
            if not self._is_worth_trying(is_new):
                await self._hear()
            await self.room.claim(self._queue_seconds)
            if self._is_worth_trying(is_new):
                break
            self.room.leave()
        try:
            connection = (None if is_new else self.reuse()) or await self.connect()
        except BaseException:
            self.room.leave()
            raise
        connection.is_counted = True
        return connection

    def acquire_at_once(self) -> Connection | None:
        """Take an idle connection; None where there is none, or others wait for their turn."""
        if not self._idle or not self.room.claim_at_once():
            return None
        connection = self.reuse()
        if connection is None:
            self.room.leave()
            return None
        connection.is_counted = True
        return connection

    async def returned(self, seconds: float) -> None:
        """Wait until the upstream is back and it is our turn to try. Raises TimeoutError, UpstreamFull, Stopping."""
        self._watch.want()
        await self.room.hold(seconds)

    def release(self, connection: Connection) -> None:
        """Take a connection back when its exchange is over; closes it unless another may follow."""
        if not connection.is_reusable or len(self._idle) >= MAX_IDLE or not self._idle_seconds:
            self.discard(connection)
            return
        self._uncount(connection)
        connection.rest()
        if connection.has_tls:
            # Not before TLS has given out what it still holds: of that, the kernel knows nothing.
            asyncio.get_running_loop().call_soon(self._keep, connection)
        else:
            self._keep(connection)

    def discard(self, connection: Connection) -> None:
        """Take a connection back and close it. Safe to call twice."""
        self._uncount(connection)
        connection.abort()

    def detach(self, connection: Connection) -> tuple[asyncio.Transport, bytes]:
        """Let a connection go for good behind its 101: its transport, paused, and what came with the 101."""
        self._uncount(connection)
        return connection.detach()

    # -- its connections

    async def connect(self) -> Connection:
        """Open a new connection, which is nobody's yet.

        Raises UpstreamUnreachable, ConnectTimeout, Exhausted when this
        process can open no more, and UpstreamError when TLS cannot be spoken
        to it; cancelling abandons the attempt.
        """
        try:
            made = await self._dial(self._connect_timeout)
        except _NotReached as missed:
            if missed.is_away:
                self.health.missed(missed.why)
                self.room.shut()
            raise self._error_of(missed) from missed.__cause__
        self.health.reached()
        self.room.open()
        return made

    def reuse(self) -> Connection | None:
        """Take an idle connection, the youngest that has neither ended nor spoken; None where there is none."""
        oldest = time.monotonic() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and not connection.has_gone_stale():
                return connection
            connection.abort()
        return None

    @property
    def idle(self) -> int:
        """How many connections wait for work."""
        return len(self._idle)

    def advice(self, question: str) -> str:
        """Return what whoever runs this may look at."""
        return f"For whoever runs this: {question} Its address is gateway.upstreams.{self.name} in the configuration."

    # -- inside

    def _is_worth_trying(self, is_new: bool) -> bool:
        return not self.health.is_away or (not is_new and bool(self._idle))

    async def _hear(self) -> None:
        """Wait for the next look. Raises UpstreamUnreachable when the upstream is still away."""
        if not self._watch.has_just_looked:
            self._watch.want()
            await self.room.news()
        if self.health.is_away:
            raise self._unreachable(self.health.why)

    def _uncount(self, connection: Connection) -> None:
        if connection.is_counted:
            connection.is_counted = False
            self.room.leave()

    async def _dial(self, seconds: float) -> Connection:
        """Connect to one address after the other; raises _NotReached. Each gets its share of the time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        def connection() -> Connection:
            return Connection(self.name, self._buffer)

        try:
            if self.url.startswith("unix:"):
                async with asyncio.timeout(seconds):
                    return (await loop.create_unix_connection(connection, self.url[5:]))[1]
            async with asyncio.timeout(seconds):
                addresses = await self._host_name.addresses()
            for number, address in enumerate(addresses, 1):
                try:
                    async with asyncio.timeout((until - loop.time()) / (len(addresses) - number + 1)):
                        made = await loop.create_connection(
                            connection,
                            address,
                            self._port,
                            ssl=self._tls,
                            server_hostname=None if self._tls is None else self._host,
                        )
                        return made[1]
                except OSError:  # a TimeoutError too
                    if number == len(addresses):
                        raise
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        except TimeoutError:
            what = "look up its host name" if self._host_name.is_being_looked_up else "take a connection"
            raise _NotReached(f"did not {what} within {seconds:g} s", is_late=True) from None
        except ssl.SSLError as error:
            raise _NotReached(tls.why(error), is_unsafe=True) from error
        except OSError as error:
            raise _NotReached(_reason(error), is_ours=error.errno in _OURS) from error

    async def _look(self) -> None:
        """Probe it once, and tell everybody who waits for that."""
        try:
            await self._probe()
        except _NotReached as missed:
            if missed.is_unsafe:
                self.health.answered_badly(missed.why)
                self.room.open()
            elif missed.is_away:
                # Whoever waits has met it away already; this is no first doubt.
                (self.health.missed if self.room.awaits_return else self.health.failed)(missed.why)
        except UpstreamError as error:
            self.health.answered_badly(error.message)
            self.room.open()
        else:
            self.health.passed()
            if not self.health.is_away:
                self.room.open()
        if self.health.is_away:
            self.room.shut()
        self.room.tell()

    async def _probe(self) -> None:
        """Raise _NotReached, or UpstreamError when it is there and not well."""
        connection = await self._dial(self._probe_timeout)
        try:
            if self._path is None:
                return
            connection.begin("GET")
            fields = b"Host: %b\r\nUser-Agent: dash-ws-proxy\r\nConnection: close" % self.authority
            connection.write(b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (self._path.encode(), fields))
            async with asyncio.timeout(self._probe_timeout):
                answer = await connection.head()
            if not 200 <= answer.status < 400:
                raise UpstreamError(f"{self._path} answered {answer.status}")
        except UpstreamLost as error:
            # As a port does that something else keeps open for it: Docker's proxy takes connections for a container
            # that is down, and closes them.
            raise _NotReached("it closes connections without an answer") from error
        except TimeoutError:
            raise UpstreamError(f"{self._path} did not answer within {self._probe_timeout:g} s") from None
        finally:
            connection.abort()

    def _error_of(self, missed: _NotReached) -> ProxyError:
        if missed.is_ours:
            return Exhausted(
                "The gateway has no room for another connection.",
                advice="For whoever runs this: its log says what has run out.",
                detail=f"no connection to the upstream {self.name} at {self.url} can be opened: {missed.why}; see "
                "LimitNOFILE or ulimit -n",
                headers=[(b"Retry-After", b"1")],
            )
        if missed.is_unsafe:
            # What exactly is wrong with its certificate is nothing for a stranger.
            return UpstreamError(
                f"The upstream {self.name} cannot be spoken to safely.",
                advice=self.advice("is its certificate the right one?"),
                detail=f"the upstream {self.name} at {self.url}: {missed.why}; gateway.upstream_ca names the "
                "authorities that are believed",
            )
        return self._unreachable(missed.why, is_late=missed.is_late)

    def _unreachable(self, why: str, *, is_late: bool = False) -> UpstreamUnreachable | ConnectTimeout:
        what = why if is_late else f"cannot be reached: {why}"
        return (ConnectTimeout if is_late else UpstreamUnreachable)(
            f"The upstream {self.name} {what}.",
            advice=self.advice("is it overloaded?" if is_late else "is it running?"),
            detail=f"the upstream {self.name} at {self.url} {what}",
        )

    def _keep(self, connection: Connection) -> None:
        if not self._idle_seconds:  # closed meanwhile
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        oldest = time.monotonic() - self._idle_seconds
        while self._idle and (self._idle[0].idle_since <= oldest or self._idle[0]._is_closing):
            self._idle.popleft().abort()
        if self._idle:
            self._sweep_later()


class _NotReached(Exception):
    """No connection: why; whether it took too long; whether that is our own fault; whether TLS failed."""

    def __init__(self, why: str, *, is_late: bool = False, is_ours: bool = False, is_unsafe: bool = False) -> None:
        super().__init__(why)
        self.why, self.is_late, self.is_ours, self.is_unsafe = why, is_late, is_ours, is_unsafe

    @property
    def is_away(self) -> bool:
        """Whether the upstream takes no connection."""
        return not (self.is_ours or self.is_unsafe)


def make_upstreams(settings: Settings, before: Mapping[str, Upstream]) -> dict[str, Upstream]:
    """Return the configured upstreams by name. Raises TlsError when the authorities cannot be read.

    before: those of the reading of the config before; one that still has its address goes on, adapted.
    """
    is_secure = {name: url.startswith("https:") for name, url in settings.upstreams}
    context = tls.upstream_context(settings.upstream_ca) if any(is_secure.values()) else None
    upstreams = {}
    for name, url in settings.upstreams:
        ways: Ways = {
            "connect_timeout": settings.timeouts.connect,
            "idle": settings.timeouts.upstream_idle,
            "buffer": settings.buffer,
            "context": context if is_secure[name] else None,
            "hold": settings.timeouts.hold,
            "queue": settings.timeouts.queue,
            "limits": settings.limits,
            "probes": settings.health,
            "path": getattr(settings.health, name),
        }
        upstream = before.get(name)
        if upstream is not None and upstream.url == url:
            upstream.adapt(**ways)
        else:
            upstream = Upstream(name, url, **ways)
        upstreams[name] = upstream
    return upstreams


def split_url(url: str) -> tuple[str, int]:
    """Split ``http://host:port`` into host, without brackets, and port (80 or, with https, 443 where none is given)."""
    scheme, _, netloc = url.partition("://")
    host, colon, port = netloc.rpartition(":")
    if not colon or port.endswith("]"):
        return netloc.strip("[]"), 443 if scheme == "https" else 80
    return host.strip("[]"), int(port)


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        is_for_now = error.errno == socket.EAI_AGAIN
        return "its host name cannot be looked up for now" if is_for_now else "its host name is not known"
    if isinstance(error, FileNotFoundError):
        return "its socket file does not exist"
    return (error.strerror or type(error).__name__).lower()
