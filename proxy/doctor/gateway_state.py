"""The area ``gateway``: what the gateway itself says of its upstreams, and whether it can hand sockets over."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import aiohttp

from proxy.doctor.endpoint import Endpoint
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.programs import problem, reason
from proxy.doctor.target import Target

_PAUSE = 0.2
"""Seconds between two requests, while an upstream may have come up a moment ago."""

_TARGET = re.compile(r"/[!-~]{0,2047}")

_SLACK = 1.0
"""Seconds more than the gateway takes to ask an upstream once."""


async def probe(target: Target) -> Outcome:
    """Ask the admin listener, and look for the socket file of the service.

    Where the config does not say at which address clients connect (``listen: systemd``, port 0), it does.

    What has just come up gets the time that the gateway needs to find it, and a gateway that has just started the time
    to ask.
    """
    if target.gateway is not None and target.gateway not in target.reachable:
        raise Skipped("the gateway cannot be reached")
    handoff = _handoff(target)
    if target.admin is None:
        if not handoff:
            raise Skipped("admin is off, so the gateway says nothing of itself")
        return Outcome("admin is off", handoff)
    try:
        state = await _readiness(target.admin)
    except aiohttp.ClientConnectorError as error:
        return Outcome(findings=[_silent(target, target.admin, reason(error)), *handoff])
    if target.gateway is None:
        await _take_address(target, state)
    health, loop = target.settings.health, asyncio.get_running_loop()
    until = loop.time() + (health.interval + health.timeout + _SLACK if health.interval else 0)
    while any(_in_states(target, state, "unreachable", "unknown")) and loop.time() < until:
        await asyncio.sleep(min(_PAUSE, max(0, until - loop.time())))
        state = await _readiness(target.admin)
    wrong = _in_states(target, state, "unreachable")
    target.told_page = _page(state)
    return Outcome(
        f"the gateway is {state.get('state', 'unknown')}", [_not_reached(target, *one) for one in wrong] + handoff
    )


def _page(state: dict[str, Any]) -> str | None:
    """Return where the gateway has found Dash's page: without a prefix in the config, nothing else says it."""
    dash = state.get("dash")
    page = dash.get("page") if isinstance(dash, dict) else None
    return page if isinstance(page, str) and _TARGET.fullmatch(page) else None


def _silent(target: Target, admin: Endpoint, why: str) -> Finding:
    """Return the finding that the admin listener takes no connection: the gateway does not run, or not by this file."""
    seen = f"the gateway cannot be asked at {admin.address}: {why}"
    if target.gateway is None and target.public not in target.reachable:
        fix = "start it; under systemd its socket unit and its service"
        return target.found("DW020", seen, fix, ("gateway", "admin"))
    fix = "it takes connections of clients, so it runs by another file; or admin has changed, which takes a restart"
    return target.found("DW019", seen, fix, ("gateway", "admin"))


async def _take_address(target: Target, state: dict[str, Any]) -> None:
    """Take the first address at which the gateway says that clients connect, and that takes a connection.

    It is of this host: another program may answer at admin, and what a client that is logged in sends goes there.
    """
    named = state.get("listen")
    for address in named if isinstance(named, list) else ():
        if not isinstance(address, str) or not address.startswith(("http://", "https://", "unix:/")):
            continue
        try:
            endpoint = Endpoint("gateway", address, fields=target.fields)
        except ValueError:  # no port
            continue
        if endpoint.is_of_this_host and not await problem(endpoint):
            target.gateway = endpoint
            target.reachable.add(endpoint)
            return


def _in_states(target: Target, state: dict[str, Any], *states: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each address, with the name of its upstream, that is in one of these states though the program runs.

    One that does not run is the area ``programs``, and one that is degraded the area ``health``.
    """
    for name, upstream in state["upstreams"].items():
        known = target.upstreams.get(name, ())
        is_down = {endpoint.address for endpoint in known if endpoint not in target.reachable}
        for about in upstream.get("addresses", ()):
            if about.get("state") in states and about.get("url") not in is_down:
                yield name, about


def _not_reached(target: Target, name: str, about: dict[str, Any]) -> Finding:
    url, why = about["url"], f": {about['why']}" if about.get("why") else ""
    seen = f"for the gateway {name} at {url} is unreachable{why}"
    if any(endpoint.address == url for endpoint in target.upstreams.get(name, ())):
        fix = "this check reaches it; does the gateway run on another host, or as another user? see its log"
    else:
        fix = (
            "the file names another address: the gateway runs by another file, or has not read this one again (SIGHUP)"
        )
    return target.found("DW025", seen, fix, ("gateway", "upstreams", name))


async def _readiness(admin: Endpoint) -> dict[str, Any]:
    answer = await admin.ask("/readyz")
    try:
        values = json.loads(answer.text)
    except (ValueError, RecursionError):
        values = None
    if not _is_of_a_gateway(values):
        raise Skipped(f"{admin.address}/readyz answers {answer.status}, and not as a gateway does")
    checked: dict[str, Any] = values
    return checked


def _is_of_a_gateway(values: Any) -> bool:
    """Tell whether values have the form that is read here; another program may listen at ``admin``."""
    upstreams = values.get("upstreams") if isinstance(values, dict) else None
    if not isinstance(upstreams, dict) or not all(isinstance(upstream, dict) for upstream in upstreams.values()):
        return False
    addresses = [upstream.get("addresses", []) for upstream in upstreams.values()]
    return all(isinstance(several, list) and all(map(_is_address, several)) for several in addresses)


def _is_address(about: Any) -> bool:
    return isinstance(about, dict) and isinstance(about.get("url"), str)


def _handoff(target: Target) -> list[Finding]:
    """Say that every socket is tunnelled though the service runs on this host."""
    named = [one.handoff for one in target.settings.addresses_of("ws") if one.handoff is not None]
    path = next((file for each in named if not (file := target.folder / each).exists()), None)
    is_off = target.service.handoff == "off"
    if path is None or is_off or target.ws not in target.reachable:
        return []
    if not target.ws.is_of_this_host:
        return []
    seen = f"there is no socket file {path}, so each WebSocket is tunnelled"
    fix = "start dash-ws-service by the same file; or write handoff: off, if another server is meant to answer at ws"
    return [target.found("DW026", seen, fix, ("gateway", "handoff"))]
