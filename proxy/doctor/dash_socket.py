"""The area ``callbacks``: the WebSocket on which Dash carries callbacks opens for its own pages, and for no others."""

from __future__ import annotations

from urllib.parse import urlsplit

from proxy.dash.page_config import PageSocket
from proxy.doctor.dash_prefix import requested_prefix, served_prefix
from proxy.doctor.endpoint import Endpoint, Handshake
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import LOGIN, NEEDS_LOGIN, OTHER_SITE, Target


async def probe(target: Target) -> Outcome:
    """Try two handshakes where browsers connect: one of the app's own page, and one of another site's."""
    config = await target.dash_config()
    if config.websocket is None:
        raise Skipped("this Dash has no WebSocket of its own")
    endpoint = target.browser_endpoint
    requested = requested_prefix(config)
    if endpoint is target.gateway and await served_prefix(target, requested) != requested:
        raise Skipped(f"the gateway does not get the paths that pages ask for below {requested}; give --url")
    path = path_of(config.websocket, requested)
    own = await endpoint.handshake(path, origin=endpoint.origin)
    outcome = Outcome(f"{path} opens for the app's own pages" if own.is_open else "")
    if not own.is_open:
        await _refused(target, endpoint, path, own, outcome)
    other = await endpoint.handshake(path, origin=OTHER_SITE)
    if other.is_open:
        outcome.findings.append(
            target.found(
                "DW039",
                f"{path} opens for a page of {OTHER_SITE}",
                "let every proxy in front pass Origin and Host on as they come; Dash compares the two",
            )
        )
    elif own.is_open:
        outcome.seen += ", and not for those of other sites"
    return outcome


def path_of(socket: PageSocket, prefix: str) -> str:
    """Return the path of Dash's WebSocket. prefix: of the page's requests."""
    try:
        path = urlsplit(socket.url or "").path
    except ValueError:  # a page may say anything
        path = ""
    return path or f"{prefix}_dash-ws-callback"


async def _refused(target: Target, endpoint: Endpoint, path: str, own: Handshake, outcome: Outcome) -> None:
    """Find out why the app's own page is refused."""
    if own.status in LOGIN:
        raise Skipped(f"{path} answers {own.status}: {NEEDS_LOGIN}")
    if own.status != 403:
        seen = f"{path} answers a WebSocket handshake with {own.kind}"
        fix = (
            "Dash's server cannot speak WebSocket: pip install 'uvicorn[standard]'"
            if not (await _without_gateway(target, path)).is_open
            else "let every proxy in front pass Upgrade and Connection on"
        )
        outcome.findings.append(target.found("DW040", seen, fix))
        return
    if not (await _without_gateway(target, path)).is_open:
        raise Skipped(f"Dash itself answers {path} with 403: it wants a login, or knows no such path")
    outcome.findings.append(
        target.found(
            "DW038",
            f"{path} answers the app's own page at {endpoint.origin} with 403, and opens without the gateway",
            "let every proxy in front pass Host on as it comes (nginx: proxy_set_header Host $http_host), or name "
            "the site in dash.Dash(websocket_allowed_origins=[...])",
        )
    )


async def _without_gateway(target: Target, path: str) -> Handshake:
    return await target.dash.handshake(path, origin=target.dash.origin)
