"""One address of an upstream: its connections, its slots, and its health."""

from __future__ import annotations

import asyncio
import ssl
from typing import Protocol

from proxy.config import Settings, UpstreamAddress
from proxy.errors import ProxyError, UpstreamError
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.dialer import Dialer, DialError, Kind
from proxy.upstream.health import Health, State
from proxy.upstream.health_check import HealthCheck, probe
from proxy.upstream.pool import Pool
from proxy.upstream.request_queue import RequestQueue
from ws_service.net.dead_peers import DeadPeers


class AddressOwner(Protocol):
    """The upstream, as far as one of its addresses knows it."""

    name: str
    queue: RequestQueue
    """What waits for any of its addresses."""

    def address_changed(self) -> None:
        """Note that an address has another state, or is in doubt, or is so no more."""

    def address_reached(self) -> None:
        """Note that an address takes connections."""

    def address_missed(self) -> None:
        """Note that an address takes no connection."""

    def address_checked(self, address: Address) -> None:
        """Note that a check of an address has ended, whatever it has found."""


class Address:
    """One of the places where an upstream listens.

    owner: its upstream. where: its URL, and the hand-off's socket file of the service there.

    ``sockets`` counts the tunnels to it that are open. ``which`` is for the access log: its URL where its upstream has
    several addresses, empty elsewhere.
    """

    def __init__(self, owner: AddressOwner, where: UpstreamAddress) -> None:
        self.url, self.handoff = where.url, where.handoff
        self.authority = b"localhost" if where.url.startswith("unix:") else where.url.partition("://")[2].encode()
        self.slots = owner.queue.add_slots()
        self.health = Health(owner.name, fails=1, passes=1)
        self.health.on_change_of_address = self._state_changed
        self.sockets = 0
        self.which = ""
        self._owner = owner
        self._dialer = Dialer(owner.name, where.url)
        self._pool = Pool(0)
        self._in_use: set[UpstreamConnection] = set()
        self._dead_peers = DeadPeers(lambda: self._in_use)
        self._is_closed = self._is_doubtful = self._has_others = False
        name = f"{owner.name} at {where.url}"
        self._health_check = HealthCheck(name, self._check, lambda: self._is_awaited, 0, lambda: self._is_left_out)
        self._probe_path: str | None = None
        self._probe_timeout = 0.0
        self._unreachable = DialError("")  # why it was so, when it was last tried

    # -- its life

    def reconfigure(self, settings: Settings, context: ssl.SSLContext | None, *, has_others: bool) -> None:
        """Serve by other settings from here on; its connections and its health stay.

        context: for TLS, where it is an ``https`` one. has_others: its upstream has more addresses.
        """
        name, probes = self._owner.name, settings.health
        self._probe_path, self._probe_timeout = probes.path_for(name), probes.timeout
        self._pool.reconfigure(settings.timeouts.upstream_idle)
        self._dialer.reconfigure(settings.buffer, context)
        self._health_check.reconfigure(probes.interval)
        self.health.reconfigure(fails=probes.fails, passes=probes.passes)
        self.health.name = f"{name} at {self.url}" if has_others else name
        self._has_others = has_others
        self.which = self.url if has_others else ""
        self.slots.reconfigure(settings.limits.in_flight)

    def start(self) -> None:
        """Begin with the health checks, if the options ask for them."""
        self._health_check.start()

    def close(self) -> None:
        """Close every idle connection, keep none any more, and check no more."""
        self._is_closed = True
        self._health_check.stop()
        self._pool.close()
        if not self._in_use:
            self._dead_peers.stop()

    async def closed(self) -> None:
        """Wait until nothing of it runs any more, after ``close``."""
        await self._health_check.stopped()

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left, after ``close``."""
        return self._health_check.has_ended and not self._in_use and not self.slots.taken

    # -- for its upstream

    async def take(self, timeout: float, *, is_new: bool) -> UpstreamConnection:
        """Take a connection on a slot that the caller has acquired: an idle one, or a new one.

        timeout: seconds to connect. is_new: make one in any case. Raises what ``connect`` raises; then, and when this
        is cancelled, the slot is given back.
        """
        try:
            connection = (None if is_new else self._pool.take()) or await self.connect(timeout)
        except BaseException:
            self.slots.release()
            raise
        self._count(connection)
        return connection

    def try_acquire(self) -> UpstreamConnection | None:
        """Take an idle connection; None where there is none, or requests wait for a slot."""
        if not self._pool or not self.slots.try_acquire():
            return None
        connection = self._pool.take()
        if connection is None:
            self.slots.release()
            return None
        self._count(connection)
        return connection

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
                self._owner.address_missed()
            raise self._dialer.error_of(failure) from failure.__cause__
        made.owner = self
        self.health.reached()
        self._owner.address_reached()
        return made

    def is_worth_trying(self, is_new: bool) -> bool:
        """Tell whether a request may be served here. is_new: an idle connection will not do."""
        return not self.health.is_unreachable or (not is_new and bool(self._pool))

    @property
    def is_good(self) -> bool:
        """Whether nothing is known that speaks against it."""
        return self.health.state in (State.UP, State.UNKNOWN) and not self._is_doubtful

    @property
    def idle(self) -> int:
        """How many connections are idle."""
        return len(self._pool)

    def request_check(self) -> None:
        """Check soon. The caller must be waiting before the loop goes on."""
        self._health_check.request()

    @property
    def has_just_checked(self) -> bool:
        """Whether the last check is so young that another one would find the same."""
        return self._health_check.has_just_checked

    def advice(self, question: str) -> str:
        """Return what the operator may look at."""
        return self._dialer.advice(question)

    def unreachable_error(self) -> ProxyError:
        """Return what a request ends with that this address has taken no connection for."""
        failure = self._unreachable
        return self._dialer.error_of(
            DialError(failure.why, question=failure.question, is_transient=failure.is_transient)
        )

    # -- for the exchanges that have one of its connections

    def release(self, connection: UpstreamConnection) -> None:
        """Take a connection back when its exchange is over; closes it unless another may follow."""
        self._uncount(connection)
        self._pool.keep(connection)

    def discard(self, connection: UpstreamConnection) -> None:
        """Take a connection back and close it. Safe to call twice."""
        self._uncount(connection)
        connection.abort()

    def detach(self, connection: UpstreamConnection) -> tuple[asyncio.Transport, bytes]:
        """Let a connection go for good after its 101: its transport, paused, and what came with the 101."""
        self._uncount(connection)
        return connection.detach()

    def doubt(self) -> None:
        """Prefer its upstream's other addresses until a check has ended: a request that it took got no answer."""
        if self._has_others and not self._is_closed:
            self._is_doubtful = True
            self._owner.address_changed()
            self._health_check.request()

    # -- inside

    def _state_changed(self) -> None:
        self._owner.address_changed()
        if self._is_left_out:
            self._health_check.request()  # sooner than the interval from now on

    @property
    def _is_awaited(self) -> bool:
        return self._is_doubtful or self._owner.queue.awaits_return

    @property
    def _is_left_out(self) -> bool:
        return self._has_others and self.health.is_unreachable

    def _count(self, connection: UpstreamConnection) -> None:
        self._in_use.add(connection)
        self._dead_peers.start()

    def _uncount(self, connection: UpstreamConnection) -> None:
        if connection in self._in_use:
            self._in_use.discard(connection)
            if self._is_closed and not self._in_use:
                self._dead_peers.stop()
            self.slots.release()

    async def _check(self) -> None:
        """Probe it once, and tell all requests that wait for that, whatever happens."""
        try:
            await self._probe()
        finally:
            if self._is_doubtful:
                self._is_doubtful = False
                self._owner.address_changed()
            if self.health.is_unreachable:
                self._owner.address_missed()
            self._owner.address_checked(self)

    async def _probe(self) -> None:
        try:
            await probe(self._dialer, self.authority, self._probe_path, self._probe_timeout)
        except DialError as failure:
            if failure.kind is Kind.TLS:
                self.health.answered_badly(f"{failure.why}; {failure.question}")
                self._owner.address_reached()
            elif failure.is_unreachable:
                self._unreachable = failure
                # What waits has met it unreachable already; this is no first doubt.
                (self.health.missed if self._is_awaited else self.health.failed)(failure.why)
        except UpstreamError as error:
            self.health.answered_badly(error.detail or error.message)
            self._owner.address_reached()
        else:
            self.health.passed()
            if not self.health.is_unreachable:
                self._owner.address_reached()
