"""Run the probes of a set-up, one area after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from proxy.doctor import (
    dash_page,
    dash_prefix,
    dash_socket,
    dash_workers,
    event_stream,
    forward_auth,
    gateway_state,
    health_paths,
    idle,
    links,
    messages,
    page_scripts,
    programs,
    service_hubs,
    sockets,
)
from proxy.doctor.probe import Area, Outcome, Skipped
from proxy.doctor.target import Target

AREAS: Sequence[Area] = (
    Area("programs", "whether the programs run", programs.probe),
    Area("gateway", "what the gateway says of its upstreams", gateway_state.probe),
    Area("dash", "what Dash's page says, and known faults of its version", dash_page.probe),
    Area("prefix", "whether pages get what they ask for", dash_prefix.probe),
    Area("callbacks", "whether Dash's own WebSocket opens for its pages alone", dash_socket.probe),
    Area("sockets", "whether WebSocket handshakes reach the service", sockets.probe),
    Area("scripts", "whether scripts find their WebSockets from other machines", page_scripts.probe),
    Area("idle", "whether an idle WebSocket stays open at the public URL", idle.probe, deadline=None, is_beside=True),
    Area("messages", "whether WebSockets carry everything as without proxies", messages.probe, deadline=120),
    Area("events", "whether server-sent events come when they are sent", event_stream.probe),
    Area("links", "whether the app knows the scheme and the host that browsers use", links.probe),
    Area("workers", "whether all processes of Dash are the same app", dash_workers.probe),
    Area("hubs", "whether all WebSocket services are one hub", service_hubs.probe),
    Area("auth", "whether forward authentication sees the cookie", forward_auth.probe),
    Area("health", "whether health paths tell what they are for", health_paths.probe),
)
"""In the order in which they are probed: later ones use what earlier ones found out."""


async def examine(
    target: Target, areas: Sequence[Area], begin: Callable[[Area], None], end: Callable[[Area, Outcome], None]
) -> None:
    """Probe each area.

    begin, end: called before and after each area, the second with what was seen. Cancelling ends the probe that runs.
    """
    loop = asyncio.get_running_loop()
    beside: list[tuple[Area, asyncio.Task[Outcome]]] = []
    async with target.opened():
        try:
            for area in areas:
                if area.is_beside:
                    beside.append((area, loop.create_task(_outcome(area, target), name=f"check: {area.name}")))
                    continue
                begin(area)
                end(area, await _outcome(area, target))
            for area, task in beside:
                begin(area)
                end(area, await task)
        finally:
            for _, task in beside:
                task.cancel()
            await asyncio.gather(*(task for _, task in beside), return_exceptions=True)


async def _outcome(area: Area, target: Target) -> Outcome:
    try:
        async with asyncio.timeout(area.deadline):
            return await area.probe(target)
    except Skipped as reason:
        return Outcome(str(reason), is_skipped=True)
    except TimeoutError:
        why = "no answer in time" if area.deadline is None else f"no answer within {area.deadline:g} s"
    except (aiohttp.ClientError, OSError) as error:
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    seen = f"the probe of {area.name} was not finished: {why}"
    return Outcome(findings=[target.found("DW019", seen, "repair what is above it, and try again")])
