"""The command line: serve, ``check`` the configuration, ``explain`` a request, ``healthcheck``.

Exit codes: 0 stopped by a signal, no mistakes, or well; 1 it cannot listen, or is not well; 2 a mistake in the config
file or in the command line.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import click

from proxy.access.auth_rules import AuthRules
from proxy.config import NAME, Settings, UpstreamAddress, load_settings
from proxy.dash.facts import DASH_SOCKET, UNKNOWN, DashFacts, summary
from proxy.doctor.healthcheck import ask_health
from proxy.errors import ClientError, ListenError, TlsError
from proxy.gateway.routing import Forward, Refuse, Upgrade, decide, make_table
from proxy.http1.chunked import ProtocolError
from proxy.http1.forwarded import ForwardedReader
from proxy.http1.head_checks import HeadLimits
from proxy.http1.headers import Head
from proxy.http1.request_reader import RequestReader
from proxy.init.command import init
from proxy.net.peer import Peer
from proxy.net.tls_files import TlsFiles
from proxy.server.dash_watch import ask_once
from proxy.server.run import serve
from proxy.server.startup_checks import objections
from proxy.status.service_key import find_service_key
from ws_service.command_line import (
    CANNOT_LISTEN,
    WholeFile,
    config_option,
    fail,
    log_start,
    mistakes_shown,
    program,
)
from ws_service.config.file import ConfigFile, find, folder_of
from ws_service.logs.log_writer import LogHandler, standard_error

logger = logging.getLogger("proxy")

UNHEALTHY = 1
"""Exit code of ``healthcheck``; Docker keeps 2 for itself."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AUTHORITY = re.compile(r"[^/?#]+:[0-9]+(?:[/?#]|$)")
"""A host and a port, a URL without its scheme."""

_EXAMPLE_KEY = b"ZGFzaC13cy1wcm94eS1leA=="


def _whole_file() -> WholeFile:
    import proxy.check_command  # here: a gateway that serves needs no probes

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
    tls_files = TlsFiles()
    with mistakes_shown(which, is_logged=True):
        file = _read(path)
        settings = load_settings(file, check=partial(objections, tls_files=tls_files))
    read_again = partial(_read_again, path) if path is not None else None
    try:
        with standard_error() as writer, asyncio.Runner(loop_factory=_loop_factory()) as runner:
            logging.basicConfig(level=logging.INFO, handlers=[LogHandler(writer, "%(levelname)s %(message)s")])
            log_start(logger, which, file, NAME)
            runner.run(serve(settings, folder_of(path), read_again, tls_files, partial(find_service_key, path)))
    except (ListenError, TlsError) as error:
        fail(f"dash-ws-proxy: {error}", CANNOT_LISTEN)


main.add_command(init)


@main.command()
@click.argument("words", nargs=-1, metavar="[METHOD] URL")
@config_option
@click.option("--header", "-H", "lines", multiple=True, help='A header field, "Name: value". May be repeated.')
@click.pass_context
def explain(context: click.Context, words: tuple[str, ...], path: Path | None, lines: tuple[str, ...]) -> None:
    """Print where a request would go, and by which rule. METHOD is GET where it is left out.

    A ws:// or wss:// URL is a WebSocket handshake. It reads the gateway's section alone, and connects to no upstream;
    only Dash's own WebSocket depends on Dash, which is asked then.
    """
    method, url = _method_and_url(words)
    path, which = find(path or context.obj)
    with mistakes_shown(which or f"using {path}"):
        settings = load_settings(path)
    reader = RequestReader(HeadLimits.of(settings.limits))
    try:
        reader.feed(_head(method, url, lines))
    except ProtocolError as error:
        click.echo(f"refused with {error.status}: {error}")
        return
    head = reader.head
    assert head is not None
    facts = _facts(settings, head.target)
    click.echo(_decided(settings, head, facts))
    if facts != UNKNOWN:
        click.echo(summary(facts, settings.dash_prefix, settings.timeouts.tunnel_idle))


def _decided(settings: Settings, head: Head, facts: DashFacts) -> str:
    """Return where a request would go, in a line."""
    table = make_table(settings, facts)
    asked = ForwardedReader(settings.trusted_proxies).read(head, Peer("-", "https" if settings.tls else "http"))
    decision = decide(head, table, asked)
    try:
        if isinstance(decision, Refuse):
            raise decision.error
        rule = AuthRules(settings.auth).rule_for(decision.target, head.get(b"host") or b"")
    except ClientError as error:
        return f"refused with {error.status}: {error.message}"
    way = _way(settings.addresses_of(decision.upstream), decision)
    once = f", once {rule.ask} on dash answers 2xx ({rule.name})" if rule else ""
    is_dash_origin = isinstance(decision, Upgrade) and table.leaves_origin_to_dash(decision.upstream, decision.target)
    judge = "; Dash checks the origin" if is_dash_origin else ""
    return f"{way}, by the rule {decision.route!r}{once}{judge}"


def _facts(settings: Settings, target: str) -> DashFacts:
    """Return what is known of Dash; nothing where the decision cannot depend on it."""
    if DASH_SOCKET not in target:
        return UNKNOWN
    logger.addHandler(logging.NullHandler())  # that Dash cannot be reached is said once, in the answer
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(ask_once(settings, target))


def _way(addresses: Sequence[UpstreamAddress], decision: Forward | Upgrade) -> str:
    """Return how a request goes to its upstream, and to which address."""
    name, urls = decision.upstream, " or ".join(address.url for address in addresses)
    if len(addresses) > 1:
        urls += f", whichever has the fewest {'under way' if isinstance(decision, Forward) else 'sockets'}"
    if isinstance(decision, Forward):
        return f"forward to {name} at {urls}"
    through = [f"{one.handoff} for {one.url}" for one in addresses if one.handoff is not None]
    if not through:
        return f"tunnel to {name} at {urls}"
    if len(addresses) == 1:
        return f"hand over to ws through {addresses[0].handoff}, or tunnel to {name} at {urls}"
    return f"hand over to ws through {', '.join(through)}, or tunnel to {name} at {urls}"


@main.command()
@config_option
@click.option("--ready", "is_readiness", is_flag=True, help="Whether it takes new clients, and not only lives.")
@click.pass_context
def healthcheck(context: click.Context, path: Path | None, is_readiness: bool) -> None:
    """Ask gateway.admin whether the gateway is well, for HEALTHCHECK lines. Exit code 0: it is; 1: it is not."""
    path, which = find(path or context.obj)
    with mistakes_shown(which, is_logged=True):
        settings = load_settings(path)
    is_well, message = ask_health(settings, is_readiness=is_readiness)
    click.echo(message)
    sys.exit(0 if is_well else UNHEALTHY)


def _method_and_url(words: tuple[str, ...]) -> tuple[str, str]:
    """Tell the words of ``explain`` apart: a URL, or a method and a URL."""
    if len(words) == 1 and not words[0].isupper():
        return "GET", words[0]
    if len(words) == 2 and "/" not in words[0]:
        return words[0], words[1]
    raise click.UsageError("write a URL, or a method and a URL: explain ws://localhost/live, explain POST /upload")


def _head(method: str, url: str, lines: tuple[str, ...]) -> bytes:
    """Return the head of a request as a client would send it."""
    try:
        if not _URL.match(url):
            url = f"http://{url}" if _AUTHORITY.match(url) else f"http://localhost/{url.lstrip('/')}"
        parts = urlsplit(url)
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
    first = f"{method.upper()} {target} HTTP/1.1\r\n".encode()
    return first + b"".join([b"%b: %b\r\n" % field for field in fields]) + b"\r\n"


def _read(path: Path | None) -> ConfigFile | None:
    return None if path is None else ConfigFile(path, {NAME: Settings})


def _read_again(path: Path) -> tuple[Settings, TlsFiles]:
    """Read and check a file while the gateway runs. Raises ConfigError."""
    file, tls_files = _read(path), TlsFiles()
    settings = load_settings(file, check=partial(objections, tls_files=tls_files))
    log_start(logger, None, file, NAME)
    return settings, tls_files


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop
