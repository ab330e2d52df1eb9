"""Opening a tunnel: what the upstream must answer, and what becomes of any other answer."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import Outcome
from proxy.websocket.handshake import accept_for
from tests.proxy.listening import HANDSHAKE, SWITCH, listening
from tests.proxy.origin import answering, origin, read_head, silent
from tests.wire.messages import KEY

ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the answer to KEY that RFC 6455 itself gives

HELLO = b"\x81\x02hi"
MASKED_HELLO = b"\x81\x82\0\0\0\0hi"


def test_the_accept_value_is_the_one_of_the_rfcs_example() -> None:
    assert accept_for(KEY) == ACCEPT


async def test_a_handshake_that_is_accepted_becomes_a_tunnel() -> None:
    async with origin(answering(SWITCH + HELLO)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            assert await client.read_head() == SWITCH
            assert await client.read(4) == HELLO
        exchange = await gateway.ended()
        assert (exchange.is_tunnel, exchange.status, exchange.outcome) == (True, 101, Outcome.CLIENT_CLOSED)
        assert (exchange.upstream, exchange.route, exchange.sent) == ("ws", "websocket", 4)
        await server.wait_closed(1)


async def test_frames_in_the_packet_of_the_handshake_are_delivered() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" in head
        writer.write(SWITCH)
        writer.write(await reader.readexactly(8))
        await reader.read()

    async with origin(script) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE + MASKED_HELLO)
            await client.read_head()
            assert await client.read(8) == MASKED_HELLO


async def test_a_refusal_is_relayed_as_it_came() -> None:
    refusal = (
        b"HTTP/1.1 403 Not Today\r\nX-Why: no\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 4\r\n\r\nnope"
    )
    async with origin(answering(refusal)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            head = await client.read_head()
            assert head + await client.read(4) == refusal
        assert (await gateway.ended()).outcome is Outcome.SERVED


async def test_a_refusal_with_426_still_says_what_to_upgrade_to() -> None:
    refusal = b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n"
    async with origin(answering(refusal)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            head = await client.read_head()
            assert b"Upgrade: websocket\r\n" in head
            assert b"Connection: upgrade\r\n" in head


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(ACCEPT, b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        SWITCH.replace(b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n", b""),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        SWITCH.replace(b"Upgrade: websocket\r\n", b""),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
async def test_a_101_that_does_not_fit_is_a_502(answer: bytes) -> None:
    async with origin(answering(answer, close=True)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            assert (await client.read_head()).startswith(b"HTTP/1.1 502")
        await server.wait_closed(1)
        assert (await gateway.ended()).outcome is Outcome.UPSTREAM_FAILED


async def test_an_upstream_that_does_not_answer_the_handshake_ends_in_504() -> None:
    async with origin(silent) as server, listening(server.url, timeouts={"handshake": "100ms"}) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            assert (await client.read_head()).startswith(b"HTTP/1.1 504")
        await server.wait_closed(1)


async def test_a_client_that_leaves_during_the_handshake_ends_it() -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()

    async with origin(silent) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            await asked.wait()
        await server.wait_closed(1)
        assert (await gateway.ended()).outcome is Outcome.CLIENT_GONE


async def test_a_request_behind_a_refused_upgrade_is_a_request_of_its_own() -> None:
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with origin(answering(refusal)) as ws, origin(answering(ok)) as dash, listening(dash.url, ws.url) as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE + b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await client.read_head()).startswith(b"HTTP/1.1 403")
            assert (await client.read_head()).startswith(b"HTTP/1.1 200")
        assert [x.target for x in gateway.exchanges] == ["/live", "/page"]


async def test_dashs_own_socket_goes_to_dash() -> None:
    async with origin(answering(SWITCH)) as dash, listening(dash.url, "http://127.0.0.1:9") as gateway:
        async with gateway.client() as client:
            await client.send(HANDSHAKE.replace(b"/live", b"/team/app/_dash-ws-callback"))
            assert await client.read_head() == SWITCH
        assert (await gateway.ended()).upstream == "dash"
