"""A client of event streams without a network: what an ASGI server would ask, and what it would be given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from tests.ws_service.hub.session_play import NAMESPACES, Rights
from ws_service.hub.broker import Broker
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.client import Client
from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.handshake import Handshake, Receiver
from ws_service.hub.hub import Hub
from ws_service.hub.limits import DEFAULTS, Limits
from ws_service.hub.publication import Position, Publication
from ws_service.hub.sse import EventStreams
from ws_service.websocket.listener import ABORT


class StreamHub(Hub):
    """The real hub, with a broker in memory."""

    def __init__(self, broker: Broker | None = None, limits: Limits = DEFAULTS) -> None:
        super().__init__(broker or MemoryBroker(), NAMESPACES, Rights(), limits)
        self.handshakes: list[Handshake] = []

    def connect(self, connection: ClientConnection, handshake: Handshake, *, answers_pings: bool = True) -> Receiver:
        self.handshakes.append(handshake)
        return Client(self, connection, handshake.field("x-user") or "", answers_pings=answers_pings)

    async def publish_data(self, topic: str, data: bytes) -> Position | None:
        return await self.publish(topic, Publication(data), self.namespaces.of(topic).keep)


@asynccontextmanager
async def running_hub(broker: Broker | None = None, limits: Limits = DEFAULTS) -> AsyncIterator[StreamHub]:
    hub = StreamHub(broker, limits)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.close()


class Page:
    """One request. gate: while it is not set, the server takes nothing (a client that does not read)."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: dict[str, str] = {}
        self.body = b""
        self.is_complete = self.is_aborted = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()
        self.task: asyncio.Task[None]

    def open(
        self,
        streams: EventStreams,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        address: str = "192.0.2.1",
        **query: str,
    ) -> Page:
        scope = {
            "type": "http",
            "method": method,
            "path": "/x/connection/uni_sse",
            "query_string": urlencode(query).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
            "client": (address, 1),
            "extensions": {ABORT: self.abort},
        }
        self.task = asyncio.get_running_loop().create_task(
            streams(scope, self._receive, self._send),  # type: ignore[arg-type]
            name="page",
        )
        return self

    def abort(self) -> None:
        self.is_aborted = True
        self.leave()

    def leave(self) -> None:
        """Be gone: the server knows it."""
        self._gone.set()
        self.gate.set()

    async def until(self, part: bytes) -> bytes:
        """Wait until the body has ``part`` in it; return the body."""
        async with asyncio.timeout(5):
            while part not in self.body:
                if self.task.done():
                    raise AssertionError(f"the stream has ended with {self.body!r}")
                self._changed.clear()
                await self._changed.wait()
        return self.body

    async def end(self) -> Page:
        """Wait until the app has returned."""
        async with asyncio.timeout(5):
            await self.task
        return self

    @property
    def events(self) -> list[str]:
        """The events so far, without the first, which is ``retry``."""
        return self.body.decode().split("\n\n")[1:-1]

    async def _receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.gate.wait()
        if self._gone.is_set():
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.fields = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")
            self.is_complete = not message.get("more_body", False)
        self._changed.set()
