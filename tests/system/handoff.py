"""A gateway and a service that adopts its sockets, as real processes, and clients in great numbers."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import Process, free_port, running
from tests.system.gateway import Gateway, running_gateway
from tests.wire.connection import Wire
from tests.wire.frames import CLOSE, MASK, TEXT, Frame, text_frame
from tests.wire.messages import handshake

APP = """
import os

from fastapi import FastAPI, WebSocket
from starlette.responses import PlainTextResponse

app = FastAPI()


@app.websocket("/who")
async def who(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_json({
        "pid": os.getpid(),
        "client": websocket.client,
        "scheme": websocket.url.scheme,
        "said": websocket.headers.getlist("x-forwarded-for"),
    })
    async for message in websocket.iter_text():
        await websocket.send_text(message)


@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


@app.websocket("/bye")
async def bye(websocket: WebSocket):
    await websocket.accept()
    await websocket.close(3001, "enough")


@app.websocket("/refused")
async def refused(websocket: WebSocket):
    await websocket.send_denial_response(PlainTextResponse("not you", 401))


@app.websocket("/broken")
async def broken(websocket: WebSocket):
    raise RuntimeError("the app's own fault")
"""


class Service:
    """A service process: where it listens, where it adopts."""

    def __init__(self, process: Process, port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.socket_file = folder / "run" / "ws.sock"


LIBRARIES = {
    "websockets": "websockets_impl.WebSocketProtocol",
    "websockets-sansio": "websockets_sansio_impl.WebSocketsSansIOProtocol",
}
"""uvicorn's protocols that the service may run on, by uvicorn's names. It uses the one that uvicorn would choose."""

LAUNCH = """
import ws_service.__main__ as service
from uvicorn.protocols.websockets import auto
from uvicorn.protocols.websockets.{} import {} as chosen

auto.AutoWebSocketsProtocol = chosen
service.main()
"""


@contextmanager
def running_service(
    folder: Path,
    *,
    app: str = APP,
    interpreter: str | Path = sys.executable,
    library: str | None = None,
    **settings: object,
) -> Iterator[Service]:
    """Run the service on a free port, with ``run/ws.sock`` in ``folder``; ``settings`` are keys of ``ws_service``.

    library: one of ``LIBRARIES``, as if uvicorn had chosen it; None: its own choice.
    """
    port = free_port()
    (folder / "live.py").write_text(app)
    config = {"listen": f"127.0.0.1:{port}", "app": "live:app", **settings}
    path = folder / f"service-{port}.yaml"
    path.write_text(json.dumps({"ws_service": config}))
    program: tuple[str | Path, ...] = ("-m", "ws_service")
    if library is not None:
        (folder / "launch.py").write_text(LAUNCH.format(*LIBRARIES[library].split(".")))
        program = (folder / "launch.py",)
    argv = (interpreter, *program, "--config", path)
    with running(*argv, ready="ws service ready on", cwd=folder) as process:
        yield Service(process, port, folder)


@contextmanager
def gateway_for(folder: Path, service: Service, **settings: object) -> Iterator[Gateway]:
    """Run a gateway that hands over to ``service``; ``settings`` are keys of ``gateway``."""
    options: dict[str, Any] = {"handoff": str(service.socket_file), **settings}
    with running_gateway(folder, dash="http://127.0.0.1:9", ws=service.url, **options) as gateway:
        yield gateway


WAYS = ("handed over", "tunnelled")


@contextmanager
def gateway_by(way: str, folder: Path, service: Service, **settings: object) -> Iterator[Gateway]:
    """Run a gateway whose WebSockets reach ``service`` by one of ``WAYS``, and is ready for that."""
    if way == "tunnelled":
        with gateway_for(folder, service, handoff="off", **settings) as gateway:
            yield gateway
        return
    with gateway_for(folder, service, **settings) as gateway:
        gateway.process.wait_for("takes WebSockets over")
        yield gateway


def open_socket(gateway: Gateway, target: str = "/echo", *fields: str, ahead: bytes = b"") -> Wire:
    """Open a WebSocket; returns it with nothing left to read.

    ahead: what is sent behind the handshake, in the same packet.
    """
    client = gateway.dial()
    client.send(handshake(target, *fields) + ahead)
    head = client.read_head()
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


def open_sockets(gateway: Gateway, count: int) -> list[Wire]:
    """Open many, and make sure that the service has each of them."""
    make_room_for(count)
    clients = [open_socket(gateway) for _ in range(count)]
    gateway.process.wait_for_count(" handed off -> ws", count)
    return clients


def make_room_for(count: int) -> None:
    """Let this process open so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 256:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 256, hard), hard))


def say(client: Wire, text: str) -> None:
    client.send(text_frame(text, mask=MASK))


def hear(client: Wire) -> str:
    heard = client.read_frame()
    assert heard.opcode == TEXT, heard
    return heard.payload.decode()


def echoes(client: Wire, text: str) -> bool:
    """Tell whether what is said comes back."""
    say(client, text)
    return hear(client) == text


def code_of(close: Frame) -> int:
    assert close.opcode == CLOSE, close
    return int.from_bytes(close.payload[:2], "big")
