"""``--reload``: the service starts again whenever a file in the folder of the config changes, by uvicorn's reloader.

The first process binds the sockets and watches; a child serves. Where the config file or the user's app has a mistake,
the child answers every handshake and request with that mistake until it is corrected: what the app was before is not
served on. Connections that come while there is no child wait in the backlog.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.supervisors import ChangeReload

from ws_service import server
from ws_service.app import Service, create_app
from ws_service.config.consistency import refuse_dangers
from ws_service.config.file import ConfigFile, folder_of
from ws_service.config.settings import NAME, Settings, load_settings
from ws_service.errors import AppError, ConfigError, ExtraError, KeyFileError, ListenError
from ws_service.handoff.socket_file import Claim
from ws_service.hosting.broken_app import BrokenApp
from ws_service.hosting.user_errors import explain
from ws_service.hub.assembly import Assembled, assemble
from ws_service.logs import formatter
from ws_service.logs.service_log import service_log
from ws_service.metrics.reports import Reports, reports_of
from ws_service.reload import Reload, ignore_signals

log = logging.getLogger(__name__)

DRAIN = 1.0
"""Seconds at most for endpoints to end at a reload: their author waits."""

_UNWATCHED = ("node_modules", "__pycache__", "site-packages")
"""Folders whose files are not the author's, with hidden ones and virtual environments."""

_ADVICE = "Correct it and save: the service starts again by itself."

_CONFIG_PROBLEM = "the config file has a mistake; the log of the service says where"
"""For clients: what is wrong quotes the file, and the line may have a key or a password in it."""

_NOTHING = "without an app: every handshake for it gets 503 with the mistake above, until that is corrected"


class ReloadConfig(uvicorn.Config):
    """The configuration of a child, sent to it by pickle.

    path: the config file; None: there is none. settings: those of the start, where the file cannot be read.
    problem: why there is nothing to serve, known already; empty for none.
    """

    path: Path | None
    settings: Settings
    problem = ""


@dataclass
class _Parts:
    """What a child serves. problem: in place of the app; empty for none."""

    settings: Settings
    claim: Claim | None = None
    hub: Assembled | None = None
    reports: Reports | None = None
    app: Service | None = None
    problem: str = ""


class Child:
    """The process that serves, until the next change."""

    def __init__(self, config: ReloadConfig) -> None:
        self.config = config

    def run(self, sockets: list[socket.socket]) -> None:
        """Serve what is there, or say why there is nothing to serve, until a signal."""
        ignore_signals()
        # A file that is saved twice in a second, with as many bytes, would be taken from its __pycache__ (PEP 3147).
        sys.dont_write_bytecode = True
        with service_log() as set_up_log:
            parts = _Parts(self.config.settings, problem=self.config.problem)
            try:
                self._make(parts)
                set_up_log()
                if not self._serve(parts, sockets):  # its lifespan has failed, and the log says why
                    self._say(parts, "the startup of the app failed; the log says why")
                    self._serve(parts, sockets)
            finally:
                if parts.claim is not None:
                    parts.claim.release()

    def _make(self, parts: _Parts) -> None:
        """Make the parts, as far as that is possible."""
        folder = folder_of(self.config.path)
        try:
            parts.settings = self._read()
            parts.claim = server.claim(parts.settings, folder)
            parts.hub = assemble(parts.settings, folder)
            parts.reports = reports_of(parts.settings, folder, parts.hub)
            if not parts.problem:
                parts.app = create_app(parts.settings, folder, "", parts.hub, parts.reports)
        except AppError as error:
            log.error(explain(error), extra=formatter.LINES)
            parts.problem = str(error)
        except ConfigError as error:
            log.error(str(error), extra=formatter.LINES)
            parts.problem = _CONFIG_PROBLEM
        except (ListenError, KeyFileError, ExtraError) as error:
            log.error(str(error), extra=formatter.LINES)
            parts.problem = str(error)
        if parts.problem:
            self._say(parts, parts.problem)

    def _read(self) -> Settings:
        """Return the settings as they are now. Raises ConfigError."""
        if self.config.path is None:
            return self.config.settings
        file = ConfigFile(self.config.path, {NAME: Settings})
        settings = load_settings(file)
        refuse_dangers(file, NAME)
        if settings.listen != self.config.settings.listen:
            log.warning("takes a restart: ws_service.listen; the service stays on %s", self.config.settings.listen)
        return settings.model_copy(update={"listen": self.config.settings.listen})

    @staticmethod
    def _say(parts: _Parts, problem: str) -> None:
        """Have the problem served in the place of the app."""
        parts.problem = problem
        parts.app = Service(BrokenApp(f"{problem}\n{_ADVICE}"), parts.hub, parts.reports)

    @staticmethod
    def _serve(parts: _Parts, sockets: list[socket.socket]) -> bool:
        assert parts.app is not None
        settings = parts.settings.model_copy(update={"workers": 1, "drain": min(DRAIN, parts.settings.drain)})
        note = f", {_NOTHING}" if parts.problem else ""
        return server.run(parts.app, settings, sockets, parts.hub, parts.reports, parts.claim, note=note)


class Reloader(ChangeReload):  # type: ignore[valid-type, misc]
    """uvicorn's reloader. A child that has ended by itself is followed by one that says so."""

    config: ReloadConfig
    reload: Reload

    def should_restart(self) -> list[Path] | None:
        """Return the files that have changed; None where there are none."""
        self.reload.answer()
        if not self.process.is_alive() and not self.should_exit.is_set() and not self.config.problem:
            self._follow(self.process.exitcode)
        changes: list[Path] | None = super().should_restart()
        return changes

    def restart(self) -> None:
        """Have a new child with what the files say now."""
        self.config.problem = ""
        super().restart()

    def _follow(self, exit_code: int | None) -> None:
        self.config.problem = f"the process of the app has ended with exit code {exit_code}; the log may say why"
        log.error(self.config.problem)
        super().restart()


def run(path: Path | None, settings: Settings, sockets: list[socket.socket], reload: Reload) -> None:
    """Serve until a signal, and start again with each change.

    path: the config file, whose folder is watched; None: there is none, and the working directory is.
    sockets: bound by ``bind``. reload: what SIGHUP does.
    """
    if settings.workers > 1:
        log.warning("--reload serves with one process; ws_service.workers is %d without it", settings.workers)
    config = ReloadConfig(_no_app, **server.options(settings.model_copy(update={"workers": 1})))
    config.path, config.settings = path, settings
    folder = folder_of(path).resolve()
    config.reload_dirs = [folder]
    config.reload_includes = [path.name] if path is not None else []
    config.reload_excludes = list(map(str, unwatched(folder)))
    reloader = Reloader(config, target=Child(config).run, sockets=sockets)
    reloader.reload = reload
    log.info("watching %s: the service starts again when a file of Python%s changes", folder, _and(path))
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it has a line for each file that changes
    reloader.run()


def unwatched(folder: Path) -> list[Path]:
    """Return the folders in a folder whose files are not the author's; what is in these is not looked at."""
    found: list[Path] = []
    for place, folders, _ in os.walk(folder):
        own = [name for name in folders if not _is_foreign(Path(place, name))]
        found += [Path(place, name) for name in folders if name not in own]
        folders[:] = own
    return found


def _is_foreign(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name in _UNWATCHED or (folder / "pyvenv.cfg").exists()


def _and(path: Path | None) -> str:
    return "" if path is None else f" or {path.name}"


async def _no_app(*_: Any) -> None:
    """Stand where uvicorn wants an app: the child makes its own."""
