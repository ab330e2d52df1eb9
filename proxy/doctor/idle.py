"""The area ``idle``: whether a WebSocket on which nothing happens stays open, through the proxies in front."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from proxy.doctor.dash_prefix import requested_prefix
from proxy.doctor.dash_socket import path_of
from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.sockets import HUB, prefix_of
from proxy.doctor.target import Target, why_refused

_HUB_CONNECT = json.dumps({"id": 1, "connect": {}})
_HUB_PING = "{}"


async def probe(target: Target) -> Outcome:
    """Keep a WebSocket open at the public address; pings of the server are answered, as browsers do."""
    if target.public is None:
        raise Skipped("the way through the proxies in front is asked with --url")
    if not target.idle:
        raise Skipped("left out, by --idle 0")
    endpoint = target.browser_endpoint
    path, is_hub = await _path(target)
    loop = asyncio.get_running_loop()
    try:
        async with endpoint.connect(path, origin=target.own_origin(endpoint)) as socket:
            began = loop.time()
            code = await _kept(socket, target.idle, is_hub=is_hub)
            took = loop.time() - began
    except aiohttp.WSServerHandshakeError as error:
        raise Skipped(f"{path} answers {error.status}: {why_refused(error.status)}") from None
    if code is None:
        return Outcome(f"{path} stayed open for {target.idle:g} s")
    seen = f"an idle WebSocket at {endpoint.origin}{path} was closed after {took:.1f} s, with {code}"
    fix = (
        "raise the limit of the proxy in front (nginx: proxy_read_timeout 1h), or let the service ping more often "
        "than that"
    )
    return Outcome(f"{path} at the public URL", [target.found("DW065", seen, fix, ("ws_service", "ws_ping_interval"))])


async def _path(target: Target) -> tuple[str, bool]:
    """Return what is opened, and whether it is the hub's."""
    if target.echo is not None:
        return target.echo, False
    if target.has_hub and target.ws in target.reachable:
        return await prefix_of(target) + HUB, True
    config = await target.dash_config()
    if config.websocket is None:
        raise Skipped("there is neither a hub nor a WebSocket of Dash; --echo PATH names another")
    return path_of(config.websocket, requested_prefix(config)), False


async def _kept(socket: aiohttp.ClientWebSocketResponse, seconds: float, *, is_hub: bool) -> int | None:
    """Read until a socket is closed, and return its code; None where it is open all the time."""
    if is_hub:
        await socket.send_str(_HUB_CONNECT)
    try:
        async with asyncio.timeout(seconds):
            while (message := await socket.receive()).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                if is_hub and message.data == _HUB_PING:
                    await socket.send_str(_HUB_PING)
    except TimeoutError:
        return None
    return socket.close_code or 1006
