"""The process: what its signals do (drain, reload), the access log, and the number of files that it may open."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from proxy.config import ConfigError, Settings
from proxy.errors import TlsError
from proxy.exchange.access_log import AccessLog
from proxy.exchange.lifecycle import State
from proxy.listener.passed_sockets import PassedSockets, passed_sockets
from proxy.net.tls_files import TlsFiles
from proxy.server.config_diff import CannotApply
from proxy.server.server import Server
from proxy.status.service import FindKey, find_no_key
from ws_service.config.changes import log_no_file, log_refusal
from ws_service.logs.log_writer import LogWriter
from ws_service.net.descriptors import raise_descriptor_limit
from ws_service.net.service_manager import ServiceManager

logger = logging.getLogger("proxy")

_STDOUT = 1

Read = tuple[Settings, TlsFiles]
"""Settings that have been read and checked, and what the check has made of files."""


async def serve(
    settings: Settings,
    folder: Path = Path(),
    read_again: Callable[[], Read] | None = None,
    tls_files: TlsFiles | None = None,
    find_key: FindKey = find_no_key,
) -> None:
    """Run the gateway until SIGTERM or SIGINT; a second one stops it at once. SIGHUP reads the configuration again.

    folder: of the config file; the working directory where there is none.
    read_again: reads the config file, and raises ConfigError; None where there is none.
    tls_files: those that the check of the settings has read. None: they are read now.
    find_key: returns the key to the service's API, for the status.

    Raises ListenError when it cannot listen, and TlsError when it cannot speak TLS as it was told.
    """
    passed, manager = passed_sockets(), ServiceManager()
    writer = LogWriter(_STDOUT, "the access log")
    log = AccessLog(settings.access_log, writer.write)
    try:
        server = Server(settings, log, folder, raise_descriptor_limit(), tls_files, find_key)
        watchdog = asyncio.get_running_loop().create_task(manager.feed_watchdog(), name="watchdog")
        try:
            await _obey(server, passed, manager, partial(_reload, server, log, read_again, manager))
        finally:
            watchdog.cancel()
            await asyncio.wait({watchdog})
    finally:
        log.flush()
        writer.close()
    logger.info("stopped")


async def _obey(server: Server, passed: PassedSockets, manager: ServiceManager, reload: Callable[[], None]) -> None:
    """Run a server from its start to its end, by the signals that come."""
    loop = asyncio.get_running_loop()
    stop, stop_now = asyncio.Event(), asyncio.Event()

    def stop_signal() -> None:
        (stop_now if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_signal)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await server.start(passed)
    _log_start(server)
    for name in passed.names:
        logger.warning(
            "systemd has passed a socket named %s, which no setting asks for: its clients wait for ever", name
        )
    manager.ready(f"gateway ready on {', '.join(server.addresses)}")
    await stop.wait()
    manager.stopping()
    await _stop(server, stop_now)


def _log_start(server: Server) -> None:
    logger.info("%s", server.limiter.capacity_notice)
    if server.admin_addresses:
        logger.info("admin on %s", ", ".join(server.admin_addresses))
    else:
        logger.info("admin is off: there are no health answers and no metrics")
    hint = "" if server.addresses[0].startswith("unix:") else " (open it in a browser)"
    logger.info("gateway ready on %s%s", ", ".join(server.addresses), hint)


async def _stop(server: Server, stop_now: asyncio.Event) -> None:
    """Stop a server; ``stop_now`` skips the drain."""
    loop = asyncio.get_running_loop()
    stopping = loop.create_task(server.stop(), name="stop of the gateway")
    second = loop.create_task(stop_now.wait(), name="second signal")
    await asyncio.sleep(0)  # the stop's first step: when the line is read, /readyz says the same
    logger.info("stopping; a second signal stops at once")
    await asyncio.wait({stopping, second}, return_when=asyncio.FIRST_COMPLETED)
    second.cancel()
    if not stopping.done():
        logger.warning("a second signal: stopping at once")
        stopping.cancel()
    await asyncio.wait({stopping, second})
    if not stopping.cancelled():
        stopping.result()


def _reload(server: Server, log: AccessLog, read_again: Callable[[], Read] | None, manager: ServiceManager) -> None:
    """Read the configuration again, and put it in force, or say why not."""
    if server.state is not State.READY:
        logger.warning("SIGHUP is ignored: the gateway is %s", server.state.value)
        return
    with manager.reloading():
        if read_again is None:
            log_no_file(logger)
            return
        try:
            log.reconfigure(server.reload(*read_again()).access_log)
            server.last_reload.succeeded()
        except (ConfigError, CannotApply, TlsError) as error:
            server.last_reload.failed()
            log_refusal(logger, error)


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """Return the kind of event loop that the gateway runs on; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop
