"""Plain exchanges, carried without a task: what both sides see, and how each of them can spoil it.

Each test begins warm, with an idle connection to the origin: without one a request goes the ordinary way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.errors import Outcome
from proxy.upstream.connection import UpstreamConnection
from tests.proxy.listening import Client, Listening, listening
from tests.proxy.origin import Origin, Script, answering, origin, read_head, silent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /a?b=%20 HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"
POST = b"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def warm(*scripts: Script, **settings: Any) -> AsyncIterator[tuple[Listening, Client, Origin]]:
    """A gateway with one idle connection to an origin that answers OK to a first request, and then plays a script."""
    first, *others = scripts

    async def warmed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await first(reader, writer)

    async with origin(warmed, *others) as server, listening(server.url, **settings) as gateway:
        async with gateway.client() as client:
            await client.send(GET)
            await client.read(len(OK))
            await gateway.ended()
            assert gateway.plain == 0
            yield gateway, client, server


def recording(heads: list[bytes], *answers: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await read_head(reader)
            heads.append(head + await reader.readexactly(2 if b"Content-Length" in head else 0))
            writer.write(answer)
        await reader.read()

    return script


def answering_when(turn: asyncio.Event, *answers: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await turn.wait()
        await answering(*answers)(reader, writer)

    return script


async def test_an_exchange_passes_as_on_the_ordinary_way() -> None:
    heads: list[bytes] = []
    answer = OK.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n")
    async with warm(recording(heads, answer)) as (gateway, client, _):
        await client.send(GET)
        got = await client.read(len(answer) - len(b"Connection: keep-alive\r\n"))
        assert got == answer.replace(b"Connection: keep-alive\r\n", b"")
        exchange = await gateway.ended(2)
        assert gateway.plain == 1
        assert heads == [
            GET.replace(b"Connection: keep-alive\r\n\r\n", b"X-Forwarded-For: 127.0.0.1\r\n")
            + b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: x\r\nX-Forwarded-Port: 80\r\n"
            + b"X-Request-ID: "
            + exchange.id.encode()
            + b"\r\n\r\n"
        ]
        assert (exchange.client, exchange.method, exchange.target) == ("127.0.0.1", "GET", "/a?b=%20")
        assert (exchange.upstream, exchange.route, exchange.host) == ("dash", "http", "x")
        assert (exchange.status, exchange.sent, exchange.outcome) == (200, 2, Outcome.SERVED)
        assert 0 < (exchange.first_byte or 0) <= exchange.duration


async def test_a_body_goes_along() -> None:
    heads: list[bytes] = []
    async with warm(recording(heads, OK)) as (gateway, client, _):
        await client.send(POST)
        assert await client.read(len(OK)) == OK
        assert heads[0].endswith(b"\r\n\r\n{}")
        exchange = await gateway.ended(2)
        assert (gateway.plain, exchange.received) == (1, 2)


@pytest.mark.parametrize("trusted", [True, False])
async def test_forwarding_headers_are_used_from_a_trusted_proxy(trusted: bool) -> None:
    heads: list[bytes] = []
    said = GET.replace(b"Accept", b"X-Forwarded-For: 203.0.113.9\r\nX-Request-ID: given\r\nAccept")
    proxies = ["127.0.0.1"] if trusted else []
    async with warm(recording(heads, OK), trusted_proxies=proxies) as (gateway, client, _):
        await client.send(said)
        assert await client.read(len(OK)) == OK
        exchange = await gateway.ended(2)
        assert gateway.plain == 1
        address = b"203.0.113.9" if trusted else b"127.0.0.1"
        assert exchange.client.encode() == address
        chain = b"203.0.113.9, 127.0.0.1" if trusted else b"127.0.0.1"
        assert b"\r\nX-Forwarded-For: " + chain + b"\r\n" in heads[0]
        assert (b"\r\nX-Request-ID: given\r\n" in heads[0]) is trusted
        assert heads[0].count(b"X-Request-ID") == heads[0].count(b"X-Forwarded-For") == 1


async def test_both_connections_are_kept() -> None:
    async with warm(answering(OK, OK, OK)) as (gateway, client, server):
        for _ in range(3):
            await client.send(GET)
            assert await client.read(len(OK)) == OK
        assert (gateway.plain, server.connections) == (3, 1)


async def test_the_users_routes_count() -> None:
    async with warm(answering(OK), routes=[{"path": "/a", "to": "ws"}]) as (gateway, client, _):
        await client.send(GET)
        await client.read(len(OK))
        exchange = await gateway.ended(2)
        assert (gateway.plain, exchange.upstream, exchange.route) == (1, "ws", "routes[0]")


async def test_an_answer_in_pieces_arrives_as_it_is_produced() -> None:
    turn = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for piece in (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", b"ab", b"cd", b"ef"):
            writer.write(piece)
            await turn.wait()
            turn.clear()
        await answering(OK)(reader, writer)

    async with warm(script) as (gateway, client, server):
        await client.send(GET)
        assert await client.read_head() == b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
        for piece in (b"ab", b"cd", b"ef"):
            turn.set()
            assert await client.read(2) == piece
        assert (await gateway.ended(2)).sent == 6
        turn.set()
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert (gateway.plain, server.connections) == (2, 1)


@pytest.mark.parametrize(
    ("answer", "relayed"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK, b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + OK),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK),
        (OK.replace(b"Content", b"Keep-Alive: timeout=5\r\nContent"), OK),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
    ids=["chunked", "early hints", "continue", "hop-by-hop", "no content"],
)
async def test_an_answer_that_is_not_plain_goes_on_the_ordinary_way(answer: bytes, relayed: bytes) -> None:
    async with warm(answering(answer, OK)) as (gateway, client, server):
        await client.send(GET)
        assert await client.read(len(relayed)) == relayed
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert (gateway.plain, server.connections) == (2, 1)


async def test_a_head_in_two_packets_is_read_whole() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK[:20])
        await asyncio.sleep(0.02)  # so that they are two packets
        writer.write(OK[20:])
        await reader.read()

    async with warm(script) as (_, client, _):
        await client.send(GET)
        assert await client.read(len(OK)) == OK


async def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    head = OK[:-2]
    async with warm(answering(head, OK)) as (gateway, client, server):
        await client.send(GET.replace(b"GET", b"HEAD"))
        assert await client.read(len(head)) == head
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert (gateway.plain, server.connections) == (2, 1)


# -- the upstream leaves


def leaving(reset: bool = False) -> Script:
    """A script that reads a head and closes without an answer, as an upstream that was about to close anyway."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        if reset:
            writer.transport.abort()
        writer.close()

    return script


