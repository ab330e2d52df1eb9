"""The command line: serve, ``check`` the configuration, ``explain`` a request, ``init``, ``healthcheck``.

Exit codes: 0 stopped by a signal, no mistakes, or well; 1 it cannot listen, or is not well; 2 a mistake in the config
file or in the command line.

What a command needs is imported when that is asked for: ``healthcheck`` is started every few seconds, and with all of
the gateway it took half a second of CPU time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ws_service.command_line import WholeFile, config_option, mistakes_shown, program
from ws_service.config.file import find

UNHEALTHY = 1
"""Exit code of ``healthcheck``; Docker keeps 2 for itself."""


def _whole_file() -> WholeFile:
    import proxy.check_command

    return proxy.check_command


@program(
    _whole_file,
    """Check the whole config file; all mistakes are reported at once.

    Every section, whether the sections agree, files, names and addresses, and the app that ws_service.app names: it is
    imported, in a separate process. Exit code 0: no mistakes, perhaps warnings; 2: mistakes.

    With --live the running programs are asked too (docs/checks.md). Exit code 0: nothing found; 1: errors or warnings;
    2: mistakes in the file, so no program was asked.
    """,
)
def main(path: Path | None, which: str | None) -> None:
    """One port in front of a Dash server: WebSockets to their own service, the rest to Dash."""
    from proxy.serve_command import run

    run(path, which)


def _explain() -> click.Command:
    from proxy.explain_command import explain

    return explain


def _init() -> click.Command:
    from proxy.init.command import init

    return init


main.add_later("explain", _explain)
main.add_later("init", _init)


@main.command()
@config_option
@click.option("--ready", "is_readiness", is_flag=True, help="Whether it takes new clients, and not only lives.")
@click.pass_context
def healthcheck(context: click.Context, path: Path | None, is_readiness: bool) -> None:
    """Ask gateway.admin whether the gateway is well, for HEALTHCHECK lines. Exit code 0: it is; 1: it is not."""
    from proxy.config import load_settings
    from proxy.doctor.healthcheck import ask_health

    path, which = find(path or context.obj)
    with mistakes_shown(which, is_logged=True):
        settings = load_settings(path)
    is_well, message = ask_health(settings, is_readiness=is_readiness)
    click.echo(message)
    sys.exit(0 if is_well else UNHEALTHY)
