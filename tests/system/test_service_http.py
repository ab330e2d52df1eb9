"""HTTP that a route of the gateway sends to the service is the user's app's to serve, Socket.IO's polling too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.conftest import Shared
from tests.system.gateway import Gateway
from tests.system.handoff import WAYS, Service, gateway_by, running_service
from tests.wire.messages import handshake, request

pytestmark = pytest.mark.timeout(600)  # the first run installs the environment of the report

APP = """
from fastapi import FastAPI, Request, WebSocket

app = FastAPI()


@app.post("/api/count")
async def count(request: Request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size, "client": request.client.host, "scheme": request.url.scheme}


@app.post("/api/refuse")
async def refuse():
    return "not read"


@app.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("hello")
"""

SOCKETIO = """
import socketio

sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])
app.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=None))


@sio.event
async def shout(sid, text):
    return text.upper()
"""

DASH = """
import dash
from dash import html

board = dash.Dash(__name__, backend="fastapi", server=app)
board.layout = html.Div("Hello")


@app.get("/api/late")
async def late():
    return "after Dash's own"
"""

ROUTES = [{"path": "/api/", "to": "ws"}, {"path": "/socket.io/", "to": "ws"}, {"path": "/board/", "to": "ws"}]


@pytest.fixture(scope="module")
def service(interpreter: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), app=APP + DASH, interpreter=interpreter) as service:
        yield service
        assert "Traceback" not in service.process.output


@pytest.fixture(scope="module")
def gateway(shared: Shared, service: Service) -> Gateway:
    return shared.gateway_by("handed over", service, routes=ROUTES)


def post(target: str, body: bytes) -> bytes:
    return request(f"POST {target}", f"Content-Length: {len(body)}", body=body)


def test_requests_and_bodies_reach_the_users_routes(gateway: Gateway) -> None:
    for size in (0, 100, 5_000_000):
        answer = gateway.ask(post("/api/count", bytes(size)))
        assert (answer.status, answer.json()) == (200, {"size": size, "client": "127.0.0.1", "scheme": "http"})


def test_a_body_that_the_app_does_not_read_disturbs_no_other_request(gateway: Gateway) -> None:
    for _ in range(3):
        assert gateway.ask(post("/api/refuse", bytes(200_000))).status == 200
    assert gateway.ask(post("/api/count", b"x")).json()["size"] == 1


def test_a_route_that_comes_after_dashs_own_is_reached(gateway: Gateway) -> None:
    """In 4.1.0rc0 one of Dash's matches every path."""
    assert gateway.ask(request("GET /api/late")).json() == "after Dash's own"


def test_a_page_of_dashs_is_not_served_here_and_says_so(gateway: Gateway) -> None:
    answer = gateway.ask(request("GET /board/page"))
    assert answer.status == 404
    assert (
        "live:app has no route for /board/page, and Dash's own pages come from the Dash server"
        in answer.json()["message"]
    )
    client = gateway.dial()
    client.send(handshake("/ws"))
    assert client.read_message().status == 101


@pytest.mark.parametrize("way", WAYS)
def test_socketio_connects_with_its_default_transports(tmp_path: Path, way: str) -> None:
    socketio = pytest.importorskip("socketio")

    async def talk(url: str) -> None:
        client = socketio.AsyncClient()
        await client.connect(url, wait_timeout=20)
        assert client.transport() == "websocket"
        assert await client.call("shout", "hello", timeout=20) == "HELLO"
        assert await client.call("shout", "x" * 100_000, timeout=20) == "X" * 100_000
        await client.disconnect()

    with running_service(tmp_path, app=APP + SOCKETIO) as service:
        with gateway_by(way, tmp_path, service, routes=ROUTES) as gateway:
            asyncio.run(talk(gateway.url))
            gateway.process.wait_for(r'"GET /socket.io/\?transport=polling[^"]*" 200 ')
