"""``dash-ws-service``, also ``python -m ws_service``: the config file in, the running service out.

Exit codes: 0 stopped by a signal, or no mistakes; 1 it cannot listen; 2 a mistake in the config file, in the
user's app or in the command line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from ws_service import auto_reload, server, workers
from ws_service.app import create_app
from ws_service.command_line import (
    CANNOT_LISTEN,
    MISTAKE,
    WholeFile,
    fail,
    log_start,
    mistakes_shown,
    program,
)
from ws_service.config.consistency import refuse_dangers
from ws_service.config.file import ConfigFile, folder_of
from ws_service.config.settings import NAME, Settings, load_settings
from ws_service.errors import AppError, ExtraError, KeyFileError, ListenError
from ws_service.hosting.user_errors import explain
from ws_service.hub.assembly import assemble
from ws_service.logs.service_log import service_log
from ws_service.metrics.reports import reports_of
from ws_service.net.descriptors import raise_descriptor_limit
from ws_service.net.service_manager import ServiceManager
from ws_service.publish_command import publish
from ws_service.reload import Reload
from ws_service.token_command import token

log = logging.getLogger("ws_service")


def _whole_file() -> WholeFile:
    import proxy.check_command  # here: a service that serves needs nothing of the gateway

    return proxy.check_command


@program(
    _whole_file,
    """Check the whole config file; all mistakes are reported at once.

    The same as dash-ws-proxy check. The app that ws_service.app names is imported, in a separate process. Exit code
    0: no mistakes, perhaps warnings; 2: mistakes. With --live the running programs are asked too (docs/checks.md); then
    0: nothing found; 1: errors or warnings; 2: mistakes in the file, so no program was asked.
    """,
    click.option(
        "--reload",
        "is_reloading",
        is_flag=True,
        help="Start again when a file in the folder of the config changes: for development.",
    ),
)
def main(path: Path | None, which: str | None, is_reloading: bool) -> None:
    """Serve the WebSocket endpoints of your own app, behind dash-ws-proxy or alone."""
    with mistakes_shown(which, is_logged=True):
        file = None if path is None else ConfigFile(path, {NAME: Settings})
        settings = load_settings(file)
        refuse_dangers(file, NAME)
    try:
        with service_log() as set_up_log:
            log_start(log, which, file, NAME)
            manager = ServiceManager()
            reload = Reload(path, settings, manager)
            if is_reloading:
                has_started = _serve_anew(settings, path, reload)
            else:
                has_started = _serve(settings, folder_of(path), reload, _place(file), set_up_log, manager)
    except ListenError as error:
        fail(f"dash-ws-service: {error}", CANNOT_LISTEN)
    except AppError as error:
        fail(explain(error), MISTAKE)
    except (ExtraError, KeyFileError) as error:
        fail(f"dash-ws-service: {error}", MISTAKE)
    if not has_started:
        sys.exit(MISTAKE)


main.add_command(publish)
main.add_command(token)


def _place(file: ConfigFile | None) -> str:
    """Return how a mistake in the user's app begins: the place of ``ws_service.app``, where there is a file."""
    return str(file.error([file.objection((NAME, "app"), "")])) if file is not None else ""


def _serve_anew(settings: Settings, path: Path | None, reload: Reload) -> bool:
    """Serve, and start again with each change of a file. Mistakes are shown, and end nothing."""
    reload.listen()
    raise_descriptor_limit()
    bound = server.bind(settings.listen, folder_of(path))
    try:
        auto_reload.run(path, settings, bound.sockets, reload)
    finally:
        bound.close()
    return True


def _serve(
    settings: Settings,
    folder: Path,
    reload: Reload,
    place: str,
    set_up_log: Callable[[], None],
    manager: ServiceManager,
) -> bool:
    """Bind, then import, then serve: a port in use is found before the user's module does anything.

    Returns whether the app started.
    """
    reload.listen()
    raise_descriptor_limit()
    bound = server.bind(settings.listen, folder)
    claim = None
    try:
        if settings.workers > 1:
            make = partial(create_app, settings, folder, place)
            return workers.run(make, settings, folder, bound.sockets, reload, manager)
        claim = server.claim(settings, folder)
        hub = assemble(settings, folder)
        reports = reports_of(settings, folder, hub)
        app = create_app(settings, folder, place, hub, reports)
        set_up_log()
        return server.run(app, settings, bound.sockets, hub, reports, claim, reload, manager)
    finally:
        if claim is not None:
            claim.release()
        bound.close()


if __name__ == "__main__":
    main(prog_name="dash-ws-service")
