"""SIGHUP: the config file is read and checked again, and the log says what it changes. No socket is touched.

Nothing is applied while the service runs: its settings are in its listener, in each connection and in uvicorn, and
half of a configuration would be in force. So each change waits for a restart, and a line says which.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ws_service.config.consistency import warnings
from ws_service.config.file import ConfigFile
from ws_service.config.settings import NAME, Settings, load_settings
from ws_service.errors import ConfigError

log = logging.getLogger(__name__)


class Reload:
    """What the process does when SIGHUP comes.

    path: the config file; None: there is none.
    running: the settings that it was started with.
    """

    def __init__(self, path: Path | None, running: Settings) -> None:
        self._path = path
        self._running = running
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_asked = False

    def listen(self) -> None:
        """Hear the signal from now on. It is answered by ``serve``, or ``answer``, when it comes earlier.

        SIGUSR1 is heard too: it replaces workers (``workers.Supervisor``), and must not end a single process.
        """
        if hasattr(signal, "SIGHUP"):  # not on Windows
            signal.signal(signal.SIGHUP, self._hear)
            signal.signal(signal.SIGUSR1, lambda *_: self._soon(_say_that_there_is_one))

    def serve(self) -> None:
        """Answer each signal in the running loop from now on: a handler may come in the middle of a line of the log."""
        self._loop = asyncio.get_running_loop()
        self.answer()

    def answer(self) -> None:
        """Read the file if a signal has come that was not answered."""
        if self._is_asked:
            self._is_asked = False
            self.read()

    def read(self) -> None:
        """Read the file, and say what it changes, what is wrong with it, and where it does not fit other sections."""
        if self._path is None:
            log.warning("SIGHUP is ignored: there is no config file to read again")
            return
        try:
            file = ConfigFile(self._path, {NAME: Settings})
            read = load_settings(file)
        except ConfigError as error:
            for mistake in str(error).splitlines():
                log.error(mistake)
            log.error("the configuration was read again and cannot be used; the one before stays in force")
            return
        changed = differences(self._running, read)
        if changed:
            log.warning("the configuration was read again; takes a restart of the service: %s", "; ".join(changed))
        else:
            log.info("the configuration was read again; nothing changed")
        for line in warnings(file, NAME):
            log.warning("%s", line)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
        self._soon(self.answer)

    def _soon(self, call: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and the process is about to
                self._loop.call_soon_threadsafe(call)


def _say_that_there_is_one() -> None:
    log.warning("SIGUSR1 is ignored: it replaces workers one by one, and there is one process; restart the service")


def hear_nothing() -> None:
    """Leave both signals to another process: sent to a whole group, they are the first one's to answer."""
    if hasattr(signal, "SIGHUP"):
        for number in (signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, lambda *_: None)


def differences(before: Settings, after: Settings) -> list[str]:
    """Return what has changed, as ``key: old -> new``, in the order of the settings; of lists, what came and went."""
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return [f"{NAME}.{key}: {_change(old[key], new[key])}" for key in old if old[key] != new[key]]


def _change(old: Any, new: Any) -> str:
    if not (isinstance(old, list) and isinstance(new, list)):
        return f"{_shown(old)} -> {_shown(new)}"
    came = [f"+{item}" for item in new if item not in old]
    went = [f"-{item}" for item in old if item not in new]
    return " ".join(came + went) or "in another order"


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)
