"""aiohttp's server on a transport that it is lent, with a connection that only notes what it is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http1.aiohttp_server import StreamedExchange, make_server
from proxy.http1.chunked import ProtocolError
from proxy.http1.client_socket import Pause
from proxy.http1.client_stream import ClientStream, RequestBody, SentResponse
from proxy.http1.headers import Head

Handle = Callable[[RequestBody], Awaitable[SentResponse]]


class Connection:
    """A client's connection, as far as aiohttp's side calls it."""

    transport = peer = None
    settings = SimpleNamespace(buffer=1024)

    def __init__(self, handle: Handle) -> None:
        self.manager = self.handler = self.socket = self
        self.streaming = make_server(self.settings.buffer)
        self._handle = handle
        self.is_paused = False
        self.ended = asyncio.get_running_loop().create_future()
        self.count = 0

    def exchange_ended(self, keep_alive: bool) -> None:
        self.count += 1
        self.ended.set_result(keep_alive)

    async def handle(self, stream: ClientStream) -> SentResponse:
        return await self._handle(stream.body)

    def pause(self, why: Pause) -> None:
        self.is_paused = True

    def resume(self, why: Pause) -> None:
        self.is_paused = False


class Rig:
    """One exchange."""

    def __init__(self, handle: Handle, length: int | None) -> None:
        self.connection = Connection(handle)
        self.server = self.connection.streaming
        self.exchange = StreamedExchange(cast(Any, self.connection), Head("POST", "/", (1, 1), ()), 0, length)

    async def end(self) -> bool:
        async with asyncio.timeout(10):
            kept: bool = await self.connection.ended
            while self.server.connections:  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(0)
        assert self.connection.count == 1
        assert len(asyncio.all_tasks()) == 1
        return kept


async def read_all(body: RequestBody) -> bytes:
    data = b""
    while piece := await body.read():
        data += piece
    return data


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=6), st.booleans())
def test_a_body_is_read_as_it_came_however_it_is_framed_and_cut(pieces: list[bytes], chunked: bool) -> None:
    whole = b"".join(pieces)
    got: list[bytes] = []

    async def handle(body: RequestBody) -> SentResponse:
        got.append(await read_all(body))
        assert (body.is_whole, body.size) == (True, len(whole))
        return SentResponse(keep_alive=True)

    async def main() -> None:
        rig = Rig(handle, None if chunked else len(whole))
        for number, piece in enumerate(pieces, 1):
            while rig.connection.is_paused:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            rig.exchange.body_received(piece, is_last=number == len(pieces))
        assert await rig.end()

    asyncio.run(main())


async def test_a_body_that_breaks_off_is_told_to_a_handler_that_waits_for_it() -> None:
    async def handle(body: RequestBody) -> SentResponse:
        assert await body.read() == b"a"
        with pytest.raises(ProtocolError, match="broken"):
            await body.read()
        assert not body.is_whole
        return SentResponse(keep_alive=False)

    rig = Rig(handle, None)
    rig.exchange.body_received(b"a", is_last=False)
    await asyncio.sleep(0.01)
    rig.exchange.body_broken(ProtocolError("broken"))
    assert not await rig.end()


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("way", ["client_left", "cut"])
async def test_a_handler_is_cancelled_and_its_end_is_told_once_whenever_the_client_leaves(steps: int, way: str) -> None:
    seen = []

    async def handle(body: RequestBody) -> SentResponse:
        seen.append("begun")
        try:
            await body.read()
        finally:
            seen.append("ended")
        raise AssertionError("nothing has come")

    rig = Rig(handle, 5)
    for _ in range(steps):
        await asyncio.sleep(0)
    getattr(rig.exchange, way)()
    assert not await rig.end()
    assert seen in ([], ["begun", "ended"])
    rig.exchange.close()
    assert rig.connection.count == 1


async def test_a_handler_that_fails_ends_the_exchange_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async def handle(body: RequestBody) -> SentResponse:
        raise ValueError("a bug")

    rig = Rig(handle, 5)
    assert not await rig.end()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "a fault of the gateway itself"
    ]


async def test_a_body_that_is_not_read_makes_the_client_wait_and_ends_with_the_exchange() -> None:
    may_end = asyncio.Event()

    async def handle(body: RequestBody) -> SentResponse:
        await may_end.wait()
        return SentResponse(keep_alive=False)

    rig = Rig(handle, 100_000)
    rig.exchange.body_received(b"x" * 5000, is_last=False)
    assert rig.connection.is_paused
    may_end.set()
    assert not await rig.end()


async def test_aiohttp_has_nothing_of_the_clients_socket_and_writes_nothing() -> None:
    async def handle(body: RequestBody) -> SentResponse:
        return SentResponse(keep_alive=False)

    rig = Rig(handle, 5)
    assert rig.exchange.get_extra_info("socket") is None
    with pytest.raises(RuntimeError):
        rig.exchange.write(b"HTTP/1.1 500 Internal Server Error\r\n\r\n")
    await rig.end()
