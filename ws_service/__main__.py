"""``dash-ws-service``, also ``python -m ws_service``: the config file in, the running service out.

Exit codes: 0 stopped when asked, 1 the address cannot be listened on, 2 a
mistake in the config file or in the user's app.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from ws_service import server, workers
from ws_service.app import create_app
from ws_service.config import Settings, dump_settings, load_settings
from ws_service.errors import AppError, ConfigError, ListenError
from ws_service.hosting import explain
from ws_service.reload import Reload


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The config file. Without it: every default.")
@click.option("--print-config", is_flag=True, help="Print every setting with its value, and stop.")
@click.version_option(package_name="dash-ws-proxy")
def main(config: Path | None, print_config: bool) -> None:
    """Serve the WebSocket endpoints of your own app, behind dash-ws-proxy or alone."""
    try:
        settings = load_settings(config)
    except ConfigError as error:
        _fail(str(error), 2)
    if print_config:
        click.echo(dump_settings(settings), nl=False)
        return
    folder = config.absolute().parent if config is not None else Path.cwd()
    try:
        _serve(settings, folder, Reload(config, settings))
    except ListenError as error:
        _fail(str(error), 1)
    except AppError as error:
        _fail(explain(error), 2)


def _serve(settings: Settings, folder: Path, reload: Reload) -> None:
    """Bind, then import, then serve: a taken port is found before the user's module does anything."""
    reload.listen()
    server.set_up_logging()
    server.raise_descriptor_limit()
    sockets = server.bind(settings.listen, folder)
    claim = None
    try:
        if settings.workers > 1:
            has_started = workers.run(partial(create_app, settings, folder), settings, folder, sockets, reload)
        else:
            claim = server.claim(settings, folder)
            app = create_app(settings, folder)
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
