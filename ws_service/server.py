"""Running the service: the sockets it listens on, uvicorn, the order of stopping, and the log.

With ``adopted`` and ``workers`` the only module that knows uvicorn. It runs with 0.41, which the first FastAPI
release of Dash came with, and with the newest.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ws_service.config.addresses import split_listen
from ws_service.config.settings import Settings
from ws_service.errors import ListenError
from ws_service.handoff.receiver import Handoff
from ws_service.handoff.socket_file import Claim, is_possible
from ws_service.hub.assembly import Assembled
from ws_service.hub.tunnelled import Chooser
from ws_service.metrics.reports import Reports
from ws_service.net.listening import Bound, bind_socket_file, bind_tcp, find, listen_problem, with_port
from ws_service.net.service_manager import ServiceManager
from ws_service.publisher import in_process
from ws_service.reload import Reload
from ws_service.websocket.listener import LimitedHTTP, ListenerResources, Tunnelled

log = logging.getLogger(__name__)

EXIT_GRACE = 5.0
"""Seconds beyond ``drain`` for the lifespan and for threads to end; then the process leaves without them."""


class Server(uvicorn.Server):
    """uvicorn with a line when it is ready, and with exit code 0 after a signal.

    address: what the ready line says.
    drain: seconds, as in the settings.
    memory_per_client: bytes, as in the settings.
    handshake: seconds, as in the settings.
    hub: started before the first socket and closed after the last. None: there is none.
    reports: begun before the first socket, too. None: the operator is told nothing.
    claim: the socket file of the hand-off. None: there is no hand-off.
    reload: what SIGHUP does. None: another process handles it.
    manager: who is told that the service is ready, alive and stopping. None: it is not told.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        address: str,
        drain: float,
        memory_per_client: int,
        handshake: float,
        hub: Assembled | None = None,
        reports: Reports | None = None,
        claim: Claim | None = None,
        reload: Reload | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        super().__init__(config)
        self._manager = manager
        self._watchdog: asyncio.Task[None] | None = None
        self._reload = reload
        self._hub = hub
        self._reports = reports
        self._address = address
        self._drain = drain
        self._claim = claim
        self._handoff: Handoff | None = None
        self._memory_per_client = memory_per_client
        self._handshake = handshake
        self._resources: ListenerResources

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving; the line is written once connections are accepted."""
        self._resources = ListenerResources(self._memory_per_client, self._handshake)
        self.config.resources = self._resources  # type: ignore[attr-defined] # for the protocols that it makes
        if self._reports is not None:
            await self._reports.start(self._resources)
        if self._hub is not None:
            await self._hub.hub.start()
            in_process.serve(self._hub.hub, self._hub.max_publication)
            self._resources.choose_socket = Chooser(self._hub.hub, self._resources)
        await super().startup(sockets)
        if not self.started:
            await self._close_parts()
            return
        if self._claim is not None:
            hub = None if self._hub is None else self._hub.hub
            self._handoff = Handoff(
                self._claim, self._resources, self.config, self.server_state, self.lifespan.state, hub
            )
            log.info("adopting sockets from the gateway on %s", self._claim.path)
        if self._reload is not None:
            self._reload.serve()
        log.info("ws service ready on %s", self._address)
        if self._manager is not None:
            self._manager.ready(f"ws service ready on {self._address}")
            self._watchdog = asyncio.get_running_loop().create_task(self._manager.feed_watchdog(), name="watchdog")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every socket with 1012, those of the hub with 3001, wait for the endpoints, then end the lifespan.

        From the first step on no socket is adopted, and the end of each one is reported to
        the gateway before the process ends.
        """
        log.info("stopping: %d open, endpoints have %g s", len(self.server_state.connections), self._drain)
        if self._manager is not None:
            self._manager.stopping()
        if self._handoff is not None:
            await self._handoff.stop()
        if self._hub is not None:
            self._hub.stop()
        await super().shutdown(sockets)
        await self._close_parts()
        if self._handoff is not None:
            await self._handoff.close()
        if self._watchdog is not None:
            self._watchdog.cancel()
            await asyncio.wait({self._watchdog})
        log.info("stopped")

    async def _close_parts(self) -> None:
        if self._reports is not None:
            await self._reports.close()
        if self._hub is not None:
            await in_process.close()
            await self._hub.hub.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop on a signal; a second Ctrl-C does not wait for endpoints.

        uvicorn's own handler raises the signal again once it has stopped, and a
        process manager would see a termination by SIGTERM instead of exit code 0.
        """
        if self.should_exit:
            self.force_exit = self.force_exit or sig == signal.SIGINT
            return
        self.should_exit = True
        insist = threading.Timer(self._drain + EXIT_GRACE, self._leave)
        insist.daemon = True
        insist.start()

    def _leave(self) -> None:
        log.error("the app did not end within %g s of the stop; leaving without it", self._drain + EXIT_GRACE)
        logging.shutdown()
        os._exit(1)  # a thread of the user's app that never ends would block any other exit


def claim(settings: Settings, folder: Path, slots: int = 1) -> Claim | None:
    """Take the socket file of the hand-off; None where it is off, or where the system cannot pass sockets.

    folder: what its path starts from. slots: how many processes may share the path.

    Raises ListenError when another service listens there, and when a file that the settings name cannot be created.
    If only the default cannot be created (the folder is not writable), the service runs without a hand-off.
    """
    if settings.handoff == "off" or not is_possible():
        return None
    path = folder / settings.handoff
    try:
        return Claim(path, slots)
    except OSError as error:
        why = listen_problem(str(path), error, "ws_service.handoff")
        if "handoff" in settings.model_fields_set:
            raise ListenError(f"{why}, or write off to let the gateway carry the WebSockets") from None
        log.warning("no socket is handed over: %s", why)
        return None


def run(
    app: ASGIApp,
    settings: Settings,
    sockets: list[socket.socket],
    hub: Assembled | None = None,
    reports: Reports | None = None,
    claim: Claim | None = None,
    reload: Reload | None = None,
    manager: ServiceManager | None = None,
    note: str = "",
) -> bool:
    """Serve until a signal; return whether the app started at all (if not, the log says why).

    sockets: bound by ``bind``. They are closed before the return.
    hub: of this process. None: there is none.
    reports: of this process. None: there are none.
    claim: the socket file of the hand-off. None: there is no hand-off.
    reload: what SIGHUP does. None: it is not handled.
    manager: systemd. None: it is told nothing.
    note: what the ready line says after the address.

    Raises ListenError when another process began to listen in the meantime.
    """
    config = server_config(app, settings)
    server = Server(
        config,
        address=spoken(settings.listen, sockets) + note,
        drain=settings.drain,
        memory_per_client=settings.memory_per_client,
        handshake=settings.handshake,
        hub=hub,
        reports=reports,
        claim=claim,
        reload=reload,
        manager=manager,
    )
    try:
        server.run(sockets=sockets)
    except SystemExit:
        return False  # uvicorn since 0.5x raises this when the lifespan failed
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise ListenError(listen_problem(settings.listen, error, "ws_service.listen")) from None
    return server.started


def server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration."""
    return uvicorn.Config(app, **options(settings))


