"""The socket side of a connection to an upstream: what leaves at once, and what the kernel knows."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.proxy.origin import answering, origin, read_head, silent
from tests.proxy.upstream.test_connection import OK, body, upstream


@pytest.mark.parametrize("option", ["TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"])
async def test_tcp_asks_whether_the_upstream_is_still_there(option: str) -> None:
    async with origin(answering(b"")) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        assert connection.transport is not None
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert 0 < sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) <= 15
        connection.abort()


async def test_each_piece_is_sent_to_an_upstream_at_once() -> None:
    async with origin(answering(b"")) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        assert connection.transport is not None
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        connection.abort()


async def test_an_end_is_known_before_it_has_been_read() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.close()

    async with origin(leave) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        connection.pause_reading()
        assert not connection.has_ended()
        assert not connection.has_gone_stale()
        connection.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.wait_closed(1)
        while not connection.has_ended():  # noqa: ASYNC110 - the kernel has the FIN, or will in a moment
            await asyncio.sleep(0)
        assert connection.has_gone_stale()
        connection.abort()
        assert connection.has_ended()


async def test_what_was_not_asked_for_is_no_end_and_makes_a_connection_stale() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await reader.read()

    async with origin(speak) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        connection.pause_reading()
        connection.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not connection.has_gone_stale():  # noqa: ASYNC110 - the kernel tells nothing else
            await asyncio.sleep(0)
        assert not connection.has_ended()
        connection.abort()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_first_bytes_leave_at_once_and_that_is_known(method: str) -> None:
    async with origin(silent) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        connection.begin(method)
        assert connection.has_sent == (method == "GET")
        connection.write(method.encode() + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.has_sent
        assert connection.transport is not None
        assert not connection.transport.get_write_buffer_size()
        connection.abort()


async def test_a_pause_holds_until_it_is_taken_back() -> None:
    async with origin(answering(OK)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        connection.pause_reading()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                connection.begin("GET")
                connection.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await connection.head()
        connection.resume_reading()
        assert (await connection.head()).status == 200
        assert await body(connection) == b"ok"
        connection.abort()
