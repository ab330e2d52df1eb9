"""What process managers and load balancers are told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.config import Settings, Timeouts, UpstreamAddress
from proxy.errors import UpstreamUnreachable
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.runtime import make_runtime
from proxy.http1.headers import Head
from proxy.net.client_limits import ClientLimits
from proxy.server.health_routes import HealthRoutes
from proxy.upstream.upstream import Upstream
from tests.processes import free_port
from tests.proxy.origin import answering, origin


def upstreams(dash: str, ws: str) -> dict[str, Upstream]:
    urls = {"dash": dash, "ws": ws}
    return {name: Upstream(name, [UpstreamAddress(url=url)], Settings()) for name, url in urls.items()}


def routes_of(lifecycle: Lifecycle[Exchange], known: dict[str, Upstream] | None = None) -> HealthRoutes:
    """Return the routes of a gateway. known: its upstreams; None: those of the settings."""
    runtime = make_runtime(Settings(handoff="off"))
    runtime = runtime if known is None else replace(runtime, upstreams=known)
    return HealthRoutes(Gateway(runtime, lifecycle), lifecycle, ClientLimits(), lambda: ["http://127.0.0.1:8000"])


def ask(routes: HealthRoutes, path: str) -> tuple[int, Any]:
    """Return the status, and the body read as JSON."""
    route = {"/healthz": routes.healthz, "/readyz": routes.readyz}[path]
    response = route(Head("GET", path, (1, 1), ()))
    assert response.kind == b"application/json; charset=utf-8"
    return response.status, json.loads(response.body)


async def test_it_is_alive_in_every_state_and_ready_only_when_it_is() -> None:
    lifecycle: Lifecycle[Exchange] = Lifecycle()
    routes = routes_of(lifecycle)
    seen = []
    for event in ("listening", "stop", "empty", None):
        alive, ready = ask(routes, "/healthz"), ask(routes, "/readyz")
        seen.append((alive[0], ready[0], ready[1]["state"]))
        if event:
            lifecycle.happen(event)
    assert seen == [(200, 503, "starting"), (200, 200, "ready"), (200, 503, "draining"), (200, 503, "stopped")]


async def test_an_upstream_that_is_unreachable_is_reported_and_does_not_make_the_gateway_unready() -> None:
    lifecycle: Lifecycle[Exchange] = Lifecycle()
    lifecycle.happen("listening")
    async with origin(answering()) as server:
        known = upstreams(f"http://127.0.0.1:{free_port()}", server.url)
        with pytest.raises(UpstreamUnreachable):
            await known["dash"].acquire(Timeouts())
        known["ws"].discard(await known["ws"].acquire(Timeouts()))
        status, body = ask(routes_of(lifecycle, known), "/readyz")
        assert status == 200
        told = body["upstreams"]
        addresses = {name: about.pop("addresses") for name, about in told.items()}
        assert all(about.pop("for_seconds") >= 0 for about in (*told.values(), *addresses["dash"], *addresses["ws"]))
        assert told == {
            "dash": {"state": "unreachable", "why": "connection refused", "in_flight": 0, "waiting": 0},
            "ws": {"state": "up", "why": "", "in_flight": 0, "waiting": 0},
        }
        assert addresses["ws"] == [{"url": server.url, "state": "up", "why": "", "in_flight": 0, "sockets": 0}]


async def test_it_tells_how_much_the_process_has_to_do() -> None:
    routes = routes_of(Lifecycle())
    before = ask(routes, "/readyz")[1]["tasks"]
    waiting = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="one more")
    assert ask(routes, "/readyz")[1]["tasks"] == before + 1
    waiting.cancel()


async def test_asking_tries_nothing() -> None:
    async with origin(answering()) as server:
        known = upstreams(server.url, server.url)
        told = ask(routes_of(Lifecycle(), known), "/readyz")[1]["upstreams"]
        assert {about["state"] for about in told.values()} == {"unknown"}
        assert server.connections == 0