def options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options, without the app.

    Inside ``Tunnelled`` the WebSocket protocol stays uvicorn's own choice. Its sans-I/O implementation, the one
    chosen in new versions, drops empty messages and sends no pings in 0.41,
    where the older one is the default.
    """
    return {
        "log_config": None,
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "lifespan": "on",
        "http": LimitedHTTP,
        "ws": Tunnelled,
        "ws_max_size": settings.max_message,
        "ws_ping_interval": settings.ws_ping_interval,
        "ws_ping_timeout": settings.ws_ping_timeout,
        "ws_per_message_deflate": True,
        "proxy_headers": True,
        "forwarded_allow_ips": (
            "*" if settings.listen.startswith("unix:") else [str(n) for n in settings.trusted_proxies]
        ),
        "timeout_graceful_shutdown": math.ceil(settings.drain),
        "workers": settings.workers,
    }


def spoken(listen: str, sockets: Sequence[socket.socket] = ()) -> str:
    """Return an address for messages: a URL, or ``unix:path``. sockets: bound to it; they know what port 0 became."""
    return listen if listen.startswith("unix:") else f"http://{with_port(listen, sockets)}"


def bind(listen: str, folder: Path) -> Bound:
    """Bind every address that ``listen`` stands for (a host name may have two). Nothing is accepted yet.

    folder: what a relative unix path starts from.

    Raises ListenError.
    """
    place = split_listen(listen)
    try:
        return bind_socket_file(folder / place) if isinstance(place, str) else bind_tcp(find(*place))
    except OSError as error:
        raise ListenError(listen_problem(listen, error, "ws_service.listen")) from None
