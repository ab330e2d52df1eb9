"""Whether the programs run: the gateway, Dash and the WebSocket service take connections at their addresses."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from proxy.doctor.endpoint import Endpoint
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
    outcome.seen = ", ".join(seen)
    return outcome


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
