"""A server in this process that answers as a test says: pages as Dash writes them, other paths, WebSockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.doctor.target import Target
from tests.proxy.doctor.test_target import target_of

JSON = "application/json"
HTML = "text/html"

SOCKET = {"enabled": False, "url": "/_dash-ws-callback", "heartbeat_interval": 30000}


def page(version: str = "4.5.0", prefix: str = "/", *, html: str = "", **config: object) -> str:
    """Return a page that says this version, whichever Dash is installed. config: further keys of ``_dash-config``."""
    values = {"dash_version": version, "requests_pathname_prefix": prefix, **config}
    return f'<html>{html}<script id="_dash-config" type="application/json">{json.dumps(values)}</script></html>'


@dataclass
class Site:
    """What is answered.

    answers: for each path (status, media type, body); ``*`` is any other. sockets: for each path the origins that it
    opens for; ``*`` is all of them. Other handshakes are answered with 403. headers: of every answer.
    """

    answers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    sockets: dict[str, set[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        known = self.answers.get(request.path) or self.answers.get("*")
        if "Upgrade" in request.headers and known is None:
            allowed = self.sockets.get(request.path, set())
            if "*" not in allowed and request.headers.get("Origin") not in allowed:
                return web.Response(status=403)
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for _ in socket:
                pass
            return socket
        status, kind, body = known or (404, "text/plain", "")
        return web.Response(status=status, content_type=kind, text=body, headers=self.headers)


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[Site]:
    """Serve a site for the length of a ``with`` block."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    try:
        yield site
    finally:
        await runner.cleanup()


@asynccontextmanager
async def set_up(
    folder: Path, dash: Site, gateway: Site | None = None, *, is_public: bool = False, **settings: Any
) -> AsyncIterator[Target]:
    """Run a set-up of sites for the length of a ``with`` block; everything in it is reachable.

    gateway: what browsers connect to, and the WebSocket service too; None: ``dash``. is_public: it is the public URL.
    settings: further keys of ``gateway``.
    """
    gateway = gateway or dash
    async with serving(dash):
        if gateway is dash:
            async with _target(folder, dash, dash, is_public, settings) as target:
                yield target
            return
        async with serving(gateway), _target(folder, dash, gateway, is_public, settings) as target:
            yield target


@asynccontextmanager
async def _target(folder: Path, dash: Site, gateway: Site, is_public: bool, settings: Any) -> AsyncIterator[Target]:
    for site in (dash, gateway):  # their ports are known by now
        site.sockets = {
            path: {origin.format(dash=dash.url, gateway=gateway.url) for origin in origins}
            for path, origins in site.sockets.items()
        }
    url = f"{gateway.url}/" if is_public else None
    upstreams = {"dash": dash.url, "ws": gateway.url}
    listen = f"127.0.0.1:{gateway.port}"
    target = target_of(folder, url, listen=listen, upstreams=upstreams, **settings)
    async with target.opened():
        target.reachable |= {target.dash, target.ws, *filter(None, (target.gateway, target.public))}
        yield target
