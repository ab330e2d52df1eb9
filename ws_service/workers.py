"""Several processes that share the sockets: uvicorn's own supervisor, with our server in each of its processes.

Each process has a socket file of its own, beside the first, and the gateway
hands sockets over to the one that has the fewest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from inspect import signature
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import multiprocess

from ws_service.config.settings import Settings
from ws_service.errors import AppError, ExtraError, KeyFileError, ListenError
from ws_service.handoff.protocol import MAX_WORKERS
from ws_service.handoff.socket_file import HANDOFF, is_possible, taken
from ws_service.hosting.user_errors import explain
from ws_service.hub.assembly import assemble
from ws_service.logs import formatter
from ws_service.logs.service_log import service_log
from ws_service.metrics.reports import reports_of
from ws_service.metrics.siblings import kept
from ws_service.net.listening import is_answered
from ws_service.net.service_manager import ServiceManager
from ws_service.net.worker_reports import WorkerReports, WorkerWatch
from ws_service.reload import Reload, ignore_signals
from ws_service.server import Server, claim, options, spoken

log = logging.getLogger(__name__)

START = 60.0
"""Seconds for a worker that is to replace another to import the app and begin to serve; uvicorn would give it 5. Large
libraries take 10 s on a cold disk."""


class WorkerConfig(uvicorn.Config):
    """The configuration of a worker, sent to it by pickle. ``app`` is the function that makes the app."""

    settings: Settings
    folder: Path
    siblings: Path
    """The folder in which the workers find each other."""
    address: str
    """What the ready line says."""
    has_failed: Event
    """Set by a worker that cannot start. Its exit code does not always say so: the supervisor's SIGTERM may end it
    before it exits by itself."""
    reports: WorkerReports | None = None
    """Who a worker tells that it serves and is alive; None: it is not asked."""
    is_replacement = False
    """Whether the worker replaces a running one, which goes on serving if this one cannot start."""


class WorkerServer(Server):
    """The server of one of several processes; each builds all of its parts."""

    config: WorkerConfig

    def __init__(self, config: WorkerConfig) -> None:
        settings = config.settings
        super().__init__(
            config,
            address=config.address,
            drain=settings.drain,
            memory_per_client=settings.memory_per_client,
            handshake=settings.handshake,
            manager=config.reports,
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Import the app, and serve. A worker that cannot start ends the service: the next one could not either.

        One that is to replace another ends alone, and uvicorn keeps the other. Before 0.5x it has ended that one
        already, and the next one that it starts replaces none.
        """
        ignore_signals()
        with service_log() as set_up_log:
            self._import_and_run(sockets, set_up_log)
        if not self.started:
            if not self.config.is_replacement:
                self._end_the_service()
            sys.exit(_STARTUP_FAILURE)

    def _end_the_service(self) -> None:
        self.config.has_failed.set()
        parent = parent_process()
        if parent is not None and parent.pid is not None and parent.is_alive():
            os.kill(parent.pid, signal.SIGTERM)  # before 0.5x, uvicorn starts another one for ever

    def _import_and_run(self, sockets: list[socket.socket] | None, set_up_log: Callable[[], None]) -> None:
        try:
            self._claim = claim(self.config.settings, self.config.folder, MAX_WORKERS)
            make: Any = self.config.app
            hub = assemble(self.config.settings, self.config.folder)
            reports = reports_of(self.config.settings, self.config.folder, hub, self.config.siblings)
            self.config.app = make(hub=hub, reports=reports)
            self._hub, self._reports = hub, reports
            set_up_log()
            super().run(sockets)
        except AppError as error:
            log.error(explain(error), extra=formatter.LINES)
        except (ListenError, KeyFileError, ExtraError) as error:
            log.error(str(error))
        except SystemExit:
            pass  # the lifespan failed, and the log says why
        finally:
            if self._claim is not None:
                self._claim.release()


class Worker(multiprocess.Process):
    """uvicorn's process, with our server in it."""

    @property
    def server(self) -> uvicorn.Server:
        """The server, made when uvicorn first asks for it: in the process itself."""
        if self._server is None:
            assert isinstance(self.config, WorkerConfig)
            self._server = WorkerServer(self.config)
        return self._server


