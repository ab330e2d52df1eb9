"""The service as a process: what it says, how it stops, and the exit codes; on today's versions and the report's."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

from tests.processes import Process, free_port, python, running

pytestmark = pytest.mark.timeout(600)  # the first run installs the environment of the report

APP = """
import asyncio
import logging
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from starlette.middleware.base import BaseHTTPMiddleware

log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app):
    log.info("lifespan up")
    yield {"pool": "from lifespan"}
    log.info("lifespan down")


app = FastAPI(lifespan=lifespan)
app.state.made = "at import"


class Mark:
    def __init__(self, app, mark):
        self.app, self.mark = app, mark

    async def __call__(self, scope, receive, send):
        scope["mark"] = self.mark
        await self.app(scope, receive, send)


class HttpOnly(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        answer = await call_next(request)
        answer.headers["x-seen"] = "yes"
        return answer


app.add_middleware(Mark, mark="marked")
app.add_middleware(HttpOnly)


class Mine(Exception):
    pass


@app.exception_handler(Mine)
async def mine(websocket, error):
    await websocket.close(4321, str(error))


async def user(token: str | None = None):
    if token == "bad":
        raise WebSocketException(1008)
    if token == "mine":
        raise Mine("handled")
    return token


router = APIRouter(prefix="/rooms")


@router.websocket("/{room}")
async def enter(websocket: WebSocket, room: int, user: Annotated[str | None, Depends(user)]):
    await websocket.accept(subprotocol="chat.v1")
    state = websocket.app.state.made, websocket.state.pool
    await websocket.send_json([room, user, *state, websocket.scope["mark"]])
    await websocket.close(3001, "bye")


app.include_router(router, prefix="/api")


@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    try:
        async for message in websocket.iter_bytes():
            await websocket.send_bytes(message)
    finally:
        log.info("echo ended")


@app.websocket("/feed")
async def feed(websocket: WebSocket):
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.01)
    except WebSocketDisconnect:
        log.info("feed ended")


