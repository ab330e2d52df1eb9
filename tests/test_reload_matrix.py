"""Ways of an exchange x timeouts of the configuration: each exchange keeps the timeout that it began with.

One exchange begins before a reload and one after it. The one with the short timeout ends by it and names it, the other
one goes on: whichever of them is older.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import Outcome
from proxy.exchange.record import Exchange
from tests.processes import free_port
from tests.proxy.adopter import place
from tests.proxy.listening import HANDSHAKE, SWITCH, Client, Listening, listening
from tests.proxy.origin import Script, answering, origin, read_head, silent
from ws_service.handoff import protocol as wire

SHORT, LONG = 0.2, 60.0
"""Seconds. The short one is the least that slow readers may have."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CALLBACK = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\nbegun"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
UPGRADE = HANDSHAKE.replace(b"/live", b"/", 1)


@pytest.fixture(autouse=True)
def _tunnels_close_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.websocket.closing.CLOSE_TIMEOUT", 0.05)


# -- upstreams


def flooding(head: bytes) -> Script:
    """Answers a request, and then sends more than a client takes that does not read."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(head)
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    return script


async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the first request of a connection, and no other."""
    await read_head(reader)
    writer.write(OK)
    await reader.read()


LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n"
FRAME = SWITCH + b"\x82\x7f" + (1 << 40).to_bytes(8)  # a WebSocket frame without an end


@dataclass(frozen=True)
class Cell:
    """One way and one timeout.

    script: the upstream's; None: nothing listens there. outcome, says: how the exchange ends that the timeout ends;
    the sentence has the seconds in it. state: what is so beside that. answered: whether the head of an answer comes
    first, and what is timed comes after it.
    """

    way: str
    timeout: str
    request: bytes
    script: Script | None
    outcome: Outcome
    says: str = ""
    state: str = ""
    answered: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.way}, {self.timeout}{self.state and f', {self.state}'}"


def cells() -> Iterator[Cell]:
    late, away = Outcome.UPSTREAM_TIMEOUT, Outcome.UPSTREAM_UNREACHABLE
    began, connected = "did not begin to answer within {} s", "finish a TLS handshake within {} s"
    hears, returned = "did not answer the auth request within {} s", "did not come back within {} s"
    queued, shook = "could take no other request within {} s", "did not answer the WebSocket handshake within {} s"
    yield Cell("fast path", "response", GET, once, late, began)
    yield Cell("fast path", "response", CALLBACK, once, late, began, "with a body")
    yield Cell("fast path", "send", GET, flooding(LARGE), Outcome.TOO_SLOW, answered=True)
    yield Cell("ordinary", "response", GET, silent, late, began)
    yield Cell("ordinary", "body", UPLOAD, silent, Outcome.CLIENT_STALLED, "stopped coming for {} s")
    yield Cell("ordinary", "send", GET, flooding(LARGE), Outcome.TOO_SLOW, answered=True)
    yield Cell("event stream", "send", GET, flooding(EVENTS), Outcome.TOO_SLOW, answered=True)
    yield Cell("tunnel", "handshake", UPGRADE, silent, late, shook)
    yield Cell("tunnel", "tunnel_idle", UPGRADE, answering(SWITCH), Outcome.IDLE, answered=True)
    yield Cell("tunnel", "send", UPGRADE, flooding(FRAME), Outcome.TOO_SLOW, answered=True)
    yield Cell("handed off", "handshake", UPGRADE, silent, late, "did not take the socket within {} s")
    for way, request in (("ordinary", GET), ("tunnel", UPGRADE)):
        yield Cell(way, "connect", request, silent, late, connected, "TLS")
    rules = {"auth": [{"path": "/", "ask": "/ask"}]}
    for way, request in (("ordinary", GET), ("tunnel", UPGRADE), ("handed off", UPGRADE)):
        yield Cell(way, "auth", request, silent, late, hears, values=rules)
    full = {"limits": {"in_flight": 1}}
    for way, request in (("ordinary", GET), ("ordinary", UPLOAD), ("tunnel", UPGRADE)):
        yield Cell(way, "queue", request, silent, Outcome.UPSTREAM_FULL, queued, "full", values=full)
    for request in (GET, CALLBACK, UPLOAD):
        yield Cell("ordinary", "hold", request, None, away, returned)
    yield Cell("tunnel", "hold", UPGRADE, None, away, returned)