@pytest.mark.parametrize("reset", [False, True])
async def test_a_request_that_may_be_repeated_is_sent_again(reset: bool) -> None:
    async with warm(leaving(reset), answering(OK)) as (gateway, client, server):
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert (gateway.plain, server.connections) == (1, 2)
        assert (await gateway.ended(2)).outcome is Outcome.SERVED


async def test_a_callback_is_not_sent_again() -> None:
    async with warm(leaving(), answering(OK)) as (gateway, client, server):
        await client.send(POST)
        assert (await client.read_head()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        exchange = await gateway.ended(2)
        assert exchange.detail == "The upstream dash closed the connection without an answer."
        assert (exchange.outcome, server.connections) == (Outcome.UPSTREAM_FAILED, 1)


async def test_an_answer_that_ends_too_early_is_cut_and_never_ended_as_if_it_were_whole() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
        writer.close()

    async with warm(script) as (gateway, client, _):
        await client.send(GET)
        assert (await client.read_all()).endswith(b"\r\n\r\nhal")
        exchange = await gateway.ended(2)
        assert (exchange.status, exchange.sent, exchange.outcome) == (200, 3, Outcome.UPSTREAM_CUT)


async def test_a_silent_upstream_is_given_up() -> None:
    async with warm(silent, timeouts={"response": "0.1s"}) as (gateway, client, server):
        await client.send(GET)
        assert (await client.read_head()).startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        await server.wait_closed(1)
        assert (await gateway.ended(2)).outcome is Outcome.UPSTREAM_TIMEOUT


async def test_bytes_after_a_response_are_given_to_no_client() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await asyncio.sleep(0.02)  # so that the rest comes in a packet of its own
        writer.write(b"cd" + OK.replace(b"ok", b"no"))
        await reader.read()

    async with warm(script, answering(OK)) as (_, client, server):
        await client.send(GET)
        assert (await client.read_head()).endswith(b"Content-Length: 4\r\n\r\n")
        assert await client.read(4) == b"abcd"
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert server.connections == 2


# -- the client leaves, is slow, or is in a hurry


@pytest.mark.parametrize(
    ("answered", "status"),
    [
        (b"", 499),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 200),
    ],
    ids=["before the answer", "in the middle of it", "when it has gone on the ordinary way"],
)
async def test_a_client_that_leaves_takes_its_request_with_it(answered: bytes, status: int) -> None:
    async with warm(answering(answered)) as (gateway, client, server):
        await client.send(GET)
        await gateway.carries(1)
        if answered:
            await client.read_head()
        client.writer.transport.abort()
        await server.wait_closed(1)
        exchange = await gateway.ended(2)
        assert (exchange.status, exchange.outcome) == (status, Outcome.CLIENT_GONE)


