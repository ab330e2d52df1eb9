"""The command ``dash-ws-proxy explain``: where a request would go, and by which rule."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from proxy.access.auth_rules import AuthRules
from proxy.config import Settings, UpstreamAddress, load_settings
from proxy.dash.facts import DASH_SOCKET, UNKNOWN, DashFacts, summary
from proxy.errors import ClientError
from proxy.gateway.routing import Forward, Refuse, Upgrade, decide, make_table
from proxy.http1.chunked import ProtocolError
from proxy.http1.forwarded import ForwardedReader
from proxy.http1.head_checks import HeadLimits
from proxy.http1.headers import Head
from proxy.http1.request_reader import RequestReader
from proxy.net.peer import Peer
from proxy.server.dash_watch import ask_once
from proxy.server.run import loop_factory
from ws_service.command_line import Command, config_option, mistakes_shown
from ws_service.config.file import find

logger = logging.getLogger("proxy")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AUTHORITY = re.compile(r"[^/?#]+:[0-9]+(?:[/?#]|$)")
"""A host and a port, a URL without its scheme."""

_EXAMPLE_KEY = b"ZGFzaC13cy1wcm94eS1leA=="


@click.command("explain", cls=Command)
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
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
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