CELLS = list(cells())


class Play:
    """A gateway, and exchanges of one cell through it."""

    def __init__(self, cell: Cell, gateway: Listening, stack: AsyncExitStack) -> None:
        self._cell, self.gateway, self._stack = cell, gateway, stack

    async def begin(self, target: str) -> Client:
        """Have an exchange under way, where the cell's timeout holds."""
        client = await self._stack.enter_async_context(self.gateway.client())
        await client.send(self._cell.request.replace(b" / ", b" %b " % target.encode(), 1))
        async with asyncio.timeout(10):
            while not any(x.target == target for x in self.gateway.lifecycle.in_flight):  # noqa: ASYNC110 - as below
                await asyncio.sleep(0)
        if self._cell.answered:
            await client.read_head()
        await self.turns()
        return client

    def is_over(self, target: str) -> bool:
        """Tell whether an exchange has come to its end, or a tunnel has begun to close."""
        x = self._record(target)
        return x is not None and x.ended is not None

    async def over(self, target: str) -> Exchange:
        """Wait until an exchange is over."""
        async with asyncio.timeout(10):
            while not self.is_over(target):  # noqa: ASYNC110 - a tunnel tells nobody that it begins to close
                await asyncio.sleep(0.001)
        exchange = self._record(target)
        assert exchange is not None
        return exchange

    async def turns(self) -> None:
        """Let the loop do what it can do at once."""
        for _ in range(20):
            await asyncio.sleep(0)

    def _record(self, target: str) -> Exchange | None:
        return next((x for x in self.gateway.exchanges if x.target == target), None)


async def _fill(cell: Cell, gateway: Listening, stack: AsyncExitStack) -> None:
    """Have as many idle connections to the upstream as the cell needs, or a request that takes the only slot."""
    if cell.way == "fast path" and cell.timeout == "response":
        clients = [await stack.enter_async_context(gateway.client()) for _ in range(2)]
        for client in clients:
            await client.send(GET)
        for client in clients:
            await client.read_head()
        await gateway.ended(2)
        assert gateway.dash.idle == 2
    if cell.state == "full":
        client = await stack.enter_async_context(gateway.client())
        await client.send(cell.request if cell.way == "tunnel" else GET)
        async with asyncio.timeout(10):
            while not gateway.dash.queue.in_flight + gateway.ws.queue.in_flight:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)


@asynccontextmanager
async def playing(cell: Cell, seconds: float, folder: Path) -> AsyncIterator[Play]:
    """A gateway on which the cell's timeout has so many seconds."""
    values: dict[str, Any] = dict(cell.values)
    values["timeouts"] = {"hold": 0, "upstream_idle": "60s", cell.timeout: f"{seconds * 1000:.0f}ms"}
    async with AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{free_port()}"
        if cell.script is not None:
            url = (await stack.enter_async_context(origin(cell.script))).url
        if cell.state == "TLS":
            url = url.replace("http:", "https:")
        service = None
        if cell.way == "handed off":
            values["handoff"] = str(folder / "ws.sock")
            service = await stack.enter_async_context(place(folder / "ws.sock"))
        gateway = await stack.enter_async_context(listening(url, **values))
        if service is not None:
            async with asyncio.TaskGroup() as group:
                group.create_task(gateway.gateway.handoff.start())
                await service.accept()
        await _fill(cell, gateway, stack)
        yield Play(cell, gateway, stack)


