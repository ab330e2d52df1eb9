"""The area ``sockets``: handshakes for the WebSocket service reach it, and those of other sites are refused."""

from __future__ import annotations

from proxy.doctor.dash_prefix import requested_prefix
from proxy.doctor.endpoint import Endpoint, Handshake
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.target import LOGIN, NEEDS_LOGIN, OTHER_SITE, Target
from ws_service.hub.paths import WEBSOCKET

HUB = WEBSOCKET.removeprefix("/")
"""The path of the hub, below the prefix of the page."""

NO_ENDPOINT = "dash-ws-proxy-check"
"""A path that no app has. A handshake for it is refused by the service, and not answered with a page."""

_OTHERS_FIX = "write the sites that may in gateway.origins, and let every proxy in front pass Origin on as it comes"


async def probe(target: Target) -> Outcome:
    """Try handshakes where browsers connect."""
    endpoint = target.browser_endpoint
    outcome = Outcome()
    prefix = await prefix_of(target)
    await _routes_to_dash(target, endpoint, outcome)
    if target.ws not in target.reachable:
        if not outcome.findings:
            raise Skipped("the WebSocket service cannot be reached")
        return outcome
    if target.has_hub:
        await _hub(target, endpoint, prefix + HUB, outcome)
    else:
        await _no_endpoint(target, endpoint, prefix + NO_ENDPOINT, outcome)
    if not outcome.seen and not outcome.findings:
        raise Skipped(f"{prefix}{HUB}: {NEEDS_LOGIN}")
    return outcome


async def prefix_of(target: Target) -> str:
    """Return the prefix of the page, from which its WebSockets start; the one of the config where no page was read."""
    try:
        return requested_prefix(await target.dash_config())
    except Skipped:
        return target.page_path


async def _hub(target: Target, endpoint: Endpoint, path: str, outcome: Outcome) -> None:
    origin = target.own_origin(endpoint)
    own = await endpoint.handshake(path, origin=origin)
    if own.is_open:
        outcome.seen = f"the hub opens at {path}"
    elif _is_page(own):
        outcome.findings.append(_page_in_place(target, endpoint, path))
        return
    elif own.status not in LOGIN:
        seen = f"{path} answers a handshake of {origin} with {own.status}"
        fix, key = _advice(own.status)
        outcome.findings.append(target.found("DW042", seen, fix, ("gateway", key)))
    if (await endpoint.handshake(path, origin=OTHER_SITE)).is_open:
        seen = f"{path} opens for a page of {OTHER_SITE}"
        outcome.findings.append(target.found("DW043", seen, _OTHERS_FIX, ("gateway", "origins")))


def _advice(status: int) -> tuple[str, str]:
    """Return what to do about a refusal of the app's own page, and the setting that it is about."""
    if status == 403:
        return "let every proxy in front pass Host and Origin on as they come; or name the site in origins", "origins"
    return "see whether a rule of routes sends this path elsewhere, and what the service logs", "routes"


async def _no_endpoint(target: Target, endpoint: Endpoint, path: str, outcome: Outcome) -> None:
    """Try a path that no app has: what the service refuses has arrived, and what the gateway refuses has not."""
    origin = target.own_origin(endpoint)
    own = await endpoint.handshake(path, origin=origin)
    if _is_page(own):
        outcome.findings.append(_page_in_place(target, endpoint, path))
        return
    if own.status in LOGIN:
        return
    outcome.seen = "handshakes reach the WebSocket service"
    alone = (await target.ws.handshake(path, origin=origin)).status
    if alone == 403:  # so the two cannot be told apart
        return
    if own.status == 403:
        fix, key = _advice(403)
        seen = f"a handshake of {origin} is answered with 403, and the service itself answers {alone}"
        outcome.findings.append(target.found("DW066", seen, fix, ("gateway", key)))
    if (await endpoint.handshake(path, origin=OTHER_SITE)).status == alone:
        seen = f"a handshake of {OTHER_SITE} reaches the service"
        outcome.findings.append(target.found("DW043", seen, _OTHERS_FIX, ("gateway", "origins")))


async def _routes_to_dash(target: Target, endpoint: Endpoint, outcome: Outcome) -> None:
    """Try each route that sends a path to Dash: HTTP goes there anyway, so it is for WebSockets."""
    for number, route in enumerate(target.settings.routes):
        if route.to != "dash" or route.path is None or route.host or route.subprotocol:
            continue
        answer = await endpoint.handshake(route.path, origin=target.own_origin(endpoint))
        key = ("gateway", "routes", number)
        fix = "send it to the service that has the endpoint, to: ws; or leave the route out"
        if _is_page(answer):
            seen = f"a handshake for {route.path} goes to Dash, and gets 200 text/html: its page for any path"
            outcome.findings.append(target.found("DW041", seen, fix, key))
        elif answer.status in (400, 404) or answer.status >= 500:  # Werkzeug answers 400 to a handshake
            seen = f"a handshake for {route.path} goes to Dash, and gets {answer.status}"
            outcome.findings.append(target.found("DW044", seen, fix, key))


def _page_in_place(target: Target, endpoint: Endpoint, path: str) -> Finding:
    """Return the finding that a handshake for the service got a page: on the way it lost what makes it one."""
    seen = f"a handshake for {path} at {endpoint.origin} gets 200 text/html: a page, and no WebSocket"
    if endpoint is not target.public:
        return target.found("DW041", seen, "see which rule of routes sends this path to Dash", ("gateway", "routes"))
    fix = (
        "let the proxy in front pass the handshake on: nginx: proxy_http_version 1.1; proxy_set_header Upgrade "
        "$http_upgrade; proxy_set_header Connection $connection_upgrade"
    )
    return target.found("DW041", seen, fix)


def _is_page(answer: Handshake) -> bool:
    return answer.status == 200 and answer.content_type == "text/html"