async def test_a_slow_client_makes_the_upstream_wait_and_gets_everything() -> None:
    size, sent = 16 << 20, 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536
        await answering(OK)(reader, writer)

    async with warm(script) as (gateway, client, server):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)  # there is no event for "nothing more happens"
        assert sent < size, "somebody holds the whole answer"
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await client.read_head()
        assert await client.read(size) == b"x" * size
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert (gateway.plain, server.connections) == (2, 1)


async def test_an_upstream_is_not_left_waiting_behind_an_answer_that_filled_the_clients_buffer() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 4_000_000 + b"x" * 4_000_000

    async with warm(answering(answer, OK)) as (_, client, server):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        await asyncio.sleep(0.05)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await client.read(len(answer))
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert server.connections == 1


@pytest.mark.parametrize("cut", [0, 10, len(GET)])
async def test_a_request_that_is_pipelined_after_a_simple_one_waits(cut: int) -> None:
    turn = asyncio.Event()
    async with warm(answering_when(turn, OK, OK, OK)) as (gateway, client, server):
        await client.send(GET)
        await gateway.carries(1)
        await client.send((GET + GET)[: cut or None])
        turn.set()
        assert await client.read(len(OK)) == OK
        await client.send((GET + GET)[cut:] if cut else b"")
        for _ in range(2):
            assert await client.read(len(OK)) == OK
        assert server.connections == 1


