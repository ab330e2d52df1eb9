"""What probes ask with: HTTP, WebSockets, unix sockets; nothing is followed, kept or raised for a status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from proxy.doctor.endpoint import MAX_BODY, Endpoint


async def _echo(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Origin", "") == "http://evil.test":
        raise web.HTTPForbidden(text="no")
    socket = web.WebSocketResponse(protocols=("graphql-ws",))
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def _see(request: web.Request) -> web.Response:
    response = web.Response(text=f"{request.method} {request.headers.get('Cookie')} {request.headers.get('X-A')}")
    response.set_cookie("session", "1")
    return response


async def _large(_: web.Request) -> web.Response:
    return web.Response(body=bytes(MAX_BODY + 10))


async def _moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/see")


async def _endless(request: web.Request) -> web.StreamResponse:
    """Send one message after the other, and read nothing, so that a close is never answered."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    with suppress(ConnectionError):
        while True:
            await socket.send_str("more")
            await asyncio.sleep(0.01)
    return socket


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[web.AppRunner]:
    app = web.Application()
    app.add_routes(
        [
            web.get("/ws", _echo),
            web.get("/see", _see),
            web.get("/large", _large),
            web.get("/moved", _moved),
            web.get("/endless", _endless),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await web.UnixSite(runner, str(tmp_path / "app.sock")).start()
    yield runner
    await runner.cleanup()


@pytest.fixture(params=["tcp", "unix"])
async def endpoint(request: pytest.FixtureRequest, app: web.AppRunner, tmp_path: Path) -> AsyncIterator[Endpoint]:
    host, port = app.addresses[0]
    endpoint = Endpoint("app", f"http://{host}:{port}" if request.param == "tcp" else f"unix:{tmp_path / 'app.sock'}")
    yield endpoint
    await endpoint.close()


async def test_a_request_is_answered_as_it_comes_and_no_cookie_is_kept(endpoint: Endpoint) -> None:
    for _ in range(2):
        answer = await endpoint.ask("/see", headers={"X-A": "b"})
        assert (answer.status, answer.text, answer.content_type) == (200, "GET None b", "text/plain")
    assert (await endpoint.ask("/moved")).status == 302
    assert (await endpoint.ask("/none")).status == 404
    assert len((await endpoint.ask("/large")).body) == MAX_BODY


async def test_a_handshake_is_open_or_refused_with_its_status(endpoint: Endpoint) -> None:
    opened = await endpoint.handshake("/ws", origin=endpoint.origin, protocols=["graphql-ws"])
    assert (opened.status, opened.is_open, opened.protocol) == (101, True, "graphql-ws")
    refused = await endpoint.handshake("/ws", origin="http://evil.test")
    assert (refused.status, refused.is_open, refused.content_type) == (403, False, "text/plain")
    moved = await endpoint.handshake("/moved")  # to a page, which no browser would take for a WebSocket
    assert (moved.status, moved.is_open, moved.headers["Location"]) == (302, False, "/see")
    async with endpoint.connect("/ws") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello"


async def test_fields_of_a_client_that_is_logged_in_go_with_every_request(app: web.AppRunner) -> None:
    host, port = app.addresses[0]
    endpoint = Endpoint("app", f"http://{host}:{port}", fields={"Cookie": "session=2"})
    assert (await endpoint.ask("/see")).text == "GET session=2 None"
    await endpoint.close()


def test_an_address_is_taken_apart() -> None:
    endpoint = Endpoint("public", "https://app.example.com/team/")
    assert (endpoint.origin, endpoint.host, endpoint.port) == ("https://app.example.com", "app.example.com", 443)
    assert endpoint.path == "/team/"
    assert Endpoint("dash", "http://[::1]:8050").host == "::1"


def test_only_loopback_and_unix_sockets_are_certain_to_be_of_this_host() -> None:
    def is_here(address: str) -> bool:
        return Endpoint("a", address).is_of_this_host

    assert is_here("http://127.0.0.7:1") and is_here("http://[::1]:1") and is_here("http://localhost")
    assert is_here("unix:/run/a.sock")
    assert not is_here("http://10.0.0.7:1") and not is_here("https://app.example.com")


async def test_what_is_no_path_does_not_lead_to_another_host(app: web.AppRunner) -> None:
    """A page names paths; after an origin, "@host/" would be a host, which gets the Cookie."""
    host, port = app.addresses[0]
    endpoint = Endpoint("dash", "http://127.0.0.1:1", fields={"Cookie": "session=2"})
    for path in (f"@{host}:{port}/see", f":x@{host}:{port}/see", ""):
        with pytest.raises(aiohttp.InvalidURL):
            await endpoint.ask(path)
        with pytest.raises(aiohttp.InvalidURL):
            await endpoint.handshake(path)
    await endpoint.close()


async def test_a_close_that_is_not_answered_ends_though_messages_come(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.doctor.endpoint._CLOSE", 0.1)
    async with asyncio.timeout(5):
        assert (await endpoint.handshake("/endless")).is_open
