"""Building the parts of the gateway, and the order of start, stop and reload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from proxy.config import NAME, Settings
from proxy.errors import ListenError
from proxy.exchange.lifecycle import Lifecycle, State
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.recorder import Observer
from proxy.gateway.runtime import Runtime, make_runtime
from proxy.http1.connection_manager import ConnectionManager
from proxy.listener.acceptor import Acceptor, AcceptorOptions
from proxy.listener.passed_sockets import PassedSockets
from proxy.metrics.collector import make_registry
from proxy.metrics.exchange_counts import ExchangeCounts
from proxy.metrics.last_reload import LastReload
from proxy.metrics.parts import Parts
from proxy.net.client_limits import ClientLimits
from proxy.net.connection_limiter import ConnectionLimiter, admin_places
from proxy.net.tls_files import TlsFiles, renewals
from proxy.server.admin import Admin
from proxy.server.admin_listener import AdminListener
from proxy.server.config_diff import merge
from proxy.server.dash_watch import DashWatch
from proxy.server.drain import Drain
from proxy.server.health_routes import HealthRoutes
from proxy.server.listeners import Listeners, open_listeners
from proxy.server.metrics_route import MetricsRoute
from proxy.server.status_route import StatusRoute
from proxy.status.document import StatusDocument
from proxy.status.sampler import Sampler
from proxy.status.service import FindKey, ServiceReader, find_no_key
from ws_service.config.addresses import OFF
from ws_service.config.changes import differences, log_changes
from ws_service.net.loop_lag import LoopLag

logger = logging.getLogger("proxy")


class Server:
    """The gateway as a process: two listeners, the exchanges in flight, and the end of both.

    folder: of the config file; the working directory where there is none. files: that this process may open.
    tls_files: those that the check of the settings has read. None: they are read now.
    find_key: returns the key to the service's API, for the status.

    Raises TlsError when a file cannot be used that TLS needs.

    ``limiter``: decides which connections are accepted. ``last_reload``: what metrics tell of the last reload.
    """

    def __init__(
        self,
        settings: Settings,
        observe: Observer,
        folder: Path = Path(),
        files: int = 1024,
        tls_files: TlsFiles | None = None,
        find_key: FindKey = find_no_key,
    ) -> None:
        runtime = make_runtime(settings, None, tls_files)
        self._lifecycle: Lifecycle[Exchange] = Lifecycle()
        limits, counts = ClientLimits(), ExchangeCounts()
        # Without an admin listener the counts could not be read.
        observers = [observe] if settings.admin == OFF else [counts.observe, observe]
        self._gateway = Gateway(runtime, self._lifecycle, _each(observers), folder, limits)
        self._dash = DashWatch(self._gateway)
        observers.append(self._dash.exchange_ended)
        self.limiter = ConnectionLimiter(limits, settings, files)
        self._manager = ConnectionManager(self._gateway, settings)
        self._drain = Drain(self._gateway, self._manager, self._lifecycle)
        self._lifecycle.on_empty = self._manager.on_empty = self._drain.changed
        self._listeners: Listeners | None = None
        self.addresses: list[str] = []
        """The public URLs, or the path of the unix socket, from the start on."""
        self._acceptor: Acceptor | None = None
        health = HealthRoutes(self._gateway, self._lifecycle, limits, lambda: self.addresses)
        self.last_reload = LastReload()
        self._lag = LoopLag()
        parts = Parts(counts, self._lag, self.last_reload, self._gateway, self._lifecycle, limits, self.limiter)
        self._sampler = Sampler(parts)
        service = ServiceReader(find_key)
        document = StatusDocument(parts, self._sampler, service, self._listening, self._drain.progress)
        self._admin = Admin(
            {
                "/healthz": health.healthz,
                "/readyz": health.readyz,
                "/metrics": MetricsRoute(make_registry(parts)).metrics,
                "/status": StatusRoute(document).status,
            },
            lambda: self._gateway.runtime.settings.admin_hosts,
        )
        self._admin_places = admin_places(files)
        self._admin_listener: AdminListener | None = None

    async def start(self, passed: PassedSockets | None = None) -> None:
        """Listen. passed: the sockets that systemd has passed; None: there are none.

        Raises ListenError, with nothing left open, when an address cannot be had.
        """
        settings = self._gateway.runtime.settings
        # Before the first client: an earlier WebSocket would go through a tunnel, and end with this process.
        await self._gateway.handoff.start()
        try:
            listeners = self._listeners = await open_listeners(settings, passed or PassedSockets())
        except ListenError:
            self._gateway.handoff.close()
            raise
        self.addresses = listeners.public_urls(is_tls=self._gateway.runtime.tls is not None)
        for upstream in self._gateway.runtime.upstreams.values():
            upstream.start()
        self._dash.start()
        self._acceptor = Acceptor(
            listeners.public.sockets,
            self._manager,
            self.limiter,
            **_acceptor_options(self._gateway.runtime),
        )
        if listeners.admin is not None:
            self._admin_listener = AdminListener(listeners.admin.sockets, self._admin.answer, places=self._admin_places)
            self._lag.start()
            self._sampler.start()
        self._lifecycle.happen("listening")

    async def stop(self) -> None:
        """End everything, in this order.

        1. for ``timeouts.drain_notice`` seconds ``/readyz`` answers 503, so that load balancers send new clients
           elsewhere, and all requests are served as before;
        2. the listener closes; each response from now on is the last on its connection, idle connections close after
           a grace period, and tunnels close with 1012, spread over ``timeouts.drain_window``; requests that wait for an
           upstream get 503, because the next gateway may wait longer than this one;
        3. ``timeouts.drain`` seconds after that, what is left is cut; sockets that were handed over belong to the
           service, and stay open.

        Cancelling it skips to the third step, which is never left out: it takes a second or two.
        """
        public, listeners = self._acceptor, self._listeners
        assert public is not None
        assert listeners is not None
        timeouts = self._gateway.runtime.settings.timeouts
        event = "second signal"
        try:
            if timeouts.drain_notice:
                self._lifecycle.happen("notice")
                logger.info("not ready any more; %g s until the listener closes", timeouts.drain_notice)
                await asyncio.sleep(timeouts.drain_notice)
            if not listeners.public.is_passed:  # systemd's waits for the next process, which may serve for longer
                public.accepting.accept_backlog()
            public.accepting.close()
            listeners.public.close()
            self._lifecycle.happen("stop")
            for upstream in self._gateway.runtime.upstreams.values():
                upstream.queue.close()
            event = await self._drain.run(timeouts, public.wait_closed())
        finally:
            ending = asyncio.get_running_loop().create_task(self._end(event), name="end of the gateway")
            await _to_its_end(ending)

    async def _end(self, event: str) -> None:
        """Cut what is left, and give everything back that a process has."""
        public, admin, listeners = self._acceptor, self._admin_listener, self._listeners
        assert public is not None
        assert listeners is not None
        public.close()
        self._lifecycle.happen(event)
        await self._drain.cut()
        if self._gateway.handoff.live:
            logger.info("sockets that were handed over live on: %d", self._gateway.handoff.live)
        self._gateway.handoff.close()
        self._dash.close()
        await self._dash.closed()
        for upstream in self._gateway.runtime.upstreams.values():
            upstream.close()
            await upstream.closed()
        if admin is not None:
            admin.close()
        self._lag.stop()
        self._sampler.stop()
        listeners.close()
        if admin is not None:
            await admin.wait_closed()
        await public.wait_closed()

    @property
    def state(self) -> State:
        """The state of the process."""
        return self._lifecycle.state

    def reload(self, read: Settings, tls_files: TlsFiles | None = None) -> Settings:
        """Serve by other settings from now on, and log the changes; returns the settings in force.

        All of it or nothing (issue 9): whatever can fail, files that are read
        above all, is made once and before anything is swapped; the swap
        assigns what was made. Exchanges under way keep the configuration that
        they began with, connections and tunnels are not touched.
        tls_files: those that the check of ``read`` has read, so that what was checked is what is used. None: they
        are read now.
        Raises CannotApply and TlsError, with nothing changed.
        """
        before = self._gateway.runtime
        settings, staying = merge(before.settings, read)
        runtime = make_runtime(settings, before, tls_files)
        changes = differences(before.settings, settings) + renewals(before.certificates, runtime.certificates)
        # From here on nothing reads, parses or refuses.
        self._reconfigure(runtime)
        log_changes(logger, NAME, changes, staying)
        return settings

    def _reconfigure(self, runtime: Runtime) -> None:
        """Put a configuration in force: every part takes its own, and none can fail."""
        settings = runtime.settings
        runtime.reconfigure_upstreams()
        self._gateway.reconfigure(runtime)
        self._dash.reconfigure(runtime)
        self._manager.reconfigure(settings)
        self.limiter.reconfigure(settings)
        if self._acceptor is not None:
            self._acceptor.reconfigure(**_acceptor_options(runtime))

    @property
    def admin_addresses(self) -> list[str]:
        """Where the admin listener is asked; nothing where there is none."""
        return [] if self._listeners is None else self._listeners.admin_urls()

    def _listening(self) -> list[str]:
        """Return where it listens now: nowhere any more once the drain has begun."""
        return [] if self._lifecycle.is_ending else self.addresses


def _each(observers: Sequence[Observer]) -> Observer:
    def observe(exchange: Exchange) -> None:
        for observer in observers:
            observer(exchange)

    return observe


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Wait for a task that no cancellation of its owner may cut short; the cancellation goes on after it."""
    was_cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            was_cancelled = True
    task.result()
    if was_cancelled:
        raise asyncio.CancelledError


def _acceptor_options(runtime: Runtime) -> AcceptorOptions:
    """Return what holds for connections that are accepted."""
    settings = runtime.settings
    return AcceptorOptions(
        timeout=settings.timeouts.head,
        proxies=settings.trusted_proxies if settings.proxy_protocol else None,
        tls=runtime.tls,
    )
