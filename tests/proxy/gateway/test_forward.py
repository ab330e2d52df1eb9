"""One plain HTTP exchange, byte for byte, against an origin that plays a script."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.errors import Outcome
from tests.proxy.listening import listening
from tests.proxy.origin import answering, origin, read_head, silent

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_request_and_its_answer_pass() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        assert await gateway.ask(GET) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        exchange = await gateway.ended()
        assert (exchange.status, exchange.outcome, exchange.upstream, exchange.sent) == (200, Outcome.SERVED, "dash", 2)


async def test_the_first_byte_of_a_response_has_a_time_of_its_own() -> None:
    rest = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK[:-1])
        await rest.wait()
        writer.write(OK[-1:])

    async with origin(slow) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(GET)
        await client.read_head()
        now = time.monotonic()
        rest.set()
        assert await client.read(2) == b"ok"
        exchange = await gateway.ended()
        assert exchange.responded is not None and exchange.ended is not None
        assert exchange.began <= exchange.responded < now < exchange.ended


async def test_connections_are_kept_on_both_sides() -> None:
    async with origin(answering(OK, OK, OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            for _ in range(3):
                await client.send(GET)
                assert b"Connection" not in await client.read_head()
                assert await client.read(2) == b"ok"
        assert server.connections == 1


async def test_pipelined_requests_are_answered_in_order() -> None:
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n for n in range(3)]
    async with origin(answering(*answers)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(GET * 3)
            for n in range(3):
                await client.read_head()
                assert await client.read(1) == b"%d" % n


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", b"", b""),
        (b"1.1", b"Connection: close\r\n", b"Connection: close\r\n"),
        (b"1.0", b"", b"Connection: close\r\n"),
        (b"1.0", b"Connection: keep-alive\r\n", b"Connection: keep-alive\r\n"),
    ],
)
async def test_the_client_is_told_whether_its_connection_goes_on(
    version: bytes, connection: bytes, expected: bytes
) -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(b"GET / HTTP/" + version + b"\r\nHost: x\r\n" + connection + b"\r\n")
            assert await client.read_head() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + expected + b"\r\n"


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n1\r\no\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
    ],
    ids=["chunked", "until close"],
)
async def test_a_body_of_unknown_length_is_framed_for_the_clients_version(version: bytes, answer: bytes) -> None:
    async with origin(answering(answer, close=True)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(b"GET / HTTP/" + version + b"\r\nHost: x\r\n\r\n")
            head = await client.read_head()
            if version == b"1.0":
                assert head == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                assert await client.read_all() == b"hello"
            else:
                assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                whole = b""
                while not whole.endswith(b"0\r\n\r\n"):
                    whole += await client.read(1)
                assert b"".join(whole.split(b"\r\n")[1:-3:2]) == b"hello"


async def test_a_body_that_is_cut_is_never_ended_as_if_complete() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    async with origin(answering(answer, close=True)) as server, listening(server.url) as gateway:
        got = await gateway.ask(GET)
        assert got.endswith(b"4\r\nhalf\r\n")
        exchange = await gateway.ended()
        assert (exchange.outcome, exchange.status) == (Outcome.UPSTREAM_CUT, 200)


async def test_a_cut_body_without_length_ends_in_a_reset_for_an_old_client() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    async with origin(answering(answer, close=True)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await client.read_all()


async def close_on_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A script that closes an idle connection at the very moment when it is used again."""
    await read_head(reader)
    writer.write(OK)
    await read_head(reader)


async def test_a_stale_connection_is_no_error_for_a_request_that_may_be_repeated() -> None:
    async with origin(close_on_second, answering(OK)) as server, listening(server.url) as gateway:
        assert (await gateway.ask(GET)).endswith(b"ok")
        assert (await gateway.ask(GET)).endswith(b"ok")
        assert server.connections == 2


async def test_a_request_that_may_not_be_repeated_is_not() -> None:
    async with origin(close_on_second, answering(OK)) as server, listening(server.url) as gateway:
        assert (await gateway.ask(GET)).endswith(b"ok")
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        assert (await gateway.ask(post)).startswith(b"HTTP/1.1 502")
        assert server.connections == 1


async def test_an_answer_before_the_end_of_the_body_is_relayed_and_ends_both_connections() -> None:
    answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"
    async with origin(answering(answer)) as server, listening(server.url, timeouts={"upstream_idle": "60s"}) as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbeginning")
            head = await client.read_head()
            assert head.startswith(b"HTTP/1.1 413")
            assert b"Connection: close" in head
            # The half-sent request must never be completed by the next one.
            await server.wait_closed(1)
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 413")
        assert server.connections == 2


async def test_an_upstream_that_does_not_answer_ends_in_504() -> None:
    async with origin(silent) as server, listening(server.url, timeouts={"response": "100ms"}) as gateway:
        assert (await gateway.ask(GET)).startswith(b"HTTP/1.1 504")
        await server.wait_closed(1)


async def test_the_time_to_answer_begins_when_the_body_has_been_sent() -> None:
    async def answer_at_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await reader.readexactly(8)
        writer.write(OK)
        await reader.read()

    async with origin(answer_at_end) as server, listening(server.url, timeouts={"response": "150ms"}) as gateway:
        async with gateway.client() as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n")
            for _ in range(8):  # a slow upload, longer than the limit in all
                await asyncio.sleep(0.04)
                await client.send(b"x")
            assert (await client.read_head()).startswith(b"HTTP/1.1 200")


async def test_a_client_that_leaves_ends_the_request_upstream() -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()

    async with origin(silent) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(GET)
            await asked.wait()
        await server.wait_closed(1)
        exchange = await gateway.ended()
        assert (exchange.status, exchange.outcome) == (499, Outcome.CLIENT_GONE)


async def test_an_answer_that_came_whole_counts_even_if_the_client_hangs_up_at_once() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            await client.send(GET)
            await client.read_head()
        assert (await gateway.ended()).outcome is Outcome.SERVED
