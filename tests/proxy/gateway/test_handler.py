"""The path of one request."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from proxy.errors import Outcome
from tests.processes import free_port
from tests.proxy.listening import HANDSHAKE, listening
from tests.proxy.origin import answering, origin, read_head, silent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CALLBACK = (
    b"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nContent-Length: 2\r\n\r\n{}"
)


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


# -- a reload while an exchange is under way

PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\nbegun"
RULE = {"path": "/guarded", "ask": "/ask"}


async def _warm(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(OK)
    await reader.read()


@pytest.mark.parametrize("new", ["10ms", "60s"])
@pytest.mark.parametrize(
    ("way", "request_", "key", "status", "says"),
    [
        ("fast path", PLAIN, "response", 504, "did not begin to answer within 0.4 s"),
        ("fast path", CALLBACK, "response", 504, "did not begin to answer within 0.4 s"),
        ("ordinary", PLAIN, "response", 504, "did not begin to answer within 0.4 s"),
        ("ordinary", UPLOAD, "body", 408, "stopped coming for 0.4 s"),
        ("ordinary", HANDSHAKE, "handshake", 504, "did not answer the WebSocket handshake within 0.4 s"),
        ("guarded", PLAIN.replace(b"/", b"/guarded", 1), "auth", 504, "did not say within 0.4 s who may pass"),
        ("full", PLAIN, "queue", 503, "had no room for another request within 0.4 s"),
        ("full", HANDSHAKE, "queue", 503, "had no room for another request within 0.4 s"),
        ("away", PLAIN, "hold", 503, "did not come back within 0.4 s"),
        ("away", CALLBACK, "hold", 503, "did not come back within 0.4 s"),
        ("away", UPLOAD, "hold", 503, "did not come back within 0.4 s"),
        ("away", HANDSHAKE, "hold", 503, "did not come back within 0.4 s"),
    ],
)
async def test_an_exchange_ends_by_the_time_limit_that_it_began_with(
    way: str, request_: bytes, key: str, status: int, says: str, new: str
) -> None:
    values: dict[str, Any] = {"timeouts": {key: "400ms"}, "limits": {"in_flight": 1 if way == "full" else None}}
    if way == "guarded":
        values["auth"] = [RULE]
    async with origin(_warm if way == "fast path" else silent) as server:
        url = f"http://127.0.0.1:{free_port()}" if way == "away" else server.url
        async with listening(url, **values) as gateway, gateway.client() as client, gateway.client() as other:
            if way == "fast path":
                await client.send(PLAIN)
                assert (await client.read_head()).startswith(b"HTTP/1.1 200 ")
                await client.read(2)
                await gateway.ended()
            before = 0
            if way == "full":
                before = 1
                await other.send(HANDSHAKE if request_ is HANDSHAKE else PLAIN)
                async with asyncio.timeout(5):
                    while not gateway.dash.room.in_flight + gateway.ws.room.in_flight:  # noqa: ASYNC110 - it tells nobody
                        await asyncio.sleep(0.001)
            began = time.monotonic()
            await client.send(request_)
            async with asyncio.timeout(5):
                while len(gateway.lifecycle.in_flight) == before:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.001)
            assert gateway.plain == (way == "fast path")
            gateway.reload(timeouts={key: new})
            head = await client.read_head()
            assert 0.39 <= time.monotonic() - began < 5
            assert head.startswith(b"HTTP/1.1 %d " % status)
            body = await client.read(int(head.partition(b"Content-Length: ")[2].split()[0]))
            assert says in json.loads(body)["error"]
