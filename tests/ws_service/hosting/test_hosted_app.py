"""What keeps working of an app that the service hosts: endpoints, dependencies, lifespan, other frameworks."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.ws_service.live import ask, forget, modules, serving
from ws_service.config.settings import Settings
from ws_service.hosting import dash_parts, hosted_app
from ws_service.hosting.loader import load

EVERYTHING = """
    from contextlib import asynccontextmanager
    from typing import Annotated

    from fastapi import APIRouter, Depends, FastAPI, Query, WebSocket, WebSocketException
    from starlette.middleware.base import BaseHTTPMiddleware

    events = []

    @asynccontextmanager
    async def lifespan(app):
        app.state.opened = "by lifespan"
        events.append("up")
        yield {"pool": "from lifespan"}
        events.append("down")

    app = FastAPI(lifespan=lifespan)
    app.state.made = "at import"

    class Marks:
        def __init__(self, app, mark):
            self.app, self.mark = app, mark

        async def __call__(self, scope, receive, send):
            scope.setdefault("marks", []).append((self.mark, scope["type"]))
            await self.app(scope, receive, send)

    class HttpOnly(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            events.append("http")
            return await call_next(request)

    app.add_middleware(Marks, mark="inner")
    app.add_middleware(HttpOnly)
    app.add_middleware(Marks, mark="outer")

    class Refused(Exception):
        pass

    @app.exception_handler(Refused)
    async def refused(websocket, error):
        await websocket.close(4321, str(error))

    async def user(token: str | None = None):
        if token == "bad":
            raise WebSocketException(1008, "bad token")
        return token

    async def resource():
        events.append("open")
        try:
            yield "resource"
        finally:
            events.append("close")

    @app.websocket("/items/{item}")
    async def items(
        websocket: WebSocket,
        item: int,
        tags: Annotated[list[str], Query()],
        user: Annotated[str | None, Depends(user)],
        resource: Annotated[str, Depends(resource)],
    ):
        await websocket.accept()
        await websocket.send_json([item, tags, user, resource])
        await websocket.close(3001, "bye")

    @app.websocket("/state")
    async def state(websocket: WebSocket):
        await websocket.accept()
        seen = websocket.app.state
        await websocket.send_json([seen.made, seen.opened, websocket.state.pool, websocket.scope["marks"]])

    @app.websocket("/chosen")
    async def chosen(websocket: WebSocket):
        await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1], headers=[(b"x-kind", b"Mixed")])
        await websocket.send_text("")
        await websocket.send_bytes(b"")
        await websocket.send_bytes(await websocket.receive_bytes())

    @app.websocket("/refused")
    async def refuses(websocket: WebSocket):
        await websocket.accept()
        raise Refused("as agreed")

    @app.websocket("/denied")
    async def denies(websocket: WebSocket):
        from starlette.responses import JSONResponse

        await websocket.send_denial_response(JSONResponse({"why": "not today"}, status_code=418))

    @app.websocket("/client")
    async def client(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_json([websocket.client.host, websocket.url.scheme])

    @app.get("/page")
    async def page():
        events.append("page")

    router = APIRouter(prefix="/inner")

    @router.websocket("/echo")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)

    app.include_router(router, prefix="/outer")

    below = FastAPI()

    @below.websocket("/deep/{name}")
    async def deep(websocket: WebSocket, name: str):
        await websocket.accept()
        await websocket.send_text(name)

    app.mount("/mounted", below)
"""


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that hosts one app with everything an endpoint can use."""
    with modules(tmp_path_factory.mktemp("user"), everything=EVERYTHING) as folder:
        hosted = load("everything:app", folder)
        with serving(hosted) as address:
            yield address
        assert hosted.app.state.opened == "by lifespan"
        import everything  # type: ignore[import-not-found]

        assert everything.events[0] == "up"
        assert everything.events[-1] == "down"
        assert "http" not in everything.events, "nobody has asked"


