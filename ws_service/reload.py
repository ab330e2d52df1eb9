"""SIGHUP: the config file is read and checked again, and the log says what it changes. No socket is touched.

Nothing is applied while the service runs: its settings are in its listener, in each connection and in uvicorn, and
only a part of the new configuration would be in force. So each change takes a restart, and the log names it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from ws_service.config.changes import differences, log_changes, log_no_file, log_refusal
from ws_service.config.consistency import warnings
from ws_service.config.file import ConfigFile
from ws_service.config.settings import NAME, Settings, load_settings
from ws_service.errors import ConfigError
from ws_service.net.service_manager import ServiceManager

log = logging.getLogger(__name__)


class Reload:
    """What the process does on SIGHUP.

    path: the config file; None: there is none.
    running: the settings that it was started with.
    manager: systemd, which is told when the file is read again.
    """

    def __init__(self, path: Path | None, running: Settings, manager: ServiceManager | None = None) -> None:
        self._manager = manager or ServiceManager({})
        self._path = path
        self._running = running
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_asked = False

    def listen(self) -> None:
        """Take the signal from now on. ``serve`` or ``answer`` acts on one that comes before them.

        SIGUSR1 is taken too: it replaces workers (``workers.Supervisor``), and must not end a single process.
        """
        if hasattr(signal, "SIGHUP"):  # not on Windows
            signal.signal(signal.SIGHUP, self._on_hangup)
            signal.signal(signal.SIGUSR1, lambda *_: self._soon(_log_one_process))

    def serve(self) -> None:
        """Act on each signal in the running loop: a signal handler may interrupt a write to the log."""
        self._loop = asyncio.get_running_loop()
        self.answer()

    def answer(self) -> None:
        """Read the file if a signal has come since it was read last."""
        if self._is_asked:
            self._is_asked = False
            self.read()

    def read(self) -> None:
        """Read the file, and log what it changes, what is wrong with it, and where it does not fit other sections."""
        with self._manager.reloading():
            self._read()

    def _read(self) -> None:
        if self._path is None:
            log_no_file(log)
            return
        try:
            file = ConfigFile(self._path, {NAME: Settings})
            read = load_settings(file)
        except ConfigError as error:
            log_refusal(log, error)
            return
        log_changes(log, NAME, (), differences(self._running, read))
        for line in warnings(file, NAME):
            log.warning("%s", line)

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
        self._soon(self.answer)

    def _soon(self, call: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and the process is about to
                self._loop.call_soon_threadsafe(call)


def _log_one_process() -> None:
    log.warning("SIGUSR1 is ignored: it replaces workers one by one, and there is one process; restart the service")


def ignore_signals() -> None:
    """Ignore both signals in a worker: sent to a whole process group, they are for its supervisor."""
    if hasattr(signal, "SIGHUP"):
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)
