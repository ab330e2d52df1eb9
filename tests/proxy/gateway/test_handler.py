"""The path of one request."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import Outcome
from tests.proxy.listening import HANDSHAKE, listening
from tests.proxy.origin import answering, origin, read_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


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
        b"head / HTTP/1.1\r\nHost: x\r\n\r\n",
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


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "request_line"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2000 + b"\r\n\r\n", "header"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 16 + b"\r\n", "header"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", "body"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", ""),
    ],
)
async def test_the_record_of_what_is_too_large_names_the_limit(request_: bytes, limit: str) -> None:
    limits = {"request_line": "1KiB", "header": "1KiB", "fields": 16, "body": "10B"}
    async with listening(limits=limits) as gateway, gateway.client() as client:
        await client.send(request_)
        assert (await client.read_all()).startswith(b"HTTP/1.1 4")
        assert (await gateway.ended()).limit == limit


async def test_a_handshake_that_lost_its_upgrade_is_an_ordinary_get_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """nginx without its two lines sends it like that, and the browser shows no more than "200"."""
    lost = HANDSHAKE.replace(b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Connection: close\r\n")
    for number in range(3):
        async with origin(answering(OK)) as server, listening(server.url) as gateway:
            asked = [lost, lost.replace(b"HTTP/1.1", b"HTTP/1.0"), lost.replace(b"close", b"Upgrade\r\nUpgrade: h2c")]
            assert (await gateway.ask(asked[number])).startswith(b"HTTP/1.1 200 OK\r\n")
            exchange = await gateway.ended()
            assert exchange.detail == "Sec-WebSocket-Key without Upgrade: websocket"
            assert (exchange.upstream, exchange.outcome) == ("dash", Outcome.SERVED)
    caplog.clear()
    async with origin(answering(OK, OK, OK, OK)) as server, listening(server.url) as gateway:
        for _ in range(3):
            await gateway.ask(lost)
        await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    (line,) = [record for record in caplog.records if record.module == "limited_log"]
    assert line.levelname == "WARNING"
    assert "handshake from 127.0.0.1 came without Upgrade: websocket" in line.getMessage()
    assert (
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;" in line.getMessage()
    )


@pytest.mark.parametrize(
    "body", [b"\r\n", b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("offer", [b"h2c", b"", b"websocket"])
async def test_an_offer_to_upgrade_is_answered_as_plain_http_and_the_connection_goes_on(
    offer: bytes, body: bytes
) -> None:
    seen = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_head(reader))
            if body.startswith(b"Content"):
                assert await reader.readexactly(2) == b"ok"
            elif body.startswith(b"Transfer"):
                assert await reader.readexactly(5) == b"0\r\n\r\n"
            writer.write(OK)

    async with origin(record) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            for _ in range(2):
                await client.send(
                    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n"
                    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n%b" % (offer, body)
                )
                assert await client.read(len(OK)) == OK
    assert len(seen) == 2
    assert b"upgrade" not in b"".join(seen).lower()
    assert b"http2" not in b"".join(seen).lower()


async def test_while_it_stops_a_request_on_an_open_connection_is_served_and_is_its_last() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            gateway.begin_to_stop()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await client.read_all() == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await gateway.ended()).outcome is Outcome.SERVED
