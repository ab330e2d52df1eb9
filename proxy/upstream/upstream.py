"""One upstream: its connections, its request queue, and its health."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from proxy.config import Settings, Timeouts
from proxy.errors import UpstreamError
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.dialer import Dialer, DialError, Kind
from proxy.upstream.health import Health
from proxy.upstream.health_check import HealthCheck, probe
from proxy.upstream.pool import Pool
from proxy.upstream.request_queue import RequestQueue
from ws_service.net.dead_peers import DeadPeers


class Upstream:
    """One of the services behind the gateway.

    name: ``dash`` or ``ws``, as the configuration calls it.
    url: ``http://host:port``, ``https://host:port`` or ``unix:path``.
    settings, context: as for ``reconfigure``.

    An exchange takes a connection with ``acquire`` (or ``try_acquire``) and
    gives it back with ``release``, ``discard`` or ``detach``: in between it
    is in flight. So a long response (an event stream) is in flight to its
    end, and a tunnel only to its 101.
    """

    def __init__(self, name: str, url: str, settings: Settings, context: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.url = url
        self.authority = b"localhost" if url.startswith("unix:") else url.partition("://")[2].encode()
        self._dialer = Dialer(name, url)
        self._pool = Pool(settings.timeouts.upstream_idle)
        self._in_use: set[UpstreamConnection] = set()
        self._dead_peers = DeadPeers(lambda: self._in_use)
        self._is_closed = False
        self.queue = RequestQueue(name, in_flight=None, waiting=0)
        self.health = Health(name, fails=1, passes=1)
        self._health_check = HealthCheck(name, self._check, lambda: self.queue.awaits_return, 0)
        self._unreachable = DialError("")  # why it was so, when it was last tried
        self.reconfigure(settings, context)

    # -- its life

    def reconfigure(self, settings: Settings, context: ssl.SSLContext | None) -> None:
        """Serve by other settings from here on; its connections, its health and what waits for it stay.

        context: for TLS, where it is an ``https`` one.
        """
        limits, probes = settings.limits, settings.health
        self._probe_path, self._probe_timeout = getattr(probes, self.name), probes.timeout
        self._pool.reconfigure(settings.timeouts.upstream_idle)
        self._dialer.reconfigure(settings.buffer, context)
        self._health_check.reconfigure(probes.interval)
        self.health.reconfigure(fails=probes.fails, passes=probes.passes)
        self.queue.reconfigure(in_flight=limits.in_flight, waiting=limits.waiting)

    def start(self) -> None:
        """Begin with the health checks, if the options ask for them."""
        self._health_check.start()

    def close(self, why: str = "This gateway is stopping.") -> None:
        """Close every idle connection, keep none any more, check no more, and end what waits for it.

        why: a sentence, for the client.
        """
        self._is_closed = True
        self._health_check.stop()
        self.queue.close(why)
        self._pool.close()
        if not self._in_use:
            self._dead_peers.stop()

    async def closed(self) -> None:
        """Wait until nothing of it runs any more, after ``close``."""
        await self._health_check.stopped()

    # -- for exchanges

    async def acquire(self, timeouts: Timeouts, *, is_new: bool = False) -> UpstreamConnection:
        """Take a connection for one exchange: an idle one, or a new one; waits while the upstream has all it may have.

        timeouts: those that the exchange began with; of them ``queue`` and ``connect``.
        is_new: make one in any case. Raises UpstreamUnreachable,
        ConnectTimeout, UpstreamFull, Exhausted, Stopping, and UpstreamError
        when TLS cannot be spoken to it; cancelling gives everything back.
        While the upstream is unreachable only the health check connects: a
        request waits for what the next one finds.
        """
        while True:
            if not self._is_worth_trying(is_new):
                await self._wait_for_check()
            await self.queue.acquire(timeouts.queue)
            if self._is_worth_trying(is_new):
                break
            self.queue.release()
        try:
            connection = (None if is_new else self._pool.take()) or await self.connect(timeouts.connect)
        except BaseException:
            self.queue.release()
            raise
        self._count(connection)
        return connection

    def try_acquire(self) -> UpstreamConnection | None:
        """Take an idle connection; None where there is none, or requests wait for a slot."""
        if not self._pool or not self.queue.try_acquire():
            return None
        connection = self._pool.take()
        if connection is None:
            self.queue.release()
            return None
        self._count(connection)
        return connection

    async def wait_for_return(self, timeout: float) -> None:
        """Wait until the upstream is reachable, and it is this request's turn to try.

        timeout: seconds. Raises TimeoutError, UpstreamFull, Stopping.
        """
        self._health_check.request()
        await self.queue.wait_for_return(timeout)

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back when its exchange is over; closes it unless another may follow."""
        self._uncount(connection)
        self._pool.keep(connection)

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
        """Let a connection go for good after its 101: its transport, paused, and what came with the 101."""
        self._uncount(connection)
        return connection.detach()

    async def connect(self, timeout: float) -> UpstreamConnection:
        """Open a new connection, which is not in flight yet.

        timeout: seconds to connect, TLS included. Raises UpstreamUnreachable, ConnectTimeout, Exhausted when this
        process can open no more, and UpstreamError when TLS cannot be spoken to it; cancelling abandons the attempt.
        """
        try:
            made = await self._dialer.dial(timeout)
        except DialError as failure:
            if failure.is_unreachable:
                self._unreachable = failure
                self.health.missed(failure.why)
                self.queue.suspend()
            raise self._dialer.error_of(failure) from failure.__cause__
        self.health.reached()
        self.queue.resume()
        return made

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return len(self._pool)

    def advice(self, question: str) -> str:
        """Return what the operator may look at."""
        return self._dialer.advice(question)

    # -- inside

    def _is_worth_trying(self, is_new: bool) -> bool:
        return not self.health.is_unreachable or (not is_new and bool(self._pool))

    async def _wait_for_check(self) -> None:
        """Wait for the next health check. Raises UpstreamUnreachable when the upstream is still unreachable."""
        if not self._health_check.has_just_checked:
            self._health_check.request()
            await self.queue.wait_for_check()
        if self.health.is_unreachable:
            failure = self._unreachable
            raise self._dialer.error_of(
                DialError(failure.why, question=failure.question, is_transient=failure.is_transient)
            )

    def _count(self, connection: UpstreamConnection) -> None:
        self._in_use.add(connection)
        self._dead_peers.start()

    def _uncount(self, connection: UpstreamConnection) -> None:
        if connection in self._in_use:
            self._in_use.discard(connection)
            if self._is_closed and not self._in_use:
                self._dead_peers.stop()
            self.queue.release()

    async def _check(self) -> None:
        """Probe it once, and tell all requests that wait for that, whatever happens."""
        try:
            await self._probe()
        finally:
            if self.health.is_unreachable:
                self.queue.suspend()
            self.queue.checked()

    async def _probe(self) -> None:
        try:
            await probe(self._dialer, self.authority, self._probe_path, self._probe_timeout)
        except DialError as failure:
            if failure.kind is Kind.TLS:
                self.health.answered_badly(f"{failure.why}; {failure.question}")
                self.queue.resume()
            elif failure.is_unreachable:
                self._unreachable = failure
                # What waits has met it unreachable already; this is no first doubt.
                (self.health.missed if self.queue.awaits_return else self.health.failed)(failure.why)
        except UpstreamError as error:
            self.health.answered_badly(error.detail or error.message)
            self.queue.resume()
        else:
            self.health.passed()
            if not self.health.is_unreachable:
                self.queue.resume()


def make_upstreams(
    settings: Settings, before: Mapping[str, Upstream], context: ssl.SSLContext | None
) -> dict[str, Upstream]:
    """Return the configured upstreams by name; nothing that exists is changed.

    before: those of the reading of the config before; one that still has its address goes on, and is to be
    reconfigured when this reading is put in force. context: for TLS, where one of them is an ``https`` one.
    """
    return {
        name: known
        if (known := before.get(name)) is not None and known.url == url
        else Upstream(name, url, settings, context)
        for name, url in settings.upstreams
    }
