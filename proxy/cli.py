"""The command line: serve, ``check`` the configuration, ``explain`` a request."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import click

from proxy.config import ConfigError, Objection, Settings, dump, load_settings
from proxy.errors import ClientError, ListenError, TlsError
from proxy.guards import Guards
from proxy.headers import Head, Peer
from proxy.log_writer import LogHandler, LogWriter
from proxy.preflight import objections
from proxy.routing import Forward, Refuse, Upgrade, decide, make_table
from proxy.server import serve
from proxy.tls import Contexts

_STDERR = 2

_LAST_LINES = 1.0
"""Seconds for the last lines of the log to be written."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_EXAMPLE_KEY = b"ZGFzaC13cy1wcm94eS1leA=="

_config_option = click.option(
    "--config", "path", type=click.Path(path_type=Path), help="The config file. Without it: every default."
)


@click.group(invoke_without_command=True)
@_config_option
@click.option("--print-config", is_flag=True, help="Print every setting with its value, and stop.")
@click.version_option(package_name="dash-ws-proxy")
@click.pass_context
def main(context: click.Context, path: Path | None, print_config: bool) -> None:
    """One port in front of a Dash server: WebSockets to their own service, the rest to Dash."""
    context.obj = path
    if context.invoked_subcommand is not None:
        return
    if print_config:
        click.echo(dump("gateway", _settings(path)), nl=False)
        return
    contexts = Contexts()
    settings = _settings(path, partial(objections, contexts=contexts))
    folder = path.absolute().parent if path is not None else Path.cwd()
    read_again = partial(_read_again, path) if path is not None else None
    try:
        with _logging(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, folder, read_again, contexts))
    except (ListenError, TlsError) as error:
        click.echo(f"dash-ws-proxy: {error}", err=True)
        sys.exit(1)


@main.command()
@_config_option
@click.pass_context
def check(context: click.Context, path: Path | None) -> None:
    """Check the configuration; every mistake is named at once."""
    path = path or context.obj
    _settings(path, objections)
    click.echo(f"{path or 'the defaults'}: no mistakes in the gateway's section")


@main.command()
@click.argument("method")
@click.argument("url")
@_config_option
@click.option("--header", "-H", "lines", multiple=True, help='A header field, "Name: value". May be repeated.')
@click.pass_context
def explain(context: click.Context, method: str, url: str, path: Path | None, lines: tuple[str, ...]) -> None:
    """Print where a request would go, and by which rule. A ws:// or wss:// URL is a WebSocket handshake."""
    settings = _settings(path or context.obj)
    head = _head(method, url, lines)
    table = make_table(settings)
    decision = decide(head, table, Peer("-", "https" if settings.tls else "http"))
    try:
        if isinstance(decision, Refuse):
            raise decision.error
        guard = Guards(settings.auth).guard(decision.target, head.get(b"host") or b"")
    except ClientError as error:
        click.echo(f"refused with {error.status}: {error.message}")
        return
    way = "forward" if isinstance(decision, Forward) else "tunnel"
    if way == "tunnel" and decision.upstream == "ws" and settings.handoff != "off":
        way = f"hand over to ws through {settings.handoff}, or tunnel"
    address = getattr(settings.upstreams, decision.upstream)
    asked = f", once {guard.ask} on dash answers 2xx ({guard.name})" if guard else ""
    judge = ""
    if isinstance(decision, Upgrade):
        is_dashs = table.leaves_origin_to_dash(decision.upstream, decision.target)
        judge = "; whose pages may open it is for Dash to say" if is_dashs else ""
    click.echo(f"{way} to {decision.upstream} at {address}, by the rule {decision.route!r}{asked}{judge}")


def _head(method: str, url: str, lines: tuple[str, ...]) -> Head:
    try:
        parts = urlsplit(url if _URL.match(url) else f"http://localhost/{url.lstrip('/')}")
    except ValueError as error:
        raise click.BadParameter(f"{url!r} is not a URL: {error}", param_hint="URL") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = [(b"Host", parts.netloc.encode())]
    if parts.scheme in ("ws", "wss"):
        fields += [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Version", b"13"),
            (b"Sec-WebSocket-Key", _EXAMPLE_KEY),
        ]
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise click.BadParameter(f"{line!r} is not a header field; write Name: value", param_hint="--header")
        fields = [field for field in fields if field[0].lower() != name.strip().lower().encode()]
        fields.append((name.strip().encode(), value.strip().encode()))
    return Head(method.upper(), target, (1, 1), tuple(fields))


def _settings(path: Path | None, check: Callable[[Settings], Iterable[Objection]] = lambda _: ()) -> Settings:
    try:
        return load_settings(path, check=check)
    except ConfigError as error:
        click.echo(error, err=True)
        sys.exit(2)


def _read_again(path: Path) -> tuple[Settings, Contexts]:
    """Read and check a file while the gateway runs. Raises ConfigError."""
    contexts = Contexts()
    return load_settings(path, check=partial(objections, contexts=contexts)), contexts


@contextmanager
def _logging() -> Iterator[None]:
    """Write the log to standard error, and never wait for whoever reads it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed by whoever started us: a client's socket must not get its number
            os.open(os.devnull, os.O_RDWR)
    writer = LogWriter(_STDERR, "this log")
    logging.basicConfig(level=logging.INFO, handlers=[LogHandler(writer)])
    try:
        yield
    finally:
        writer.close(_LAST_LINES)


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop
