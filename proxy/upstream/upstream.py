"""One of the services behind the gateway: its address, its connections, who waits for it, and what is known of it."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NotRequired, TypedDict, Unpack

from proxy import config
from proxy.config import Limits, Settings, Timeouts, split_url
from proxy.errors import (
    ConnectTimeout,
    Exhausted,
    ProxyError,
    UpstreamError,
    UpstreamLost,
    UpstreamUnreachable,
)
from proxy.net import tls
from proxy.net.resolver import Resolver
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.health import Health
from proxy.upstream.health_check import HealthCheck
from proxy.upstream.request_queue import RequestQueue
from ws_service.net.dead_peers import DeadPeers

MAX_IDLE = 256
"""Idle connections kept for each upstream; they are closed after ``upstream_idle`` anyway."""


_NO_LIMITS = Limits(in_flight=None)
_NO_PROBES = config.Health(interval=0)

_OURS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))
"""What has run out here, and says nothing about the upstream."""


_NO_NAME = "its host name is not known"
_NO_ANSWER = "its host name cannot be looked up for now"
_CLOSED_AT_ONCE = "it closed the connection at once"
_NO_HANDSHAKE = "it closed the connection in the TLS handshake"
_NOT_ALLOWED = "permission denied"
_OTHER_SOCKET = "its socket file is of another kind"

_QUESTIONS = {
    _NO_NAME: "is its name right, and is it running?",
    _NO_ANSWER: "does the name server answer?",
    _NO_HANDSHAKE: "is it running, and does it speak TLS?",
    _NOT_ALLOWED: "may the user of this process use its socket file?",
    _OTHER_SOCKET: "is that the socket file of a web server?",
}
"""What to look at, by why no connection was made; for every other reason, whether it runs."""

_STAYS = frozenset((_NOT_ALLOWED, _OTHER_SOCKET))
"""Reasons that hardly pass by themselves. Requests wait all the same, as a socket file may be made before its mode is
set; but no page promises that it opens soon."""


class UpstreamOptions(TypedDict):
    """How an upstream is dealt with: what a reload may change.

    idle: seconds that an unused connection is kept. buffer: bytes held per
    direction before the sender is made to wait.
    context: how TLS is spoken to an ``https`` one; None: to the others.
    limits: of them ``in_flight`` and ``waiting``.
    probes: how it is looked at. path: to ask for, to learn whether it is
    well; None: that it takes a connection is enough.
    """

    idle: float
    buffer: int
    context: NotRequired[ssl.SSLContext | None]
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

    def __init__(self, name: str, url: str, **ways: Unpack[UpstreamOptions]) -> None:
        self.name = name
        self.url = url
        self.authority = b"localhost" if url.startswith("unix:") else url.partition("://")[2].encode()
        self._host, self._port = ("", 0) if url.startswith("unix:") else split_url(url)
        self._host_name = Resolver(self._host)
        self._idle: deque[UpstreamConnection] = deque()
        self._in_use: set[UpstreamConnection] = set()
        self._dead_peers = DeadPeers(lambda: self._in_use)
        self._sweeper: asyncio.TimerHandle | None = None
        self._watch = HealthCheck(name, self._look, lambda: self.room.awaits_return, 0)
        self.health = Health(name, fails=1, passes=1)
        self.room = RequestQueue(name, in_flight=None, places=0)
        self.reconfigure(**ways)

    # -- its life

    def reconfigure(self, **ways: Unpack[UpstreamOptions]) -> None:
        """Change how it is dealt with from here on; what is known of it stays, and who waits for it."""
        self._idle_seconds = ways["idle"]
        self._buffer = ways["buffer"]
        self._tls = ways.get("context")
        self._path = ways.get("path")
        limits, probes = ways.get("limits", _NO_LIMITS), ways.get("probes", _NO_PROBES)
        self._probe_timeout = probes.timeout
        self._watch.reconfigure(probes.interval)
        self.health.reconfigure(fails=probes.fails, passes=probes.passes)
        self.room.reconfigure(in_flight=limits.in_flight, places=limits.waiting)

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
        if not self._in_use:
            self._dead_peers.stop()

    async def closed(self) -> None:
        """Wait until nothing of it runs any more, behind ``close``."""
        await self._watch.stopped()

    # -- for exchanges

    async def acquire(self, timeouts: Timeouts, *, is_new: bool = False) -> UpstreamConnection:
        """Take a connection for one exchange: an idle one, or a new one; waits while the upstream has all it may have.

        timeouts: those that the exchange began with; of them ``queue`` and ``connect``.
        is_new: make one in any case. Raises UpstreamUnreachable,
        ConnectTimeout, UpstreamFull, Exhausted, Stopping, and UpstreamError
        when TLS cannot be spoken to it; cancelling gives everything back.
        While the upstream is away nobody but the watch tries to connect:
        whoever comes hears what its next look finds.
        """
        while True:
            if not self._is_worth_trying(is_new):
                await self._hear()
            await self.room.claim(timeouts.queue)
            if self._is_worth_trying(is_new):
                break
            self.room.leave()
        try:
            connection = (None if is_new else self.reuse()) or await self.connect(timeouts.connect)
        except BaseException:
            self.room.leave()
            raise
        self._count(connection)
        return connection

    def acquire_at_once(self) -> UpstreamConnection | None:
        """Take an idle connection; None where there is none, or others wait for their turn."""
        if not self._idle or not self.room.claim_at_once():
            return None
        connection = self.reuse()
        if connection is None:
            self.room.leave()
            return None
        self._count(connection)
        return connection

    async def returned(self, seconds: float) -> None:
        """Wait until the upstream is back and it is our turn to try. Raises TimeoutError, UpstreamFull, Stopping."""
        self._watch.want()
        await self.room.hold(seconds)

    def release(self, connection: UpstreamConnection) -> None:
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

    @contextmanager
    def lent(self, connection: UpstreamConnection) -> Iterator[None]:
        """Take a connection back at the end of a ``with`` block, however it ends, before anything else can wait."""
        try:
            yield
        finally:
            self.release(connection)

    def discard(self, connection: UpstreamConnection) -> None:
        """Take a connection back and close it. Safe to call twice."""
        self._uncount(connection)
        connection.abort()

    def detach(self, connection: UpstreamConnection) -> tuple[asyncio.Transport, bytes]:
        """Let a connection go for good behind its 101: its transport, paused, and what came with the 101."""
        self._uncount(connection)
        return connection.detach()

    # -- its connections

    async def connect(self, seconds: float) -> UpstreamConnection:
        """Open a new connection, which is nobody's yet.

        seconds: to connect, TLS included. Raises UpstreamUnreachable, ConnectTimeout, Exhausted when this
        process can open no more, and UpstreamError when TLS cannot be spoken
        to it; cancelling abandons the attempt.
        """
        try:
            made = await self._dial(seconds)
        except _NotReached as missed:
            if missed.is_away:
                self.health.missed(missed.why)
                self.room.shut()
            raise self._error_of(missed) from missed.__cause__
        if made.has_ended():  # a program that is stopping; what is sent to it now nobody reads, and nobody can tell
            made.abort()
            # Not its return: all who wait would connect in vain, again and again without a pause.
            self.room.shut()
            raise self._unreachable(_CLOSED_AT_ONCE)
        self.health.reached()
        self.room.open()
        return made

    def reuse(self) -> UpstreamConnection | None:
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

    def _count(self, connection: UpstreamConnection) -> None:
        connection.is_counted = True
        self._in_use.add(connection)
        self._dead_peers.wake()

    def _uncount(self, connection: UpstreamConnection) -> None:
        if connection.is_counted:
            connection.is_counted = False
            self._in_use.discard(connection)
            if not (self._idle_seconds or self._in_use):  # closed, and this was the last of it
                self._dead_peers.stop()
            self.room.leave()

    async def _dial(self, seconds: float) -> UpstreamConnection:
        """Connect to one address after the other; raises _NotReached. Each gets its share of the time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        def connection() -> UpstreamConnection:
            return UpstreamConnection(self.name, self._buffer)

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
            what = "take a connection" if self._tls is None else "take a connection and finish a TLS handshake"
            if self._host_name.is_being_looked_up:
                what = "look up its host name"
            raise _NotReached(f"did not {what} within {seconds:g} s", is_late=True) from None
        except ssl.SSLError as error:
            raise _NotReached(tls.why(error), tls_doubt=tls.doubt(error)) from error
        except ConnectionResetError as error:
            why = _CLOSED_AT_ONCE if self._tls is None else _NO_HANDSHAKE
            raise _NotReached(why) from error
        except OSError as error:
            raise _NotReached(_reason(error), is_ours=error.errno in _OURS) from error

    async def _look(self) -> None:
        """Probe it once, and tell everybody who waits for that."""
        try:
            await self._probe()
        except _NotReached as missed:
            if missed.tls_doubt:
                self.health.answered_badly(f"{missed.why}; {missed.tls_doubt}")
                self.room.open()
            elif missed.is_away:
                # Whoever waits has met it away already; this is no first doubt.
                (self.health.missed if self.room.awaits_return else self.health.failed)(missed.why)
        except UpstreamError as error:
            self.health.answered_badly(error.detail or error.message)
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
        if missed.tls_doubt:
            is_certificate = isinstance(missed.__cause__, ssl.SSLCertVerificationError)
            known = "; gateway.upstream_ca names the authorities that are believed" if is_certificate else ""
            # What exactly is wrong with its certificate is nothing for a stranger.
            return UpstreamError(
                f"The upstream {self.name} cannot be spoken to {'safely' if is_certificate else 'over TLS'}.",
                advice=self.advice(missed.tls_doubt),
                detail=f"the upstream {self.name} at {self.url}: {missed.why}; {missed.tls_doubt}{known}",
            )
        return self._unreachable(missed.why, is_late=missed.is_late)

    def _unreachable(self, why: str, *, is_late: bool = False) -> UpstreamUnreachable | ConnectTimeout:
        what = why if is_late else f"cannot be reached: {why}"
        question = _QUESTIONS.get(why, "is it running?")
        if is_late:
            question = "is it overloaded?" if self._tls is None else "is it overloaded, or does it speak no TLS?"
        return (ConnectTimeout if is_late else UpstreamUnreachable)(
            f"The upstream {self.name} {what}.",
            advice=self.advice(question),
            detail=f"the upstream {self.name} at {self.url} {what}",
            is_transient=why not in _STAYS,
        )

    def _keep(self, connection: UpstreamConnection) -> None:
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
        while self._idle and (self._idle[0].idle_since <= oldest or self._idle[0].is_closing):
            self._idle.popleft().abort()
        if self._idle:
            self._sweep_later()


