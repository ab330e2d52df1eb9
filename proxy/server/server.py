"""Starting and stopping: what is built, in which order it begins, and in which order it ends."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from proxy.config import NAME, ConfigError, Settings
from proxy.errors import ListenError, TlsError
from proxy.exchange.access_log import AccessLog
from proxy.exchange.lifecycle import Lifecycle, State
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.recorder import Observer
from proxy.gateway.runtime import Runtime, make_runtime
from proxy.http1.client_connection import HAS_C_PARSER, Listener
from proxy.listener.acceptor import Acceptor
from proxy.listener.bind import Bound, bind
from proxy.net.client_limits import ClientLimits, ConnectionLimiter, admin_places
from proxy.net.peer import Trusted
from proxy.net.tls import Certificate, Contexts, renewals
from proxy.server import systemd as notify
from proxy.server.admin import Admin
from proxy.server.admin_listener import AdminListener
from proxy.server.config_diff import CannotApply, merge
from proxy.server.drain import Drain
from proxy.server.log_writer import LogWriter
from ws_service.config.changes import differences, log_changes, log_no_file, log_refusal

logger = logging.getLogger("proxy")

_STDOUT = 1

_LAST_LINES = 1.0
"""Seconds for the last lines of the access log to be written."""


class Server:
    """The gateway as a process: two listeners, the exchanges in flight, and the end of both.

    folder: of the config file; the working directory where there is none. files: that this process may open.
    contexts: what the check of the settings has made of files. None: they are read now.

    Raises TlsError when a file cannot be used that TLS needs.

    ``certificate``: of the public listener, for whoever reads it again; None without TLS.
    ``entrance``: who may come in.
    """

    def __init__(
        self,
        settings: Settings,
        observe: Observer,
        folder: Path = Path(),
        files: int = 1024,
        contexts: Contexts | None = None,
    ) -> None:
        runtime = make_runtime(settings, None, contexts)
        self._lifecycle: Lifecycle[Exchange] = Lifecycle()
        admission = ClientLimits()
        self._gateway = Gateway(runtime, self._lifecycle, observe, folder, admission)
        self.entrance = ConnectionLimiter(admission, lambda: self._gateway.runtime.settings, files)
        self._listener = Listener(self._gateway, **runtime.listener_options)
        self._drain = Drain(self._gateway, self._listener, self._lifecycle)
        self._lifecycle.on_empty = self._listener.on_empty = self._drain.changed
        self.certificate = None if runtime.tls is None else Certificate(runtime.tls)
        self._bound: list[Bound] = []
        self._door: Acceptor | None = None
        self._admin = Admin(
            self._lifecycle,
            lambda: self._gateway.runtime.upstreams,
            admission,
            lambda: self._gateway.runtime.settings.admin_hosts,
            lambda: self._gateway.uploads.total,
        )
        self._admin_places = admin_places(files)
        self._admin_listener: AdminListener | None = None

    async def start(self) -> None:
        """Listen. Raises ListenError, with nothing left open, when an address cannot be had."""
        settings = self._gateway.runtime.settings
        # Before the first client: one that came earlier would go through the tunnel, and end with this process.
        await self._gateway.handoff.start()
        try:
            self._bound.append(await bind(settings.listen, "gateway.listen"))
            self._bound.append(await bind(settings.admin, "gateway.admin"))
        except ListenError:
            self._release()
            self._gateway.handoff.close()
            raise
        for upstream in self._gateway.runtime.upstreams.values():
            upstream.start()
        public_sockets, admin_sockets = (bound.sockets for bound in self._bound)
        self._door = Acceptor(
            public_sockets,
            self._listener,
            timeout=settings.timeouts.head,
            entrance=self.entrance,
            certificate=self.certificate,
            announcers=self._announcers if settings.proxy_protocol else None,
        )
        self._admin_listener = AdminListener(
            admin_sockets,
            lambda head, is_unix: self._admin.answer(head, is_unix=is_unix),
            places=self._admin_places,
        )
        self._lifecycle.happen("listening")

    async def stop(self) -> None:
        """End everything, in this order.

        1. for ``timeouts.drain_notice`` seconds ``/readyz`` says 503, so that balancers look elsewhere, and everything
           is served as before;
        2. the listener closes; each answer from here on is the last on its connection, idle connections close behind
           a grace, and tunnels say 1012, spread over ``timeouts.drain_window``; requests that wait for an upstream to
           come back are told 503, because the next gateway may wait longer than this one;
        3. ``timeouts.drain`` seconds behind that, whatever is left is cut; sockets that were handed over are the
           service's, and live on.

        Cancelling it skips to the third step, which is never left out: it takes a second or two.
        """
        public = self._door
        assert public is not None
        timeouts = self._gateway.runtime.settings.timeouts
        event = "second signal"
        try:
            if timeouts.drain_notice:
                self._lifecycle.happen("notice")
                logger.info("not ready any more; %g s until the listener closes", timeouts.drain_notice)
                await asyncio.sleep(timeouts.drain_notice)
            public.last_call()
            self._bound[0].close()
            self._lifecycle.happen("stop")
            for upstream in self._gateway.runtime.upstreams.values():
                upstream.room.close()
            event = await self._drain.run(timeouts, public.wait_closed())
        finally:
            ending = asyncio.get_running_loop().create_task(self._end(event), name="end of the gateway")
            await _to_its_end(ending)

    async def _end(self, event: str) -> None:
        """Cut what is left, and give everything back that a process has."""
        public, admin = self._door, self._admin_listener
        assert public is not None
        assert admin is not None
        public.close()
        self._lifecycle.happen(event)
        await self._drain.cut()
        if self._gateway.handoff.live:
            logger.info("sockets that were handed over live on: %d", self._gateway.handoff.live)
        self._gateway.handoff.close()
        for upstream in self._gateway.runtime.upstreams.values():
            upstream.close()
            await upstream.closed()
        admin.close()
        self._release()
        await public.wait_closed()

    @property
    def state(self) -> State:
        """Where the process is in its life."""
        return self._lifecycle.state

    def reload(self, read: Settings, contexts: Contexts | None = None) -> Settings:
        """Serve by other settings from here on, and log what that changes; returns those that are in force now.

        All of it or nothing (issue 9): whatever can fail, files that are read
        above all, is made once and before anything is put in place. Putting
        in place assigns what was made. Exchanges under way keep theirs,
        connections and tunnels are not touched.
        contexts: what the check of ``read`` has made of files, so that what was checked is what is used. None: they
        are read now.
        Raises CannotApply and TlsError, with nothing changed.
        """
        before = self._gateway.runtime
        settings, staying = merge(before.settings, read)
        runtime = make_runtime(settings, before, contexts)
        changes = differences(before.settings, settings) + renewals(before.certificates, runtime.certificates)
        # From here on nothing reads, parses or refuses.
        self._reconfigure(runtime)
        log_changes(logger, NAME, changes, staying)
        return settings

    def _reconfigure(self, runtime: Runtime) -> None:
        """Put a configuration in force: every part takes its own, and none can fail."""
        runtime.reconfigure_upstreams()
        self._gateway.reconfigure(runtime)
        self._listener.reconfigure(**runtime.listener_options)
        if self.certificate is not None and runtime.tls is not None:
            self.certificate.context = runtime.tls
        if self._door is not None:
            self._door.reconfigure(runtime.settings.timeouts.head)

    @property
    def addresses(self) -> list[str]:
        """The public URL, or the path of the unix socket."""
        scheme = "http" if self.certificate is None else "https"
        names = [sock.getsockname() for sock in self._bound[0].sockets]
        return [_url(scheme, name) if isinstance(name, tuple) else f"unix:{name}" for name in names]

    def _announcers(self) -> Trusted:
        return self._gateway.runtime.settings.trusted_proxies

    def _release(self) -> None:
        while self._bound:
            self._bound.pop().close()


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Wait for a task that no cancellation of its owner may cut short; the cancellation goes on behind it."""
    was_cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            was_cancelled = True
    task.result()
    if was_cancelled:
        raise asyncio.CancelledError


