"""Whether the programs run: the gateway, Dash and the WebSocket service take connections at their addresses."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

from proxy.doctor.endpoint import Endpoint
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome
from proxy.doctor.target import DEFAULTS, Target
from ws_service.config.yaml_text import KeyPath

CONNECT = 5.0
"""Seconds to take a connection."""

_PROGRAMS = {"dash": ("Dash", "DW021"), "ws": ("the WebSocket service", "DW022")}
"""How the upstreams are called that every config has, and what it is when they do not run."""


async def probe(target: Target) -> Outcome:
    """Ask each program once; those that answer are ``target.reachable`` for the areas that follow."""
    outcome, seen = Outcome(), []
    config = "" if target.source == DEFAULTS else f" --config {target.source}"
    if target.gateway is not None:
        why = await problem(target.gateway)
        if why:
            text = f"the gateway cannot be reached at {target.gateway.address}: {why}"
            fix = f"start it: dash-ws-proxy{config}"
            outcome.findings.append(target.found("DW020", text, fix, ("gateway", "listen")))
        else:
            target.reachable.add(target.gateway)
            seen.append(f"the gateway at {target.gateway.address}")
    for upstream in target.upstreams:
        seen += await _of_upstream(target, upstream, config, outcome)
    if target.public is not None:
        outcome.findings += await _of_public(target, target.public)
    outcome.seen = ", ".join(seen)
    return outcome


async def _of_upstream(target: Target, upstream: str, config: str, outcome: Outcome) -> list[str]:
    """Ask each address of an upstream; the first that answers is the one that other areas ask. Returns what was seen.

    upstream: its name in the config. config: the option of command lines.
    """
    endpoints, seen = target.upstreams[upstream], []
    name, identifier = _PROGRAMS.get(upstream, (upstream, "DW028"))
    problems = {endpoint: await problem(endpoint) for endpoint in endpoints}
    target.reachable |= {endpoint for endpoint, why in problems.items() if not why}
    is_down = all(problems.values())
    for number, (endpoint, why) in enumerate(problems.items()):
        if not why:
            seen.append(f"{name} at {endpoint.address}")
            continue
        text = f"{name} cannot be reached at {endpoint.address}: {why}"
        key: KeyPath = ("gateway", "upstreams", upstream)
        key = (*key, number) if len(endpoints) > 1 else key
        start = f"start it: dash-ws-service{config}" if upstream == "ws" else "start it there"
        fix = f"{start}; or write where it listens"
        outcome.findings.append(target.found(identifier if is_down else "DW027", text, fix, key))
    first = next((endpoint for endpoint in endpoints if endpoint in target.reachable), endpoints[0])
    if upstream == "dash":
        target.dash = first
    elif upstream == "ws":
        target.ws = first
    return seen


async def _of_public(target: Target, public: Endpoint) -> list[Finding]:
    """Ask the public address for its page: its certificate is checked, as a browser does."""
    if await _is_one_of(public, target.upstreams["dash"]):
        seen = f"{public.origin} is Dash itself, without the gateway"
        fix = "give the address that browsers are to use; does a proxy there, or its name, lead to Dash?"
        return [target.found("DW023", seen, fix)]
    try:
        answer = (await target.page(public)).answer
    except aiohttp.ClientConnectorCertificateError as error:
        why = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        seen = f"the certificate of {public.origin} is not trusted: {why.rstrip('.')}"
        fix = "check its name, its end and its chain; a browser must not have to be told to go on"
        return [target.found("DW024", seen, fix)]
    except (aiohttp.ClientError, OSError) as error:
        seen = f"{public.origin} cannot be reached: {reason(error)}"
        return [target.found("DW023", seen, "is the address right, and does the proxy there run?")]
    if answer.status in (502, 503, 504):
        seen = f"{public.origin} answers {answer.status}"
        return [target.found("DW023", seen, "the proxy there does not reach the gateway: see its log")]
    target.reachable.add(public)
    return []


async def _is_one_of(public: Endpoint, others: Sequence[Endpoint]) -> bool:
    """Tell whether an address leads to where one of others does: to the same port of the same address."""
    same_port = [other for other in others if not other.is_unix and other.port == public.port]
    own = await _addresses(public) if same_port else set()
    return any([own & await _addresses(other) for other in same_port])


async def _addresses(endpoint: Endpoint) -> set[str]:
    """Return the IP addresses of an endpoint's host; none where it cannot be looked up."""
    try:
        async with asyncio.timeout(CONNECT):
            found = await asyncio.get_running_loop().getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(address[0]) for *_, address in found}


async def problem(endpoint: Endpoint) -> str:
    """Return why an address takes no connection; empty where it does.

    Without a request: the gateway would hold it until its upstream answers.
    """
    try:
        async with asyncio.timeout(CONNECT):
            if endpoint.is_unix:
                _, writer = await asyncio.open_unix_connection(endpoint.address[5:])
            else:
                _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except TimeoutError:
        return f"it takes no connection within {CONNECT:g} s"
    except OSError as error:
        return reason(error)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return ""


def reason(error: Exception) -> str:
    """Return what an error says, without the frame of asyncio or aiohttp around it."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, socket.gaierror):  # its numbers are none of errno's
        return f"its name cannot be looked up ({(inner.strerror or str(inner)).lower()})"
    if isinstance(inner, OSError) and inner.errno:
        return os.strerror(inner.errno).lower()
    return str(error) or type(error).__name__