class _NotReached(Exception):
    """No connection: why; whether it took too long; whether that is our own fault; where TLS failed, what to look at.

    What fails in TLS is not over with time: somebody has to change a certificate, or an address.
    """

    def __init__(self, why: str, *, is_late: bool = False, is_ours: bool = False, tls_doubt: str = "") -> None:
        super().__init__(why)
        self.why, self.is_late, self.is_ours, self.tls_doubt = why, is_late, is_ours, tls_doubt

    @property
    def is_away(self) -> bool:
        """Whether the upstream takes no connection."""
        return not (self.is_ours or self.tls_doubt)


def make_upstreams(
    settings: Settings, before: Mapping[str, Upstream], contexts: tls.Contexts
) -> tuple[dict[str, Upstream], dict[str, UpstreamOptions]]:
    """Return the configured upstreams by name, and how each is to be dealt with; nothing that exists is changed.

    before: those of the reading of the config before; one that still has its address goes on, and is to be adapted
    to its new ways when these are put in place. contexts: of this reading. Raises TlsError when the authorities cannot
    be read.
    """
    is_secure = {name: url.startswith("https:") for name, url in settings.upstreams}
    context = contexts.upstream(settings.upstream_ca) if any(is_secure.values()) else None
    upstreams: dict[str, Upstream] = {}
    ways: dict[str, UpstreamOptions] = {}
    for name, url in settings.upstreams:
        ways[name] = {
            "idle": settings.timeouts.upstream_idle,
            "buffer": settings.buffer,
            "context": context if is_secure[name] else None,
            "limits": settings.limits,
            "probes": settings.health,
            "path": getattr(settings.health, name),
        }
        known = before.get(name)
        upstreams[name] = Upstream(name, url, **ways[name]) if known is None or known.url != url else known
    return upstreams, ways


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, socket.gaierror):
        return _NO_ANSWER if error.errno == socket.EAI_AGAIN else _NO_NAME
    if isinstance(error, FileNotFoundError):
        return "its socket file does not exist"
    if isinstance(error, PermissionError):
        return _NOT_ALLOWED
    if error.errno == errno.EPROTOTYPE:
        return _OTHER_SOCKET
    return (error.strerror or type(error).__name__).lower()
