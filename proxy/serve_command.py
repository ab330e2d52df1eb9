"""What ``dash-ws-proxy`` without a command does: serve, by a config file, until a signal."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

from proxy.config import NAME, Settings, load_settings
from proxy.errors import ListenError, TlsError
from proxy.net.tls_files import TlsFiles
from proxy.server.run import loop_factory, serve
from proxy.server.startup_checks import objections
from proxy.status.service_key import find_service_key
from ws_service.command_line import CANNOT_LISTEN, fail, log_start, mistakes_shown
from ws_service.config.file import ConfigFile, folder_of
from ws_service.logs.log_writer import LogHandler, standard_error

logger = logging.getLogger("proxy")


def run(path: Path | None, which: str | None) -> None:
    """Serve. A mistake in the file, and an address that cannot be had, end the process, with a sentence.

    path: the config file; None: every default. which: the sentence that says which file it is; None: it is not needed.
    """
    tls_files = TlsFiles()
    with mistakes_shown(which, is_logged=True):
        file = _read(path)
        settings = load_settings(file, check=partial(objections, tls_files=tls_files))
    read_again = partial(_read_again, path) if path is not None else None
    try:
        with standard_error() as writer, asyncio.Runner(loop_factory=loop_factory()) as runner:
            logging.basicConfig(level=logging.INFO, handlers=[LogHandler(writer, "%(levelname)s %(message)s")])
            log_start(logger, which, file, NAME)
            runner.run(serve(settings, folder_of(path), read_again, tls_files, partial(find_service_key, path)))
    except (ListenError, TlsError) as error:
        fail(f"dash-ws-proxy: {error}", CANNOT_LISTEN)


def _read(path: Path | None) -> ConfigFile | None:
    return None if path is None else ConfigFile(path, {NAME: Settings})


def _read_again(path: Path) -> tuple[Settings, TlsFiles]:
    """Read and check a file while the gateway runs. Raises ConfigError."""
    file, tls_files = _read(path), TlsFiles()
    settings = load_settings(file, check=partial(objections, tls_files=tls_files))
    log_start(logger, None, file, NAME)
    return settings, tls_files
