"""A connection of the service around one app, with a client at its other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.wire.frames import MASK, frame
from tests.ws_service.adopting import Peer, head, parts, tcp
from ws_service.websocket.connection import Connection
from ws_service.websocket.library import lent_state, library_class
from ws_service.websocket.resources import Resources


class App:
    """Accepts, and takes messages as fast as it is told to."""

    def __init__(self, *, accepts: bool = True, returns: bool = False, sends: int = 0) -> None:
        self.accepts, self.returns, self.sends = accepts, returns, sends
        self.may_take = asyncio.Event()
        self.heard: list[Any] = []
        self.scope: Any = None
        self.error: BaseException | None = None
        self._changed = asyncio.Event()

    async def has_heard(self) -> None:
        """Wait for the next message."""
        self._changed.clear()
        await self._changed.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        assert (await receive())["type"] == "websocket.connect"
        if self.returns:
            return
        if not self.accepts:
            assert (await receive())["type"] == "websocket.disconnect"
            return
        await send({"type": "websocket.accept"})
        for _ in range(self.sends):
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
        await self.may_take.wait()
        while (message := await receive())["type"] == "websocket.receive":
            self.heard.append(message.get("text") if message.get("text") is not None else message["bytes"])
            self._changed.set()
        if self.error is not None:
            raise self.error


class Begins(App):
    """Begins an answer that is no 101, and does not go on. The newer library waits for it; the older sends the head."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await self.may_take.wait()


class Fed(Connection):
    """A connection that is fed a head as soon as it has a transport, as each of those in use is."""

    head: bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.feed_head(self.head)


class Rig:
    def __init__(self, peer: Peer, connection: Connection, resources: Resources, made_of: dict[str, Any]) -> None:
        self.peer, self.connection, self.resources, self.made_of = peer, connection, resources, made_of

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            while self.made_of["server_state"].connections:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(
    app: App,
    ws: str = "websockets-sansio",
    *fields: str,
    limit: int = 64 << 20,
    handshake: float = 15,
    send: float | None = 60,
    shared: Resources | None = None,
) -> AsyncIterator[Rig]:
    made_of = parts(app, ws=ws, ws_per_message_deflate=True)
    config, state = made_of["config"], made_of["server_state"]
    async with tcp() as (sock, peer):
        resources = Resources(limit) if shared is None else shared
        library = library_class(config)(config=config, server_state=lent_state(state), app_state=made_of["app_state"])
        connection = Fed(library, state.connections, resources, handshake=handshake, send=send)
        connection.head = head("/x", *fields).replace(b"UPGRADE", b"upgrade")
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        rig = Rig(peer, connection, resources, made_of)
        yield rig
        peer.writer.transport.abort()
        app.may_take.set()
        await rig.ended()
        async with asyncio.timeout(10):
            await asyncio.gather(*state.tasks, return_exceptions=True)
        if shared is None:
            assert len(resources.sweep) == len(resources.memory) == len(resources.scheduler) == 0, "all is given back"


def fragment(first: int, payload: bytes) -> bytes:
    """Return a frame of the client. first: its first byte, FIN and opcode."""
    return frame(first & 0x0F, payload, fin=bool(first & 0x80), rsv=first >> 4 & 7, mask=MASK)
