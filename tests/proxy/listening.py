"""A gateway in the test's own loop, on a real port, with what it has recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from proxy.config import Settings
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.runtime import Runtime, make_runtime
from proxy.http1.client_connection import ClientConnection
from proxy.http1.connection_manager import ConnectionManager
from proxy.http1.headers import Head
from proxy.http1.request_handler import ActiveExchange
from tests.wire.messages import handshake, switching

HANDSHAKE = handshake("/live", host="example.test:8000")
SWITCH = switching()


class Client:
    """Raw bytes to the gateway and back, each read bounded in time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_head(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.readexactly(count)

    @property
    def is_at_end(self) -> bool:
        """Whether the gateway has ended the connection, and everything is read."""
        return self._reader.at_eof()

    async def read_all(self) -> bytes:
        async with asyncio.timeout(10):
            return await self._reader.read()


class Listening:
    """A gateway that listens."""

    def __init__(
        self, port: int, gateway: Gateway, manager: ConnectionManager, lifecycle: Lifecycle[Exchange], runtime: Runtime
    ) -> None:
        self.port, self.gateway, self.manager, self.lifecycle = port, gateway, manager, lifecycle
        self.runtime = runtime
        self.dash, self.ws = runtime.upstreams["dash"], runtime.upstreams["ws"]
        self.exchanges: list[Exchange] = []
        self.plain = 0
        """How many requests were carried the plain way, at least at first."""
        self._changed = asyncio.Condition()
        self._notes: set[asyncio.Task[None]] = set()

    def count(self, carried: ActiveExchange | None) -> ActiveExchange | None:
        self.plain += carried is not None
        self._notice()
        return carried

    def observe(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self._notice()

    def _notice(self) -> None:
        task = asyncio.get_running_loop().create_task(self._note(), name="note of an exchange")
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def carries(self, count: int) -> None:
        """Wait until so many requests have gone the plain way."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.plain >= count)

    def reload(self, **values: Any) -> None:
        """Serve by other settings from here on: some keys of the ones before."""
        before = self.runtime.settings.model_dump(mode="json")
        values["timeouts"] = before["timeouts"] | values.get("timeouts", {})
        self.runtime = make_runtime(Settings.model_validate(before | values), self.runtime)
        self.runtime.reconfigure_upstreams()
        self.gateway.reconfigure(self.runtime)
        self.manager.reconfigure(self.runtime.settings)

    def begin_to_stop(self) -> None:
        """Take nothing new, as a drain begins."""
        self.lifecycle.happen("stop")
        self.manager.leave()

    async def waits(self, count: int = 1) -> None:
        """Wait until so many requests wait for an upstream."""
        async with asyncio.timeout(10):
            while self.dash.queue.waiting + self.ws.queue.waiting != count:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Cut what is left, as a drain ends."""
        await self.manager.shutdown(0.1)

    async def ended(self, count: int = 1) -> Exchange:
        """Wait until so many exchanges have ended; return the last."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: sum(x.ended is not None for x in self.exchanges) >= count)
        return [x for x in self.exchanges if x.ended is not None][-1]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        try:
            yield Client(reader, writer)
        finally:
            writer.transport.abort()

    async def ask(self, request: bytes) -> bytes:
        """Send one request on a connection of its own that ends with it; return everything that comes back."""
        head, _, rest = request.partition(b"\r\n")
        async with self.client() as client:
            await client.send(head + b"\r\nConnection: close\r\n" + rest)
            return await client.read_all()


class _Counting:
    """A gateway whose simple requests are counted."""

    def __init__(self, gateway: Gateway, count: Callable[[ActiveExchange | None], ActiveExchange | None]) -> None:
        self._gateway, self._count = gateway, count
        self.handle, self.refuse, self.lease_buffer = gateway.handle, gateway.refuse, gateway.lease_buffer

    def offer_simple(self, connection: ClientConnection, head: Head, body: bytes) -> ActiveExchange | None:
        return self._count(self._gateway.offer_simple(connection, head, body))


@asynccontextmanager
async def listening(dash: str = "http://127.0.0.1:9", ws: str | None = None, **values: Any) -> AsyncIterator[Listening]:
    """Run a gateway in front of ``dash`` and ``ws`` (the same where it is None); ``values`` are settings."""
    values["timeouts"] = {"drain_window": 0, **values.get("timeouts", {})}
    upstreams = {"dash": dash, "ws": ws or dash} | values.pop("upstreams", {})
    settings = Settings.model_validate({"upstreams": upstreams, "handoff": "off", **values})
    empty = asyncio.Event()
    lifecycle: Lifecycle[Exchange] = Lifecycle()
    lifecycle.on_empty = empty.set
    runtime = make_runtime(settings)
    gateway = Gateway(runtime, lifecycle, lambda exchange: rig.observe(exchange))
    manager = ConnectionManager(_Counting(gateway, lambda exchange: rig.count(exchange)), settings)
    server = await asyncio.get_running_loop().create_server(manager, "127.0.0.1", 0)
    rig = Listening(server.sockets[0].getsockname()[1], gateway, manager, lifecycle, runtime)
    lifecycle.happen("listening")
    try:
        yield rig
    finally:
        server.close()
        if lifecycle.is_ready:
            lifecycle.happen("stop")
        gateway.websockets.abort_tunnels()
        gateway.handoff.close()
        await manager.shutdown(1)
        if lifecycle.in_flight:
            async with asyncio.timeout(5):
                await empty.wait()
        for upstream in runtime.upstreams.values():
            upstream.close()
            await upstream.closed()
            assert (upstream.queue.in_flight, upstream.queue.waiting) == (0, 0), "every turn was given back"
        assert not lifecycle.in_flight, "every exchange that began has ended"