class Supervisor(multiprocess.Multiprocess):
    """uvicorn's supervisor, but SIGHUP ends no process: uvicorn would replace all of them, and end their sockets."""

    config: WorkerConfig
    reload: Reload
    watch: WorkerWatch | None = None

    def init_processes(self) -> None:
        """Start the workers, and watch them where systemd asks about them."""
        super().init_processes()
        if self.watch is not None:
            self.watch.start()

    def terminate_all(self) -> None:
        """Stop the workers; systemd is told before."""
        if self.watch is not None:
            self.watch.stop()
        super().terminate_all()

    def handle_hup(self) -> None:
        """Read the config file again, and say what it changes."""
        self.reload.read()

    def handle_usr1(self) -> None:
        """Replace each process by a new one, one after the other, so that the app's code is read anew without a gap."""
        log.info(
            "replacing %d workers, one after the other; the sockets of each are closed with 1012", self.processes_num
        )
        config = vars(self.config)
        before = dict(config)
        config.update(is_replacement=True, timeout_worker_healthcheck=START)
        # uvicorn handles a signal after this; it would wait for an import that is not needed any more.
        handlers = {number: signal.signal(number, self._leave) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.restart_all()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            config.clear()
            config.update(before)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        self.should_exit.set()


def _end_stuck(pid: int) -> None:
    """End a worker whose event loop is blocked; what blocks it is in the traceback that it leaves (faulthandler)."""
    log.error("worker %d is stuck: its event loop did not run for the time of the watchdog; it is replaced", pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGABRT)


_ADVICE = "write workers: 1, or ws_service: {hub: {broker: redis://host:6379/0}}"

_STARTUP_FAILURE = 3
"""uvicorn's exit code of a process that could not start."""


def run(
    make: Callable[[], ASGIApp],
    settings: Settings,
    folder: Path,
    sockets: list[socket.socket],
    reload: Reload,
    manager: ServiceManager | None = None,
) -> bool:
    """Serve with several processes until a signal; return whether they started (if not, the log says why).

    make: makes the app in each of them; it is pickled.
    folder: what relative paths start from. sockets: bound by ``bind``; the processes share them.
    reload: what SIGHUP does. manager: systemd. None: it is told nothing.

    Raises ListenError when another service listens on the socket file of the hand-off.
    """
    path = folder / settings.handoff
    with contextlib.suppress(OSError):  # a path that cannot be: each worker says so
        if settings.handoff != "off" and is_possible() and is_answered(path, HANDOFF):
            raise taken(path)
    if settings.hub.enabled and not settings.has_hub:
        log.warning("there is no hub: each of %d workers would have its own; %s", settings.workers, _ADVICE)
    config = WorkerConfig(make, **options(settings))
    config.settings, config.folder, config.address = settings, folder, spoken(settings.listen, sockets)
    config.has_failed = get_context("spawn").Event()  # uvicorn spawns its processes
    with (
        TemporaryDirectory(prefix="dash-ws-service-", ignore_cleanup_errors=True) as siblings,
        kept(Path(siblings)),
    ):
        config.siblings = Path(siblings)
        _supervise(config, sockets, reload, manager)
    return not config.has_failed.is_set()


def _supervise(
    config: WorkerConfig, sockets: list[socket.socket], reload: Reload, manager: ServiceManager | None
) -> None:
    watch = None
    if manager is not None and manager.is_there:
        ready = f"{config.settings.workers} workers of the ws service ready on {config.address}"
        watch = WorkerWatch(manager, ready, lambda: [each.pid for each in supervisor.processes], _end_stuck)
        config.reports = watch.reports
    supervise: Any = Supervisor
    if "target" in signature(supervise).parameters:
        supervisor = supervise(config, target=WorkerServer(config).run, sockets=sockets)
    else:
        multiprocess.Process = Worker  # type: ignore[misc] # uvicorn creates its processes by this name
        supervisor = supervise(config, sockets=sockets)
    supervisor.reload, supervisor.watch = reload, watch
    reload.answer()  # a signal that came before the supervisor handled it
    try:
        supervisor.run()
    finally:
        if watch is not None:
            watch.close()