def test_path_query_and_dependencies_reach_the_endpoint(everything: str) -> None:
    with connect(f"ws://{everything}/items/7?tags=a&tags=b&token=me") as client:
        assert json.loads(client.recv()) == [7, ["a", "b"], "me", "resource"]
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3001, "bye")


def test_a_parameter_that_does_not_fit_refuses_the_handshake(everything: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{everything}/items/seven?tags=a")


def test_a_websocket_exception_of_a_dependency_refuses_the_handshake(everything: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{everything}/items/7?tags=a&token=bad")


def test_app_state_lifespan_state_and_middleware_are_there(everything: str) -> None:
    with connect(f"ws://{everything}/state") as client:
        made, opened, pool, marks = json.loads(client.recv())
    assert (made, opened, pool) == ("at import", "by lifespan", "from lifespan")
    assert marks == [["outer", "websocket"], ["inner", "websocket"]]


def test_subprotocol_headers_and_empty_messages_arrive(everything: str) -> None:
    with connect(f"ws://{everything}/chosen", subprotocols=["a", "b"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "b"
        assert client.response is not None
        assert client.response.headers["x-kind"] == "Mixed"
        assert client.recv() == ""
        assert client.recv() == b""
        client.send(b"\x00\xff")
        assert client.recv() == b"\x00\xff"


def test_an_exception_handler_closes_with_its_own_code(everything: str) -> None:
    with connect(f"ws://{everything}/refused") as client, pytest.raises(ConnectionClosed) as closed:
        client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as agreed")


def test_a_denial_response_arrives_with_its_body(everything: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{everything}/denied")
    assert refused.value.response.status_code == 418
    assert json.loads(refused.value.response.body or b"") == {"why": "not today"}


def test_an_included_router_keeps_its_prefixes(everything: str) -> None:
    with connect(f"ws://{everything}/outer/inner/echo") as client:
        client.send("héllo")
        assert client.recv() == "héllo"


def test_a_mounted_app_is_served(everything: str) -> None:
    with connect(f"ws://{everything}/mounted/deep/sea") as client:
        assert client.recv() == "sea"


@pytest.mark.parametrize("path", ["/nowhere", "/outer/inner/nowhere", "/mounted/nowhere", "/page"])
def test_a_path_without_an_endpoint_is_a_404_that_names_it_and_those_that_there_are(
    everything: str, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, hosted_app.limited)
    forget(monkeypatch, dash_parts.limited)
    for _ in range(3):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{everything}{path}?token=secret")
    answer = refused.value.response
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (404, "text/plain")
    assert (answer.body or b"").decode().splitlines() == [
        f"There is no endpoint for a WebSocket at {path}.",
        "everything:app has:",
        "  /chosen",
        "  /client",
        "  /denied",
        "  /items/{item}",
        "  /mounted/deep/{name}",
        "  /outer/inner/echo",
        "  /refused",
        "  /state",
        "This is an answer of the WebSocket service, dash-ws-service.",
    ]
    (line,) = caplog.messages
    assert line == (
        f"no endpoint for a WebSocket at {path}: answered with 404; everything:app has /chosen, /client, /denied, "
        "/items/{item}, /mounted/deep/{name}, /outer/inner/echo, /refused, /state"
    )


@pytest.mark.parametrize(
    ("path", "status"), [("/denied", 418), ("/items/seven?tags=a", 403), ("/items/7?tags=a&token=bad", 403)]
)
def test_an_endpoint_that_refuses_has_its_own_answer_and_a_line(
    everything: str, path: str, status: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, hosted_app.limited)
    forget(monkeypatch, dash_parts.limited)
    caplog.set_level("INFO", "ws_service")
    for _ in range(3):
        with pytest.raises(InvalidStatus, match=str(status)):
            connect(f"ws://{everything}{path}")
    assert [record.getMessage() for record in caplog.records if record.name.startswith(("ws_service", "uvicorn"))] == [
        f"{path.partition('?')[0]}: refused by its endpoint with {status}"
    ]


def test_an_endpoint_sees_the_browser_behind_the_gateway(everything: str) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with connect(f"ws://{everything}/client", additional_headers=forwarded) as client:
        assert json.loads(client.recv()) == ["203.0.113.9", "wss"]


def test_a_message_of_16_mib_passes_compressed(everything: str) -> None:
    message = "0123456789abcdef" * (1 << 20)
    with connect(f"ws://{everything}/outer/inner/echo", max_size=None) as client:
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        client.send(message)
        assert client.recv() == message


SOCKETIO = """
    import socketio
    from fastapi import FastAPI, WebSocket

    sio = socketio.AsyncServer(async_mode="asgi", ping_interval=0.2, ping_timeout=0.2)
    api = FastAPI()
    mounted = FastAPI()

    @sio.event
    async def shout(sid, text):
        return text.upper()

    @api.get("/page")
    async def page():
        return "of the app"

    @api.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("beside it")

    mounted.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=None))
    wrapped = socketio.ASGIApp(sio, other_asgi_app=api)
    alone = socketio.ASGIApp(sio)
"""


@pytest.mark.parametrize("name", ["mounted", "wrapped", "alone"])
def test_socketio_is_served_by_http_and_by_websocket(tmp_path: Path, name: str) -> None:
    pytest.importorskip("socketio")
    with modules(tmp_path, chat=SOCKETIO) as folder, serving(load(f"chat:{name}", folder)) as address:
        asyncio.run(shouts(address))
        if name == "wrapped":
            assert ask(address, "GET", "/page") == (200, "of the app")
            with connect(f"ws://{address}/ws") as client:
                assert client.recv() == "beside it"
            with pytest.raises(InvalidStatus, match="404") as refused:
                connect(f"ws://{address}/nowhere")
            assert b"chat:wrapped has:\n  /ws\n" in (refused.value.response.body or b"")


async def shouts(address: str) -> None:
    """Talk as Socket.IO's client does by default: it polls first, and goes on by a WebSocket."""
    import socketio

    client = socketio.AsyncClient()
    await client.connect(f"http://{address}", wait_timeout=20)
    assert client.transport() == "websocket"
    assert await client.call("shout", "hello", timeout=20) == "HELLO"
    await client.disconnect()
    polling = socketio.AsyncClient()
    await polling.connect(f"http://{address}", transports=["polling"], wait_timeout=20)
    assert await polling.call("shout", "again", timeout=20) == "AGAIN"
    await polling.disconnect()


APPS = """
    class Odd:
        async def __call__(self, scope, receive, send):
            if scope["type"] == "lifespan":
                raise ValueError("no such thing")
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": scope["path"]})

    odd = Odd()

    async def bare(scope, receive, send):
        if scope["type"] == "websocket":
            await odd(scope, receive, send)

    async def endpoint(websocket, room, user):
        pass
"""


@pytest.mark.parametrize("name", ["odd", "bare"])
def test_any_asgi_app_is_served_also_without_a_lifespan(tmp_path: Path, name: str) -> None:
    with modules(tmp_path, apps=APPS) as folder, serving(load(f"apps:{name}", folder)) as address:
        with connect(f"ws://{address}/x") as client:
            assert client.recv() == "/x"


SLOW = """
    import asyncio

    from fastapi import FastAPI, WebSocket

    app = FastAPI()
    began = asyncio.Event()

    @app.get("/slow")
    async def slow():
        began.set()
        await asyncio.Event().wait()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await began.wait()
        await websocket.send_text("it has begun")
"""


def test_a_request_that_does_not_end_before_the_stop_is_a_503_and_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Settings(drain="200ms")  # type: ignore[arg-type]
    with modules(tmp_path, slow=SLOW) as folder, serving(load("slow:app", folder), quick) as address:
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("GET", "/slow")
        with connect(f"ws://{address}/ws") as client:
            assert client.recv() == "it has begun"
    with closing(connection):
        assert connection.getresponse().status == 503
    assert "the request for /slow did not end in time and was cancelled" in caplog.text
    assert "Traceback" not in caplog.text
