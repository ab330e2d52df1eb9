"""What the command lines of both programs have in common: ``--config``, ``--print-config``, ``check``, exit codes."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import click

from ws_service.config.consistency import warnings
from ws_service.config.file import ConfigFile, find
from ws_service.config.sections import SECTIONS
from ws_service.errors import ConfigError

CANNOT_LISTEN = 1
"""Exit code."""

MISTAKE = 2
"""Exit code for a mistake in the config file, in the user's app or in the command line."""

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The config file. Without it: the one that DASH_WS_PROXY_CONFIG names, else config.yaml of the working "
    "directory, or every default where there is none.",
)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The options of ``check``.

    only: the section to look at; None: all. is_live: whether the programs are asked too. url: the public URL of the
    app, None: the gateway is asked where it listens. fields: header fields of a client that is logged in.
    echo: the path of a WebSocket that sends back what it gets. idle: seconds for which a WebSocket is kept open at
    ``url``; 0: none is. compare: two URLs, whose answers are compared; nothing else is done then.
    is_json, is_quiet, report: what is printed and written.
    """

    only: str | None = None
    is_live: bool = False
    url: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    echo: str | None = None
    idle: float = 65.0
    compare: tuple[str, str] | None = None
    is_json: bool = False
    is_quiet: bool = False
    report: Path | None = None


class WholeFile(Protocol):
    """What can be asked about all sections of a file (``proxy.check_command``)."""

    def printed(self, path: Path | None) -> str:
        """Return every setting of both programs with its value. Raises ConfigError."""

    def run_check(self, path: Path | None, options: CheckOptions) -> int:
        """Print what is wrong with a file, and with programs that run by it; return the exit code."""


class Command(click.Command):
    """A command that says what to write when it is given a file without ``--config``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what follows the command. Raises UsageError."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            raise _advised(error, words) from None


class Commands(click.Group):
    """A program with commands, which says the same. Those of ``add_later`` are imported when they are needed."""

    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._later: dict[str, Callable[[], click.Command]] = {}

    def add_later(self, name: str, load: Callable[[], click.Command]) -> None:
        """Add a command by its name. load: returns it; called when it is asked for, and for the help of the program."""
        self._later[name] = load

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), *self._later])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None where there is none of this name."""
        load = self._later.get(cmd_name)
        return super().get_command(ctx, cmd_name) if load is None else load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for. Raises UsageError."""
        words = list(args)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _advised(error, words) from None


def program(
    whole_file: Callable[[], WholeFile], check_help: str, *options: Callable[[click.Command], click.Command]
) -> Callable[[Callable[..., None]], Commands]:
    """Return a decorator that makes a command line of the function that serves, whose docstring is the help text.

    The function gets the config file, None for every default, and the sentence that says which file it is, None where
    ``--config`` names one.
    whole_file: returns ``proxy.check_command``; it is called only for the commands that need it.
    check_help: of ``check``. options: further ones of click, whose values the function gets by their names.
    """

    def decorate(serve: Callable[..., None]) -> Commands:
        group = _group(serve, whole_file)
        for option in options:
            option(group)
        group.add_command(_check(whole_file, check_help))
        return group

    return decorate


def _group(serve: Callable[..., None], whole_file: Callable[[], WholeFile]) -> Commands:
    @click.group(cls=Commands, invoke_without_command=True, help=serve.__doc__)
    @config_option
    @click.option("--print-config", is_flag=True, help="Print every setting of both programs with its value, and stop.")
    @click.version_option(package_name="dash-ws-proxy")
    @click.pass_context
    def main(context: click.Context, /, path: Path | None, print_config: bool, **more: Any) -> None:
        context.obj = path
        if context.invoked_subcommand is not None:
            return
        path, which = find(path)
        if print_config:
            with mistakes_shown(which):
                click.echo(whole_file().printed(path), nl=False)
        else:
            serve(path, which, **more)

    return main


_IDLE = 65.0
"""Seconds that ``check --live --url`` keeps an idle WebSocket open: most proxies close it after 60 s (nginx, AWS)."""