@pytest.mark.parametrize(("before", "after"), [(SHORT, LONG), (LONG, SHORT)], ids=["longer", "shorter"])
@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_an_exchange_keeps_its_timeout_and_the_next_one_has_the_new_one(
    cell: Cell, before: float, after: float, tmp_path: Path
) -> None:
    async with playing(cell, before, tmp_path) as play:
        at_first = play.gateway.plain
        await play.begin("/old")
        assert (play.gateway.plain > at_first) == (cell.way == "fast path" and cell.timeout == "response")
        play.gateway.reload(timeouts={cell.timeout: f"{after * 1000:.0f}ms"})
        await play.begin("/new")
        short, long = ("/old", "/new") if before < after else ("/new", "/old")
        exchange = await play.over(short)
        await play.turns()
        assert not play.is_over(long)
        assert exchange.outcome is cell.outcome
        assert cell.says.format(f"{SHORT:g}") in exchange.detail
        assert re.search(f"{LONG:g} s", exchange.detail) is None
        assert exchange.ended is not None and exchange.ended - exchange.began >= SHORT - 0.01


# -- connections


@pytest.mark.parametrize(("before", "after"), [(SHORT, LONG), (LONG, SHORT)], ids=["longer", "shorter"])
@pytest.mark.parametrize(
    ("timeout", "sent", "ends"),
    [
        ("keepalive", GET, b""),
        ("keepalive", CHUNKED, b""),
        ("head", b"GET / HT", b"HTTP/1.1 408 Request Timeout\r\n"),
        ("head", b"", b""),
    ],
    ids=["keepalive, fast path", "keepalive, ordinary", "head, begun", "head, not begun"],
)
async def test_a_connection_keeps_its_timeout_and_the_next_one_has_the_new_one(
    timeout: str, sent: bytes, ends: bytes, before: float, after: float
) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(origin(answering(OK, OK)))
        gateway = await stack.enter_async_context(listening(server.url, timeouts={timeout: f"{before * 1000:.0f}ms"}))
        clients = []
        for number in range(2):
            client = await stack.enter_async_context(gateway.client())
            await client.send(sent)
            async with asyncio.timeout(10):
                while len(gateway.manager.connections) <= number:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0)
            if timeout == "keepalive":
                assert await client.read(len(OK)) == OK
                await gateway.ended(number + 1)
            for _ in range(20):
                await asyncio.sleep(0)
            clients.append(client)
            if not number:
                gateway.reload(timeouts={timeout: f"{after * 1000:.0f}ms"})
        short, long = clients if before < after else reversed(clients)
        assert (await short.read_all()).startswith(ends)
        assert not long.is_at_end


# -- limits


async def test_an_exchange_keeps_the_limit_of_bodies_that_it_began_with_and_names_it() -> None:
    async with origin(silent) as server, listening(server.url, limits={"body": "1KiB"}) as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n" + b"x" * 512)
            async with asyncio.timeout(10):
                while not gateway.dash.queue.in_flight:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0)
            gateway.reload(limits={"body": "9KiB"})
            await client.send(b"\r\n400\r\n" + b"x" * 1024)
            assert (await client.read_head()).startswith(b"HTTP/1.1 413 ")
            assert (await gateway.ended()).detail == "The request's body is larger than 1024 bytes."


async def test_a_tunnel_keeps_what_may_wait_for_its_client() -> None:
    few, many = {"buffered_per_client": "128KiB"}, {"buffered_per_client": "1GiB"}
    go = asyncio.Event()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await go.wait()
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async with origin(upstream) as server, listening(server.url, limits=few, buffer="256KiB") as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await client.read_head()
            gateway.reload(limits=many)
            go.set()
            assert (await gateway.ended()).outcome is Outcome.TOO_SLOW


async def test_a_handshake_that_waits_is_handed_off_with_the_timeouts_that_it_began_with(tmp_path: Path) -> None:
    old, new = {"handshake": "11s", "send": "12s"}, {"handshake": "21s", "send": "22s"}
    path = tmp_path / "ws.sock"
    async with listening(f"http://127.0.0.1:{free_port()}", handoff=str(path), timeouts=old) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await gateway.waits()
            gateway.reload(timeouts=new)
            async with place(path) as service:
                async with asyncio.TaskGroup() as group:
                    group.create_task(gateway.gateway.handoff.start())
                    adopter = await service.accept()
                gateway.ws.queue.resume()  # as when its health check reaches it
                message, descriptors = await adopter.receive()
                assert isinstance(message, wire.Open)
                assert (message.handshake, message.send) == (11, 12)
                await adopter.send(wire.Adopted(message.socket.id))
                for descriptor in descriptors:
                    os.close(descriptor)
