"""``dash-ws-service``, also ``python -m ws_service``: the config file in, the running service out.

Exit codes: 0 stopped when asked, or nothing is wrong; 1 it cannot listen; 2 a mistake in the config file, in the
user's app or in the command line.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from ws_service import server, workers
from ws_service.app import create_app
from ws_service.command_line import Commands, config_option
from ws_service.config.consistency import warnings
from ws_service.config.file import ConfigFile, find
from ws_service.config.sections import SECTIONS
from ws_service.config.settings import NAME, Settings, load_settings
from ws_service.errors import AppError, ConfigError, ListenError
from ws_service.hosting.loader import explain
from ws_service.reload import Reload

log = logging.getLogger("ws_service")


@click.group(cls=Commands, invoke_without_command=True)
@config_option
@click.option("--print-config", is_flag=True, help="Print every setting of both programs with its value, and stop.")
@click.version_option(package_name="dash-ws-proxy")
@click.pass_context
def main(context: click.Context, path: Path | None, print_config: bool) -> None:
    """Serve the WebSocket endpoints of your own app, behind dash-ws-proxy or alone."""
    context.obj = path
    if context.invoked_subcommand is not None:
        return
    path, which = find(path)
    try:
        if print_config:
            if which:
                click.echo(which, err=True)
            from proxy.check import printed  # here: a service that serves needs nothing of the gateway

            click.echo(printed(path), nl=False)
            return
        file = None if path is None else ConfigFile(path, {NAME: Settings})
        settings = load_settings(file)
    except ConfigError as error:
        _fail(f"{which}\n{error}" if which and not print_config else str(error), 2)
    folder = path.absolute().parent if path is not None else Path.cwd()
    server.set_up_logging()
    if which:
        log.info("%s", which)
    for line in warnings(file, NAME):
        log.warning("%s", line)
    try:
        _serve(settings, folder, Reload(path, settings), _place(file))
    except ListenError as error:
        _fail(f"dash-ws-service: {error}", 1)
    except AppError as error:
        _fail(explain(error), 2)


@main.command()
@config_option
@click.option("--section", "only", type=click.Choice(SECTIONS), help="Look at this section alone.")
@click.pass_context
def check(context: click.Context, path: Path | None, only: str | None) -> None:
    """Check the whole config file; every mistake is named at once.

    The same as dash-ws-proxy check. The app that ws_service.app names is imported, in a process of its own. Exit code
    0: no mistakes, perhaps warnings; 2: mistakes.
    """
    from proxy.check import report_to_terminal  # here: a service that serves needs nothing of the gateway

    path, which = find(path or context.obj)
    if which:
        click.echo(which, err=True)
    sys.exit(report_to_terminal(path, only))


def _place(file: ConfigFile | None) -> str:
    """Return how a mistake in the user's app begins: the place of ``ws_service.app``, where there is a file."""
    return str(file.error([file.objection((NAME, "app"), "")])) if file is not None else ""


def _serve(settings: Settings, folder: Path, reload: Reload, place: str) -> None:
    """Bind, then import, then serve: a taken port is found before the user's module does anything."""
    reload.listen()
    server.set_up_logging()
    server.raise_descriptor_limit()
    sockets = server.bind(settings.listen, folder)
    claim = None
    try:
        if settings.workers > 1:
            has_started = workers.run(partial(create_app, settings, folder, place), settings, folder, sockets, reload)
        else:
            claim = server.claim(settings, folder)
            app = create_app(settings, folder, place)
            server.set_up_logging()
            has_started = server.run(app, settings, sockets, claim, reload)
    finally:
        if claim is not None:
            claim.release()
        for bound in sockets:
            bound.close()
        server.unbind(settings.listen, folder)
    if not has_started:
        sys.exit(2)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="dash-ws-service")