def _check(whole_file: Callable[[], WholeFile], text: str) -> click.Command:
    @click.command("check", cls=Command, help=text)
    @config_option
    @click.option("--section", "only", type=click.Choice(SECTIONS), help="Look at this section alone.")
    @click.option("--live", "is_live", is_flag=True, help="Ask the running programs too, and say what is wrong.")
    @click.option(
        "--url",
        metavar="URL",
        callback=_public_url,
        help="With --live: the address that browsers use, through proxies in front.",
    )
    @click.option(
        "--header",
        "-H",
        "fields",
        multiple=True,
        callback=_header_fields,
        help='With --live: a header field of each request to the app, such as "Cookie: ..." after a login.',
    )
    @click.option(
        "--echo",
        metavar="PATH",
        callback=_echo_path,
        help="With --live: a WebSocket of the app that sends back what it gets, for a message of 5 MB.",
    )
    @click.option(
        "--idle",
        metavar="SECONDS",
        type=click.FloatRange(0, 3600),
        default=_IDLE,
        help="With --url: how long an idle WebSocket is kept open, beside the rest (65); 0 leaves it out.",
    )
    @click.option(
        "--compare",
        nargs=2,
        metavar="DIRECT GATEWAY",
        callback=_two_urls,
        help="Ask two URLs for all that a page of Dash asks for, and print what differs. No config file is read.",
    )
    @click.option("--json", "is_json", is_flag=True, help="Print JSON.")
    @click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write all of it to a file too, with settings and versions, without secrets and hosts.",
    )
    @click.option("--quiet", "-q", "is_quiet", is_flag=True, help="Print findings alone.")
    @click.pass_context
    def check(context: click.Context, /, path: Path | None, **options: Any) -> None:
        if options["compare"]:
            sys.exit(whole_file().run_check(None, CheckOptions(**options)))
        options["is_live"] |= options["url"] is not None or bool(options["fields"]) or options["echo"] is not None
        if options["is_live"] and options["only"]:
            raise click.UsageError("--live looks at all sections; leave out --section", context)
        path, which = find(path or context.obj)
        if which and not options["is_quiet"]:
            click.echo(which, err=True)
        sys.exit(whole_file().run_check(path, CheckOptions(**options)))

    return check


def _public_url(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    """Check what ``--url`` says. Raises BadParameter."""
    try:
        parts = urlsplit(url or "")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        may_be_secret = "@" in parts.netloc
    except ValueError:
        is_url, may_be_secret = False, "@" in (url or "")
    if may_be_secret:  # it would be printed, and stand in --json
        raise click.BadParameter("a URL has no user and no password here; give -H 'Authorization: ...'")
    if url is not None and not is_url:
        raise click.BadParameter(f"{url!r} is no address of a page; write https://host/, with its path")
    return url


def _two_urls(
    context: click.Context, parameter: click.Parameter, urls: tuple[str, str] | None
) -> tuple[str, str] | None:
    """Check what ``--compare`` says. Raises BadParameter."""
    for url in urls or ():
        _public_url(context, parameter, url)
    return urls or None


def _echo_path(_: click.Context, __: click.Parameter, path: str | None) -> str | None:
    """Check what ``--echo`` says. Raises BadParameter."""
    if path is not None and not path.startswith("/"):
        raise click.BadParameter("a path begins with /")
    return path


def _header_fields(_: click.Context, __: click.Parameter, lines: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Take the lines of ``--header`` apart. Raises BadParameter, without the value, which may be secret."""
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not value.isprintable():
            raise click.BadParameter("a header field is written Name: value")
        fields.append((name, value.strip()))
    return tuple(fields)


@contextmanager
def mistakes_shown(which: str | None, *, is_logged: bool = False) -> Iterator[None]:
    """Print the mistakes of a config file that are raised in the ``with`` block, and end with exit code 2.

    which: the sentence that says what is read, None for none; it goes to standard error, because standard output is
    for the answer. is_logged: whether the log will say it, so that it is printed only with mistakes.
    """
    if which and not is_logged:
        click.echo(which, err=True)
    try:
        yield
    except ConfigError as error:
        fail(f"{which}\n{error}" if which and is_logged else str(error), MISTAKE)


def log_start(logger: logging.Logger, which: str | None, file: ConfigFile | None, section: str) -> None:
    """Log which file is used, and where the program's section does not fit another one."""
    if which:
        logger.info("%s", which)
    for line in warnings(file, section):
        logger.warning("%s", line)


def fail(message: str, code: int) -> NoReturn:
    """Print a message to standard error and end."""
    click.echo(message, err=True)
    sys.exit(code)


def _advised(error: click.UsageError, words: list[str]) -> click.UsageError:
    file = next((word for word in words if word.endswith((".yaml", ".yml")) and "--config" not in words), None)
    if file is None:
        return error
    message = error.message.rstrip(".")
    return click.UsageError(f"{message}. A config file is named so: --config {file}", error.ctx)
