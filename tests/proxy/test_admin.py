"""What process managers and load balancers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from proxy.admin import admin_app
from proxy.errors import UpstreamUnreachable
from proxy.exchange import Exchange
from proxy.lifecycle import Lifecycle
from proxy.limits import Admission
from proxy.upstream import Upstream
from tests.processes import free_port
from tests.proxy.origin import answering, origin

Make = Callable[[Any], Awaitable[TestClient[Any, Any]]]


def upstreams(dash: str, ws: str) -> dict[str, Upstream]:
    urls = {"dash": dash, "ws": ws}
    return {name: Upstream(name, url, connect_timeout=1, idle=1, buffer=65536) for name, url in urls.items()}


async def test_it_is_alive_in_every_state_and_ready_only_when_it_is(aiohttp_client: Make) -> None:
    lifecycle: Lifecycle[Exchange] = Lifecycle()
    client = await aiohttp_client(admin_app(lifecycle, dict, Admission()))
    seen = []
    for event in ("listening", "stop", "empty", None):
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
        seen.append((alive.status, ready.status, (await ready.json())["state"]))
        if event:
            lifecycle.happen(event)
    assert seen == [(200, 503, "starting"), (200, 200, "ready"), (200, 503, "draining"), (200, 503, "stopped")]


async def test_an_upstream_that_is_away_is_reported_and_does_not_make_the_gateway_unready(aiohttp_client: Make) -> None:
    lifecycle: Lifecycle[Exchange] = Lifecycle()
    lifecycle.happen("listening")
    async with origin(answering()) as server:
        known = upstreams(f"http://127.0.0.1:{free_port()}", server.url)
        client = await aiohttp_client(admin_app(lifecycle, lambda: known, Admission()))
        with pytest.raises(UpstreamUnreachable):
            await known["dash"].acquire()
        known["ws"].discard(await known["ws"].acquire())
        answer = await client.get("/readyz")
        assert answer.status == 200
        told = (await answer.json())["upstreams"]
        assert all(about.pop("for_seconds") >= 0 for about in told.values())
        assert told == {
            "dash": {"state": "away", "why": "connection refused", "in_flight": 0, "waiting": 0},
            "ws": {"state": "up", "why": "", "in_flight": 0, "waiting": 0},
        }


async def test_it_tells_how_much_the_process_has_to_do(aiohttp_client: Make) -> None:
    client = await aiohttp_client(admin_app(Lifecycle(), dict, Admission()))
    before = (await (await client.get("/readyz")).json())["tasks"]
    waiting = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="one more")
    assert (await (await client.get("/readyz")).json())["tasks"] == before + 1
    waiting.cancel()


async def test_asking_tries_nothing(aiohttp_client: Make) -> None:
    async with origin(answering()) as server:
        known = upstreams(server.url, server.url)
        client = await aiohttp_client(admin_app(Lifecycle(), lambda: known, Admission()))
        told = (await (await client.get("/readyz")).json())["upstreams"]
        assert {about["state"] for about in told.values()} == {"unknown"}
        assert server.connections == 0
