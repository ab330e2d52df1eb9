"""What process managers and load balancers are told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.config import Settings, Timeouts
from proxy.errors import UpstreamUnreachable
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.runtime import make_runtime
from proxy.http1.chunked import ProtocolError
from proxy.http1.head_checks import HeadLimits
from proxy.http1.headers import Head
from proxy.http1.request_reader import RequestReader
from proxy.net.client_limits import ClientLimits
from proxy.server.admin import MAX_HEAD, Admin, names_this_host
from proxy.upstream.upstream import Upstream
from tests.processes import free_port
from tests.proxy.origin import answering, origin


def upstreams(dash: str, ws: str) -> dict[str, Upstream]:
    urls = {"dash": dash, "ws": ws}
    return {name: Upstream(name, url, Settings()) for name, url in urls.items()}


def read(data: bytes) -> Head | ProtocolError:
    reader = RequestReader(HeadLimits(MAX_HEAD, MAX_HEAD, MAX_HEAD))
    try:
        reader.feed(data)
    except ProtocolError as error:
        return error
    assert reader.head is not None
    return reader.head


def ask(
    admin: Admin, line: str, *fields: str, host: str | None = "127.0.0.1:8001", is_unix: bool = False
) -> tuple[int, Any]:
    """Return the status, and the body read as JSON; None where there is none."""
    lines = (line, *(() if host is None else (f"Host: {host}",)), *fields, "", "")
    request = read("\r\n".join(lines).encode("latin-1"))
    head, _, body = admin.answer(request, is_unix).partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    return int(head.split()[1]), json.loads(body) if body else None


def get(admin: Admin, path: str) -> tuple[int, Any]:
    return ask(admin, f"GET {path} HTTP/1.1")


def admin_of(lifecycle: Lifecycle[Exchange], known: dict[str, Upstream] | None = None, **values: Any) -> Admin:
    """Return the admin of a gateway. known: its upstreams; None: those of the settings."""
    runtime = make_runtime(Settings.model_validate({"handoff": "off", **values}))
    runtime = runtime if known is None else replace(runtime, upstreams=known)
    return Admin(Gateway(runtime, lifecycle), lifecycle, ClientLimits())


@pytest.fixture
async def admin() -> Admin:
    return admin_of(Lifecycle(), admin_hosts=["gateway", "Health.example"])


async def test_it_is_alive_in_every_state_and_ready_only_when_it_is() -> None:
    lifecycle: Lifecycle[Exchange] = Lifecycle()
    admin = admin_of(lifecycle)
    seen = []
    for event in ("listening", "stop", "empty", None):
        alive, ready = get(admin, "/healthz"), get(admin, "/readyz")
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
        status, body = get(admin_of(lifecycle, known), "/readyz")
        assert status == 200
        told = body["upstreams"]
        assert all(about.pop("for_seconds") >= 0 for about in told.values())
        assert told == {
            "dash": {"state": "unreachable", "why": "connection refused", "in_flight": 0, "waiting": 0},
            "ws": {"state": "up", "why": "", "in_flight": 0, "waiting": 0},
        }


async def test_it_tells_how_much_the_process_has_to_do(admin: Admin) -> None:
    before = get(admin, "/readyz")[1]["tasks"]
    waiting = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="one more")
    assert get(admin, "/readyz")[1]["tasks"] == before + 1
    waiting.cancel()


async def test_asking_tries_nothing() -> None:
    async with origin(answering()) as server:
        known = upstreams(server.url, server.url)
        told = get(admin_of(Lifecycle(), known), "/readyz")[1]["upstreams"]
        assert {about["state"] for about in told.values()} == {"unknown"}
        assert server.connections == 0


async def test_a_head_is_asked_without_its_body(admin: Admin) -> None:
    assert ask(admin, "HEAD /readyz?x HTTP/1.1") == (503, None)


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        ("GET /healthz HTTP/1.1", ["Accept: */*", "X:", "User-Agent:  kube-probe/1.31 "], 200),
        ("GET /healthz?verbose HTTP/1.1", [], 200),
        ("POST /healthz HTTP/1.1", ["Content-Length: 3"], 405),
        ("GET / HTTP/1.1", [], 404),
        ("GET /healthz/ HTTP/1.1", [], 404),
        ("GET //healthz HTTP/1.1", [], 404),
        ("GET /%68ealthz HTTP/1.1", [], 404),
        ("GET http://127.0.0.1:8001/healthz HTTP/1.1", [], 400),
        ("GET /healthz", [], 400),
        ("GET /healthz HTTP/2.0", [], 400),
        ("GET /healthz HTTP/1.1", ["no colon"], 400),
        ("GET /healthz HTTP/1.1", ["X: a", " folded"], 400),
        ("GET /healthz HTTP/1.1", ["X : a"], 400),
        ("GET /healthz HTTP/1.1", ["X: a\0b"], 400),
        ("GET /healthz HTTP/1.1", ["X: a\nb"], 400),
        ("GET /healthz HTTP/1.1", ["Host: 127.0.0.1"], 400),
        ("GET /healthz HTTP/1.1", ["host: evil.example"], 400),
        ("GET /healthz HTTP/1.1", ["Content-Length: 0", "Content-Length: 0"], 400),
        ("GET /healthz HTTP/1.1", ["Transfer-Encoding: gzip"], 400),
        ("GET /healthz HTTP/1.1", ["X: " + "a" * MAX_HEAD], 431),
    ],
)
async def test_a_request_is_read_in_one_way(admin: Admin, line: str, fields: list[str], status: int) -> None:
    assert ask(admin, line, *fields)[0] == status


async def test_a_balancer_of_old_says_no_host(admin: Admin) -> None:
    assert ask(admin, "GET /healthz HTTP/1.0", host=None)[0] == 200
    assert ask(admin, "GET /healthz HTTP/1.1", host=None)[0] == 400


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8001",
        "10.0.0.7:80",
        "[::1]",
        "[::1]:8001",
        "[2001:DB8::7]:8001",
        "localhost",
        "LocalHost:8001",
        "gateway",
        "GATEWAY:9",
        "health.example",
        "health.example:8001",
    ],
)
async def test_an_address_localhost_and_what_is_configured_are_answered(admin: Admin, host: str) -> None:
    assert ask(admin, "GET /readyz HTTP/1.1", host=host)[0] == 503
    assert names_this_host(host, ["gateway", "Health.example"])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8001",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.",
        "localhost.",
        "gateway.",
        "gateway.evil.example",
        "xgateway",
        "user@127.0.0.1",
        "127.0.0.1@evil.example",
        "127.0.0.1:8001@evil.example",
        "evil.example#localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "127.0.0.01",
        "::1",
        "[::1",
        "[::1]x",
        "[::1].evil.example",
        "[localhost]",
        "[127.0.0.1]",
        "localhost:8001:8001",
        "localhost:a",
        "localhost, evil.example",
        "",
        ":8001",
        "*",
        "%6cocalhost",
        "gateway\xa0",
    ],
)
async def test_any_other_name_is_told_what_to_configure(admin: Admin, host: str) -> None:
    status, body = ask(admin, "GET /readyz HTTP/1.1", host=host)
    assert status == 403
    assert "add it to gateway.admin_hosts" in body["advice"]
    assert "in_flight" not in body
    assert ask(admin, "GET /readyz HTTP/1.1", host=host, is_unix=True)[0] == 503, "no browser reaches a unix socket"
