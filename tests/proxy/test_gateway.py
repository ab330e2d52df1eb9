"""The path of one request, and the one place where an error becomes an answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.errors import Outcome
from proxy.frames import close_frame
from tests.processes import free_port
from tests.proxy.listening import HANDSHAKE, SWITCH, listening
from tests.proxy.origin import answering, origin, read_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NAVIGATION = b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html,*/*\r\nSec-Fetch-Mode: navigate\r\n\r\n"
CALLBACK = (
    b"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


async def test_a_navigation_gets_a_page_that_names_the_upstream_and_tries_again() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        answer = await gateway.ask(NAVIGATION)
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"\r\nContent-Type: text/html; charset=utf-8\r\n" in answer
        assert b"Retry-After: " in answer
        assert b"The upstream dash cannot be reached: connection refused." in body_of(answer)
        assert b"gateway.upstreams.dash" in body_of(answer)
        assert b'http-equiv="refresh"' in body_of(answer)


async def test_everything_else_gets_json() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        answer = await gateway.ask(CALLBACK)
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert b"\r\nContent-Type: application/json\r\n" in answer
        assert json.loads(body_of(answer))["error"] == "The upstream dash cannot be reached: connection refused."
        exchange = await gateway.ended()
        assert exchange.outcome is Outcome.UPSTREAM_FAILED
        assert "http://127.0.0.1:" in exchange.detail, "the log names the address, the answer does not"
        assert b"127.0.0.1" not in answer


async def test_a_fetch_that_would_take_html_is_no_navigation() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        answer = await gateway.ask(NAVIGATION.replace(b"navigate", b"cors"))
        assert b"Content-Type: application/json" in answer


async def test_an_error_to_head_has_no_body() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        answer = await gateway.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 502")
        assert body_of(answer) == b""


async def test_the_connection_survives_an_upstream_that_does_not() -> None:
    async with listening(f"http://127.0.0.1:{free_port()}") as gateway:
        async with gateway.client() as client:
            for _ in range(2):
                await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await client.read_head()
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                assert head.startswith(b"HTTP/1.1 502")
                await client.read(length)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET http://evil.test/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET evil HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
        HANDSHAKE.replace(b"Version: 13", b"Version: 8"),
        b"complete nonsense\r\n\r\n",
    ],
)
async def test_what_is_refused_reaches_no_upstream_and_closes_the_connection(request_: bytes) -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(request_)
            answer = await client.read_all()
            assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 426")
            assert b"Connection: close" in answer
        assert server.connections == 0
        assert (await gateway.ended()).outcome is Outcome.REFUSED


async def test_another_upgrade_is_answered_as_plain_http_on_a_connection_that_ends() -> None:
    seen = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_head(reader))
        writer.write(OK)
        await reader.read()

    async with origin(record) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            )
            answer = await client.read_all()
            assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
    assert b"upgrade" not in seen[0].lower()
    assert b"http2" not in seen[0].lower()


async def test_while_it_stops_new_requests_are_told_to_come_back() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            gateway.lifecycle.happen("stop")
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await client.read_all()
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"Retry-After: 1\r\n" in answer
            assert b"Connection: close" in answer
        assert (await gateway.ended()).outcome is Outcome.STOPPING


async def test_a_tunnel_whose_handshake_outlives_the_order_to_stop_is_closed_at_once() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await go.wait()
        writer.write(SWITCH)
        await reader.read()

    async with origin(slow) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await asked.wait()
            gateway.lifecycle.happen("stop")
            go.set()
            await client.read_head()
            assert await client.read(4) == close_frame(1012, masked=False)


async def test_a_tunnel_is_reported_when_it_opens_and_when_it_ends() -> None:
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await client.read_head()
            assert [x.ended for x in gateway.exchanges] == [None]
        await gateway.ended()
        assert len(gateway.exchanges) == 2
        assert gateway.exchanges[0] is gateway.exchanges[1]


async def test_each_exchange_has_an_id_of_its_own_and_the_upstream_gets_it() -> None:
    heads = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(OK)

    async with origin(record) as server, listening(server.url) as gateway:
        for _ in range(2):
            await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n\r\n")
        ids = [x.id for x in gateway.exchanges]
        assert len(set(ids)) == 2
        for id_, head in zip(ids, heads, strict=True):
            assert b"X-Request-ID: " + id_.encode() + b"\r\n" in head
            assert b"mine" not in head
