"""uvicorn's parts around one app, without a server: what an adopted socket is made of."""

from __future__ import annotations

import asyncio
import json
import socket
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from tests.wire import frames
from tests.wire.connection import read_frame
from tests.wire.frames import MASK
from tests.wire.messages import handshake


@pytest.fixture(
    name="event_loop_policy",
    params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy],
    ids=["asyncio", "uvloop"],
)
def both_loops(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """To be imported by a module whose tests are to run on both event loops."""
    return request.param()  # type: ignore[no-any-return]


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Accept and tell the scope, then echo; or refuse, or fail, or close, as the path says."""
    assert scope["type"] == "websocket", scope["type"]
    assert (await receive())["type"] == "websocket.connect"
    match scope["path"]:
        case "/refuse":
            await send({"type": "websocket.close", "code": 1008})
        case "/answer":
            await send({"type": "websocket.http.response.start", "status": 418, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"short and stout"})
        case "/fail":
            raise RuntimeError("the app's own fault")
        case "/close":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 3001, "reason": "enough"})
        case "/silent":
            await receive()
        case _:
            await send({"type": "websocket.accept"})
            told = {key: scope[key] for key in ("client", "scheme", "path", "raw_path", "state", "headers")}
            await send({"type": "websocket.send", "text": json.dumps(told, default=bytes.decode)})
            while (message := await receive())["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": message["text"]})


def parts(app: Any = application, *, ws: str = "auto", **options: Any) -> dict[str, Any]:
    """Return uvicorn's config, state and the state of a lifespan, as a protocol's constructor wants them."""
    config = uvicorn.Config(app, ws=ws, log_config=None, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # uvicorn and websockets say that the older implementation is on its way out
        config.load()
    return {"config": config, "server_state": ServerState(), "app_state": {"pool": "from lifespan"}}


class Peer:
    """The client's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def say(self, text: str) -> None:
        self.writer.write(text_frame(text))

    async def head(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of a frame."""
        async with asyncio.timeout(10):
            frame = await read_frame(self._reader)
        return frame.opcode, frame.payload

    async def rest(self) -> bytes:
        """Return everything up to the end, however it comes."""
        async with asyncio.timeout(10):
            try:
                return await self._reader.read()
            except ConnectionResetError:
                return b""

    async def leave(self) -> None:
        """Close once the server has closed its direction, as RFC 6455, 7.1.1, wants it."""
        await self.rest()
        self.writer.close()


@asynccontextmanager
async def tcp() -> AsyncIterator[tuple[socket.socket, Peer]]:
    """Yield the two ends of a TCP connection: the accepted socket, which somebody else closes, and the client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        try:
            yield accepted, Peer(reader, writer)
        finally:
            writer.transport.abort()
            accepted.close()


def head(target: str = "/echo", *fields: str) -> bytes:
    """Return a handshake as the gateway sends it."""
    return handshake(target, *fields).replace(b"Upgrade: ", b"UPGRADE: ", 1)


def text_frame(text: str) -> bytes:
    """Return a text message of the client."""
    return frames.text_frame(text, mask=MASK)


def close_frame(code: int) -> bytes:
    """Return a close frame of the client."""
    return frames.close_frame(code, mask=MASK)
