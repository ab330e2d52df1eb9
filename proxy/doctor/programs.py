"""Whether the programs run: the gateway, Dash and the WebSocket service take connections at their addresses."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import aiohttp

from proxy.doctor.endpoint import Endpoint
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Outcome
from proxy.doctor.target import Target

CONNECT = 5.0
"""Seconds to take a connection."""


async def probe(target: Target) -> Outcome:
    """Ask each program once; those that answer are ``target.reachable`` for the areas that follow."""
    outcome, seen = Outcome(), []
    config = "" if target.source.startswith("the ") else f" --config {target.source}"
    asked = (
        ("DW020", "the gateway", target.gateway, ("gateway", "listen"), f"start it: dash-ws-proxy{config}"),
        ("DW021", "Dash", target.dash, ("gateway", "upstreams", "dash"), "start Dash there, or write where it listens"),
        (
            "DW022",
            "the WebSocket service",
            target.ws,
            ("gateway", "upstreams", "ws"),
            f"start it: dash-ws-service{config}; or write where it listens",
        ),
    )
    for identifier, name, endpoint, key, fix in asked:
        if endpoint is None:
            continue
        why = await _problem(endpoint)
        if why:
            outcome.findings.append(
                target.found(identifier, f"{name} cannot be reached at {endpoint.address}: {why}", fix, key)
            )
        else:
            target.reachable.add(endpoint)
            seen.append(f"{name} at {endpoint.address}")
    if target.public is not None:
        outcome.findings += await _of_public(target, target.public)
    outcome.seen = ", ".join(seen)
    return outcome


async def _of_public(target: Target, public: Endpoint) -> list[Finding]:
    """Ask the public address for its page: its certificate is checked, as a browser does."""
    try:
        answer = (await target.page(public)).answer
    except aiohttp.ClientConnectorCertificateError as error:
        seen = f"the certificate of {public.origin} is not trusted: {error.certificate_error}"
        fix = "check its name, its end and its chain; a browser must not have to be told to go on"
        return [target.found("DW024", seen, fix)]
    except (aiohttp.ClientError, OSError) as error:
        why = str(error) or type(error).__name__
        return [target.found("DW023", f"{public.origin} cannot be reached: {why}", "check --url, and the proxy there")]
    if answer.status in (502, 503, 504):
        seen = f"{public.origin} answers {answer.status}"
        return [target.found("DW023", seen, "the proxy there does not reach the gateway: see its log")]
    target.reachable.add(public)
    return []


async def _problem(endpoint: Endpoint) -> str:
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
        return (os.strerror(error.errno) if error.errno else str(error)).lower()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return ""
