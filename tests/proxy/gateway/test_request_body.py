"""A request body on its way to the upstream: its framing, its timeouts, and 100-continue."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import Outcome
from tests.proxy.listening import Client, listening
from tests.proxy.origin import Script, origin, read_head, silent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_body_that_stops_coming_is_answered_408() -> None:
    async with origin(silent) as server, listening(server.url, timeouts={"body": "100ms"}) as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
            head = await client.read_head()
            assert head.startswith(b"HTTP/1.1 408")
            assert b"Connection: close" in head
        assert (await gateway.ended()).outcome is Outcome.CLIENT_STALLED


async def test_a_body_that_trickles_is_answered_408() -> None:
    """A piece comes often enough, but there is next to nothing in it."""
    async with origin(silent) as server, listening(server.url, timeouts={"body": "400ms"}) as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            trickle = asyncio.get_running_loop().create_task(send_slowly(client, b"x", 0.05), name="trickle")
            assert (await client.read_head()).startswith(b"HTTP/1.1 408 ")
            trickle.cancel()
        exchange = await gateway.ended()
        assert exchange.outcome is Outcome.CLIENT_STALLED
        assert exchange.detail == "The request's body comes at less than 240 bytes a second."
        assert 4 <= exchange.received < 100


async def test_a_body_that_is_slow_but_comes_is_not_cut() -> None:
    async with origin(answering_whole(8000)) as server, listening(server.url, timeouts={"body": "200ms"}) as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000\r\n\r\n")
            trickle = asyncio.get_running_loop().create_task(send_slowly(client, b"x" * 800, 0.05, 10), name="trickle")
            assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")
            await trickle
        assert (await gateway.ended()).duration > 0.4


async def test_a_broken_chunk_of_a_request_never_reaches_the_upstream_as_an_end() -> None:
    seen = bytearray()
    arrived = asyncio.Event()

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.extend(data)
            if b"good" in seen:
                arrived.set()

    async with origin(record) as server, listening(server.url, timeouts={"body": "200ms"}) as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n")
            await arrived.wait()
            await client.send(b"zz\r\nbad\r\n0\r\n\r\n")
            assert (await client.read_head())[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408")
        await server.wait_closed(1)
        assert b"0\r\n\r\n" not in seen


async def test_the_upstream_is_asked_before_the_client_is_told_to_continue() -> None:
    told = asyncio.Event()

    async def careful(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert b"Expect: 100-continue" in await read_head(reader)
        told.set()
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(4) == b"body"
        writer.write(OK)
        await reader.read()

    async with origin(careful) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert told.is_set()
            await client.send(b"body")
            assert (await client.read_head()).startswith(b"HTTP/1.1 200")


async def test_an_upstream_that_never_says_continue_gets_the_body_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.gateway.request_body._CONTINUE_TIMEOUT", 0.05)

    async def terse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await reader.readexactly(4) == b"body"
        writer.write(OK)
        await reader.read()

    async with origin(terse) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert await client.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"body")
            assert (await client.read_head()).startswith(b"HTTP/1.1 200")


def answering_whole(size: int) -> Script:
    """A script that answers once it has so many bytes of body."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(size)
        writer.write(OK)
        await reader.read()

    return script


async def send_slowly(client: Client, piece: bytes, pause: float, count: int = 10**6) -> None:
    for _ in range(count):
        await client.send(piece)
        await asyncio.sleep(pause)
