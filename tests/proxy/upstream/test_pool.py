"""Idle connections: when one is kept, taken again, or closed."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from proxy.config import Tls
from proxy.net.tls import upstream_context
from tests.certificates import Authority
from tests.proxy.origin import answering, origin
from tests.proxy.upstream.test_connection import OK, ask, at, body, upstream, upstream_settings


async def test_a_connection_is_used_again_and_the_youngest_first() -> None:
    async with origin(answering(OK, OK, OK)) as server:
        up = upstream(server.url)
        first, second = await up.addresses[0].connect(5), await up.addresses[0].connect(5)
        for connection in (first, second):
            await ask(connection)
            await body(connection)
            up.release(connection)
        assert up.addresses[0]._pool.take() is second
        assert (await ask(second)).status == 200
        assert await body(second) == b"ok"
        up.release(second)
        up.close()
        await server.wait_closed(2)
        assert server.connections == 2


async def test_a_connection_that_the_upstream_has_closed_is_not_used_again() -> None:
    async with origin(answering(OK, close=True)) as server:
        up = upstream(server.url)
        connection = await up.addresses[0].connect(5)
        await ask(connection)
        await body(connection)
        poll = connection.has_gone_stale
        up.release(connection)
        await server.wait_closed(1)
        while not poll():  # noqa: ASYNC110 - the kernel has the FIN, or will in a moment; it tells nobody else
            await asyncio.sleep(0)
        assert up.addresses[0]._pool.take() is None


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with origin(answering(OK)) as server:
        up = upstream(server.url, idle=0.05)
        connection = await up.addresses[0].connect(5)
        await ask(connection)
        await body(connection)
        up.release(connection)
        await server.wait_closed(1)
        assert up.idle == 0


async def test_one_that_is_closed_closes_its_idle_connections_and_keeps_none() -> None:
    async with origin(answering(OK, OK)) as server:
        up = upstream(server.url)
        idle, busy = await up.addresses[0].connect(5), await up.addresses[0].connect(5)
        for connection in (idle, busy):
            await ask(connection)
            await body(connection)
        up.release(idle)
        up.close()
        await server.wait_closed(1)
        up.release(busy)
        await server.wait_closed(2)
        assert up.idle == 0


async def test_one_that_is_reconfigured_keeps_its_idle_connections_by_the_new_time() -> None:
    async with origin(answering(OK)) as server:
        up = upstream(server.url, idle=0.05)
        connection = await up.addresses[0].connect(5)
        await ask(connection)
        await body(connection)
        up.release(connection)
        up.reconfigure(at(server.url), upstream_settings(60), None)
        await asyncio.sleep(0.1)  # longer than the old time, at whose end there is nothing to see
        assert up.addresses[0]._pool.take() is connection
        up.release(connection)
        up.reconfigure(at(server.url), upstream_settings(0), None)
        assert up.addresses[0]._pool.take() is None


async def test_a_connection_in_the_middle_of_an_answer_is_closed_by_its_release() -> None:
    async with origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")) as server:
        up = upstream(server.url)
        connection = await up.addresses[0].connect(5)
        await ask(connection)
        up.release(connection)
        await server.wait_closed(1)
        assert up.idle == 0


async def test_a_connection_over_tls_is_used_again_in_another_turn_of_the_loop(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = Tls(**authority.issue())
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(files.certificate, files.key)
    async with origin(answering(OK, OK), tls=theirs) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        dash = upstream(url, context=upstream_context(str(authority.file)))
        for number in range(2):
            connection = dash.addresses[0]._pool.take() or await dash.addresses[0].connect(5)
            assert connection.has_tls
            assert connection.is_reused == bool(number)
            assert (await ask(connection)).status == 200
            assert await body(connection) == b"ok"
            dash.release(connection)
            assert dash.idle == 0
            await asyncio.sleep(0)
            assert dash.idle == 1
        assert server.connections == 1
        dash.close()