async def test_a_flood_after_a_simple_request_is_not_buffered() -> None:
    async with warm(silent) as (gateway, client, _):
        await client.send(GET)
        await gateway.carries(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                for _ in range(64):
                    await client.send(b"x" * (1 << 20))
        assert gateway.plain == 1


# -- declined


async def test_a_request_in_two_packets_goes_the_ordinary_way_and_the_next_one_does_not() -> None:
    async with warm(recording([], OK, OK)) as (gateway, client, _):
        await client.send(POST[:-1])
        await asyncio.sleep(0.02)  # so that they are two packets
        await client.send(POST[-1:])
        assert await client.read(len(OK)) == OK
        await gateway.ended(2)
        assert gateway.plain == 0
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert gateway.plain == 1


async def test_an_idle_connection_that_has_spoken_is_not_used() -> None:
    """Its bytes may be here and not yet read: a request that is written in the same breath would get them."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"ok", b"no"))
        await reader.read()

    async with warm(script, answering(OK)) as (_, client, server):
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert server.connections == 2


# -- the end


async def test_a_connection_that_is_idle_after_a_simple_exchange_is_closed_in_time() -> None:
    async with warm(answering(OK), timeouts={"keepalive": "0.3s"}) as (gateway, client, _):
        await client.send(GET)
        assert await client.read(len(OK)) == OK
        assert gateway.plain == 1
        assert await client.read_all() == b""


async def test_a_simple_exchange_is_not_taken_for_an_idle_connection() -> None:
    turn = asyncio.Event()
    async with warm(answering_when(turn, OK), timeouts={"keepalive": "0.1s"}) as (gateway, client, _):
        await client.send(GET)
        await asyncio.sleep(0.4)  # what must not happen has no event
        turn.set()
        assert await client.read(len(OK)) == OK
        assert gateway.plain == 1


async def test_a_gateway_that_stops_finishes_it_and_says_that_it_was_the_last() -> None:
    turn = asyncio.Event()
    async with warm(answering_when(turn, OK)) as (gateway, client, _):
        await client.send(GET)
        await gateway.carries(1)
        gateway.begin_to_stop()
        turn.set()
        assert await client.read_all() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def test_an_answer_that_has_begun_before_the_stop_is_finished_and_the_next_one_is_the_last() -> None:
    turn = asyncio.Event()

    async def in_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await read_head(reader)
        writer.write(OK[:-1])
        await turn.wait()
        writer.write(OK[-1:])
        await read_head(reader)
        writer.write(OK)
        await reader.read()

    async with origin(in_two) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(GET)
        await client.read(len(OK))
        await client.send(GET)
        assert await client.read(len(OK) - 1) == OK[:-1]
        assert gateway.plain == 1
        gateway.begin_to_stop()
        turn.set()
        assert await client.read(1) == OK[-1:]
        await client.send(GET)
        assert b"\r\nConnection: close\r\n" in await client.read_all()


async def test_what_does_not_end_in_time_is_cut_and_the_log_says_who_did_it() -> None:
    async with warm(silent) as (gateway, client, server):
        await client.send(GET)
        await gateway.carries(1)
        gateway.begin_to_stop()
        await gateway.stop()
        await server.wait_closed(1)
        assert (await gateway.ended(2)).outcome is Outcome.STOPPING
        assert await client.read_all() == b""


# -- turns


async def test_a_simple_exchange_is_in_flight_until_its_response_is_complete() -> None:
    turn = asyncio.Event()
    async with warm(answering_when(turn, OK)) as (gateway, client, _):
        await client.send(GET)
        await gateway.carries(1)
        assert gateway.dash.queue.in_flight == 1
        turn.set()
        await client.read(len(OK))
        await gateway.ended(2)
        assert gateway.dash.queue.in_flight == 0


async def test_a_request_that_has_to_wait_for_its_turn_is_not_carried_so() -> None:
    turn = asyncio.Event()
    async with warm(answering_when(turn, OK, OK), limits={"in_flight": 1}) as (gateway, client, server):
        await client.send(GET)
        await gateway.carries(1)
        async with gateway.client() as other:
            await other.send(GET)
            await gateway.waits()
            turn.set()
            await client.read(len(OK))
            assert (await other.read_head()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert (gateway.plain, server.connections) == (1, 1)


async def test_no_request_waits_longer_for_a_slot_than_the_config_allows() -> None:
    limits = {"in_flight": 1}
    async with warm(silent, limits=limits, timeouts={"queue": "50ms"}) as (gateway, client, _):
        await client.send(GET)
        await gateway.carries(1)
        answer = await gateway.ask(GET.replace(b"Connection: keep-alive\r\n", b""))
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        exchange = await gateway.ended(2)
        assert (exchange.outcome, exchange.limit) == (Outcome.UPSTREAM_FULL, "in_flight")


async def test_a_request_whose_upstream_is_killed_waits_until_it_is_back() -> None:
    async with warm(leaving(), answering(OK)) as (gateway, client, _):
        dialer = gateway.dash.addresses[0]._dialer
        connect = dialer._connect

        async def refused(address: str) -> UpstreamConnection:
            return await connect("127.0.0.99")

        dialer._connect = refused  # type: ignore[method-assign]
        await client.send(GET)
        await gateway.waits()
        assert gateway.dash.queue.in_flight == 0
        dialer._connect = connect  # type: ignore[method-assign]
        assert await client.read(len(OK)) == OK
        assert (await gateway.ended(2)).outcome is Outcome.SERVED