@app.websocket("/stubborn")
async def stubborn(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("here")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        log.info("stubborn was cancelled")
        raise


below = FastAPI()


@below.websocket("/deep")
async def deep(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("deep")


app.mount("/mounted", below)
"""


def write(folder: Path, app: str = APP, name: str = "live:app", **settings: str) -> int:
    """Write the user's module and a config beside it; return the port that it names."""
    port = free_port()
    (folder / "live.py").write_text(app)
    lines = {"listen": f"127.0.0.1:{port}", "app": name, **settings}
    (folder / "config.yaml").write_text("ws_service:\n" + "".join(f"  {k}: {v}\n" for k, v in lines.items()))
    return port


@contextmanager
def service(interpreter: str, folder: Path, ready: str | None = "ws service ready on") -> Iterator[Process]:
    argv = (interpreter, "-m", "ws_service", "--config", folder / "config.yaml")
    with running(*argv, ready=ready, cwd=folder.parent) as process:
        yield process


def close_code(client: ClientConnection) -> tuple[int, str]:
    """Read to the end; return the close code and the reason that the server gave."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            client.recv(timeout=30)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_everything_that_an_endpoint_uses_works(interpreter: str, tmp_path: Path) -> None:
    port = write(tmp_path)
    url = f"ws://127.0.0.1:{port}"
    with service(interpreter, tmp_path) as process:
        process.wait_for(f"INFO ws service ready on http://127.0.0.1:{port}$")
        with connect(f"{url}/api/rooms/7?token=me", subprotocols=["x", "chat.v1"]) as client:  # type: ignore[list-item]
            assert client.subprotocol == "chat.v1"
            assert json.loads(client.recv()) == [7, "me", "at import", "from lifespan", "marked"]
            assert close_code(client) == (3001, "bye")
        with connect(f"{url}/mounted/deep") as client:
            assert client.recv() == "deep"
        for path, status in (("/api/rooms/7?token=bad", 403), ("/api/rooms/seven", 403), ("/nowhere", 404)):
            with pytest.raises(InvalidStatus, match=f"HTTP {status}"):
                connect(url + path)
        process.wait_for("WARNING no endpoint for a WebSocket at /nowhere: answered with 404; live:app has /api/rooms/")
        assert process.stop() == 0
        assert "lifespan up" in process.output
        assert "lifespan down" in process.output
        assert "Traceback" not in process.output


def test_messages_pass_up_to_the_limit_and_no_further(interpreter: str, tmp_path: Path) -> None:
    port = write(tmp_path)
    with service(interpreter, tmp_path), connect(f"ws://127.0.0.1:{port}/echo", max_size=None) as client:
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        message = bytes(range(256)) * (1 << 16)
        client.send([message[:1000], message[1000:]])
        assert client.recv() == message
        client.send(b"")
        assert client.recv() == b""
        client.send(b"\0" * (32 << 20) + b"\0")
        assert close_code(client)[0] == 1009


def test_http_is_the_apps_but_for_the_health_probe(interpreter: str, tmp_path: Path) -> None:
    port = write(tmp_path)
    with service(interpreter, tmp_path):
        for path, status, seen in (("/healthz", 200, None), ("/openapi.json", 200, "yes"), ("/nowhere", 404, "yes")):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("content-type")) == (status, "application/json")
            assert (answer.getheader("x-seen"), answer.getheader("server")) == (seen, None)
            connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_closes_every_socket_with_1012_and_leaves_with_0(
    interpreter: str, tmp_path: Path, number: signal.Signals
) -> None:
    port = write(tmp_path)
    url = f"ws://127.0.0.1:{port}"
    with service(interpreter, tmp_path) as process, connect(f"{url}/echo") as echo, connect(f"{url}/feed") as feed:
        echo.send(b"open")
        assert echo.recv() == b"open"
        assert feed.recv() == "tick"
        process.send(number)
        assert close_code(echo)[0] == 1012
        assert close_code(feed)[0] == 1012
        assert process.wait() == 0
        assert "Traceback" not in process.output
        for line in ("echo ended", "feed ended", "lifespan down", "stopped"):
            assert line in process.output


def test_an_endpoint_that_does_not_end_is_cancelled_at_the_deadline(interpreter: str, tmp_path: Path) -> None:
    port = write(tmp_path, drain="100ms")
    with service(interpreter, tmp_path) as process, connect(f"ws://127.0.0.1:{port}/stubborn") as client:
        assert client.recv() == "here"
        process.send(signal.SIGTERM)
        assert close_code(client)[0] == 1012
        assert process.wait() == 0
        assert "stubborn was cancelled" in process.output
        assert "the endpoint of /stubborn did not end in time and was cancelled" in process.output
        assert "Traceback" not in process.output
        assert "lifespan down" in process.output


def test_a_unix_socket_is_served_and_removed(interpreter: str, tmp_path: Path) -> None:
    write(tmp_path, listen="unix:ws.sock")
    with service(interpreter, tmp_path, ready="ws service ready on unix:ws.sock") as process:
        with unix_connect(str(tmp_path / "ws.sock"), uri="ws://any/mounted/deep") as client:
            assert client.recv() == "deep"
        assert process.stop() == 0
    assert not (tmp_path / "ws.sock").exists()


def test_a_port_that_is_taken_is_one_sentence_before_anything_is_imported(interpreter: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        write(tmp_path, app="raise AssertionError('imported')", listen=address)
        with service(interpreter, tmp_path, ready=None) as process:
            assert process.wait() == 1
    assert process.output == (
        f"dash-ws-service: {address} is already in use; stop the program that listens there, "
        "or change ws_service.listen\n"
    )


def test_a_lifespan_that_fails_is_a_sentence_with_its_traceback(interpreter: str, tmp_path: Path) -> None:
    broken = APP.replace('log.info("lifespan up")', 'raise RuntimeError("no database")')
    write(tmp_path, app=broken)
    with service(interpreter, tmp_path, ready=None) as process:
        assert process.wait() == 2
    assert "live:app failed at startup: RuntimeError: no database\nTraceback" in process.output
    assert process.output.count("Traceback") == 1
    assert "ready" not in process.output


def test_an_import_error_is_a_sentence_with_its_traceback(interpreter: str, tmp_path: Path) -> None:
    write(tmp_path, app="def half():\n    return 1 / 0\nhalf()\n")
    with service(interpreter, tmp_path, ready=None) as process:
        assert process.wait() == 2
    first, second, third, *_ = process.output.splitlines()
    assert first == (
        f"{tmp_path}/config.yaml:3:3: ws_service.app: is live:app, but importing live ({tmp_path}/live.py) failed: "
        "ZeroDivisionError: division by zero"
    )
    assert (second, third) == (
        "Traceback (most recent call last):",
        f'  File "{tmp_path}/live.py", line 3, in <module>',
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("live:ap", "has no ap; did you mean app?"),
        ("liv:app", "there is no module liv in"),
        ("live:router.prefix", "is of type str; name a Dash app on FastAPI"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    write(tmp_path, name=name)
    with service(python()[0], tmp_path, ready=None) as process:
        assert process.wait() == 2
    assert sentence in process.output
    assert process.output.count("\n") == 1


def test_two_mistakes_in_the_config_are_two_lines(tmp_path: Path) -> None:
    write(tmp_path, listen="127.0.0.1:99999", drian="5s")
    with service(python()[0], tmp_path, ready=None) as process:
        assert process.wait() == 2
    config = tmp_path / "config.yaml"
    assert process.output.splitlines() == [
        f"{config}:2:3: ws_service.listen: port 99999 is out of range (1 to 65535)",
        f"{config}:4:3: ws_service.drian: is not a setting; did you mean drain?",
    ]


def test_without_an_app_handshakes_are_refused_and_the_log_says_what_to_write(tmp_path: Path) -> None:
    port = write(tmp_path, name="null")
    with service(python()[0], tmp_path) as process:
        with pytest.raises(InvalidStatus, match="HTTP 404"):
            connect(f"ws://127.0.0.1:{port}/ws")
        assert process.stop() == 0
    line = "INFO there is the hub alone to serve, so every other WebSocket handshake is refused: name your app in the "
    assert process.output.count(line) == 1


def test_plain_uvicorn_runs_the_factory(interpreter: str, tmp_path: Path) -> None:
    port = write(tmp_path)
    argv = (interpreter, "-m", "uvicorn", "ws_service.app:create_app", "--factory", "--port", str(port))
    environment = {"DASH_WS_PROXY_CONFIG": str(tmp_path / "config.yaml")}
    with running(*argv, ready="Uvicorn running on", env=environment, cwd=tmp_path.parent):
        with connect(f"ws://127.0.0.1:{port}/mounted/deep") as client:
            assert client.recv() == "deep"


def test_a_thread_of_the_users_that_never_ends_does_not_hold_the_process(tmp_path: Path) -> None:
    stuck = f"{APP}\nimport threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    write(tmp_path, app=stuck, drain="0s")
    with service(python()[0], tmp_path) as process:
        process.send(signal.SIGTERM)
        assert process.wait() == 1
    assert "did not end within 5 s of the stop; leaving without it" in process.output
