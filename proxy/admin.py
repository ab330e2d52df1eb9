"""Health answers, on a listener of their own: for process managers and load balancers, never for browsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

from proxy.errors import ProxyError
from proxy.exchange import Exchange
from proxy.lifecycle import Lifecycle
from proxy.limits import Admission
from proxy.upstream import Upstream


def admin_app(
    lifecycle: Lifecycle[Exchange], current_upstreams: Callable[[], Mapping[str, Upstream]], admission: Admission
) -> web.Application:
    """Return the application behind ``gateway.admin``.

    current_upstreams: asked anew each time, because a reload may replace them.

    ``/healthz``: 200 while the process lives.
    ``/readyz``: 200 while new clients may come, 503 while it starts or stops.
    It also tries each upstream and reports it, but an upstream that
    is away does not make the gateway unready: a balancer that took it out
    of service would cut off the other upstream's clients too. It also says
    how many connections clients have, and how many WebSockets, those that
    were handed over too.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "state": lifecycle.state.value})

    async def readyz(_: web.Request) -> web.Response:
        upstreams = current_upstreams()
        states = await asyncio.gather(*(_probe(upstream) for upstream in upstreams.values()))
        body = {
            "status": "ready" if lifecycle.is_ready else "not ready",
            "state": lifecycle.state.value,
            "in_flight": len(lifecycle.in_flight),
            "connections": admission.connections.total,
            "websockets": admission.websockets.total,
            "upstreams": dict(zip(upstreams, states, strict=True)),
        }
        return web.json_response(body, status=200 if lifecycle.is_ready else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


async def _probe(upstream: Upstream) -> str:
    try:
        connection = await upstream.connect()
    except ProxyError as error:
        return error.message
    connection.abort()
    return "up"