Read = tuple[Settings, Contexts]
"""Settings that have been read and checked, and what the check has made of files."""


async def serve(
    settings: Settings,
    folder: Path = Path(),
    read_again: Callable[[], Read] | None = None,
    contexts: Contexts | None = None,
) -> None:
    """Run the gateway until SIGTERM or SIGINT; a second one stops it at once. SIGHUP reads the configuration again.

    folder: of the config file; the working directory where there is none.
    read_again: reads the config file, and raises ConfigError; None where there is none.
    contexts: what the check of the settings has made of files. None: they are read now.

    Raises ListenError when it cannot listen, and TlsError when it cannot speak TLS as it was told.
    """
    writer = LogWriter(_STDOUT, "the access log")
    log = AccessLog(settings.access_log, writer.write)
    try:
        server = Server(settings, log, folder, _raise_descriptor_limit(), contexts)
        await _obey(server, settings, log, read_again)
    finally:
        log.flush()
        writer.close(_LAST_LINES)
    logger.info("stopped")


async def _obey(server: Server, settings: Settings, log: AccessLog, read_again: Callable[[], Read] | None) -> None:
    """Run a server from its start to its end, by the signals that come."""
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    insisted = asyncio.Event()

    def ask() -> None:
        (insisted if asked.is_set() else asked).set()

    def reload() -> None:
        if server.state is not State.READY:
            logger.warning("SIGHUP is ignored: the gateway is %s", server.state.value)
        elif read_again is None:
            log_no_file(logger)
        else:
            notify.reloading()
            try:
                _reload(server, log, read_again)
            finally:
                notify.ready()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await server.start()
    if not HAS_C_PARSER:
        logger.warning("aiohttp runs without its C parser, which is slower and laxer; install a wheel of aiohttp")
    logger.info("%s", server.entrance.room)
    logger.info("admin on %s", settings.admin)
    is_for_browsers = not settings.listen.startswith("unix:")
    logger.info(
        "gateway ready on %s%s", ", ".join(server.addresses), " (open it in a browser)" if is_for_browsers else ""
    )
    notify.ready()
    await asked.wait()
    notify.stopping()
    await _stop(server, insisted)


async def _stop(server: Server, insisted: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    stopping = loop.create_task(server.stop(), name="stop of the gateway")
    second = loop.create_task(insisted.wait(), name="second signal")
    await asyncio.sleep(0)  # the stop's first step: whoever reads the line finds /readyz to say the same
    logger.info("stopping; a second signal stops at once")
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    second.cancel()
    if not stopping.done():
        logger.warning("a second signal: stopping at once")
        stopping.cancel()
    await asyncio.wait({stopping, second})
    if not stopping.cancelled():
        stopping.result()


def _reload(server: Server, log: AccessLog, read_again: Callable[[], Read]) -> None:
    try:
        log.reconfigure(server.reload(*read_again()).access_log)
    except (ConfigError, CannotApply, TlsError) as error:
        log_refusal(logger, error)


def _raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as the system lets us; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS names a hard limit that it does not grant
            return soft
    return hard


def _url(scheme: str, name: tuple[Any, ...]) -> str:
    host, port = name[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
