"""Health answers, on a listener of their own: for process managers and load balancers, never for browsers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from aiohttp import web

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
    It also says what is known of each upstream, but an upstream that
    is away does not make the gateway unready: a balancer that took it out
    of service would cut off the other upstream's clients too. Nothing is
    tried for the answer: however often it is asked, no upstream notices.
    It also says how many connections clients have, how many WebSockets,
    those that were handed over too, and how many tasks the event loop has:
    at rest none of them grows.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "state": lifecycle.state.value})

    async def readyz(_: web.Request) -> web.Response:
        body = {
            "status": "ready" if lifecycle.is_ready else "not ready",
            "state": lifecycle.state.value,
            "in_flight": len(lifecycle.in_flight),
            "connections": admission.connections.total,
            "websockets": admission.websockets.total,
            "tasks": len(asyncio.all_tasks()),
            "upstreams": {name: _about(upstream) for name, upstream in current_upstreams().items()},
        }
        return web.json_response(body, status=200 if lifecycle.is_ready else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def _about(upstream: Upstream) -> dict[str, object]:
    """Return what is known of an upstream; ``for_seconds`` says how long it has been in its state."""
    health, room = upstream.health, upstream.room
    return {
        "state": health.state.value,
        "for_seconds": round(time.monotonic() - health.since, 1),
        "why": health.why,
        "in_flight": room.in_flight,
        "waiting": room.waiting,
    }
