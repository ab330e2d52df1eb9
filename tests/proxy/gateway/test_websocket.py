"""WebSockets: handed off where that can be, tunnelled where not, and counted until they end."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from proxy.errors import Outcome
from proxy.websocket.frames import close_frame
from tests.proxy.adopter import Place, place
from tests.proxy.listening import HANDSHAKE, SWITCH, Listening, listening
from tests.proxy.origin import answering, origin, read_head
from ws_service.handoff import protocol as wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_while_it_stops_a_handshake_is_told_to_come_back() -> None:
    """A tunnel would be closed as soon as it is open, and cost both sides a handshake."""
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway:
        async with gateway.client() as client:
            gateway.begin_to_stop()
            await client.send(HANDSHAKE)
            answer = await client.read_all()
            assert answer.startswith(b"HTTP/1.1 503")
            assert server.connections == 0
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


# -- the hand-over


async def test_a_handshake_is_handed_over_and_the_record_ends_there(tmp_path: Path) -> None:
    async with place(tmp_path / "ws.sock") as service, listening(handoff=str(tmp_path / "ws.sock")) as gateway:
        await connect(gateway, service)
        async with gateway.client() as client:
            await client.send(HANDSHAKE + b"left")
            adopter = service.adopter
            message, (descriptor,) = await adopter.receive()
            assert isinstance(message, wire.Open)
            assert (message.leftover, message.is_secure) == (b"left", False)
            assert message.head.startswith(b"GET /live HTTP/1.1\r\nHost: example.test:8000\r\n")
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in message.head
            assert len(gateway.lifecycle.in_flight) == 1, "the stop waits for the receipt"
            await adopter.send(wire.Adopted(message.socket.id))
            with socket.socket(fileno=descriptor) as adopted:
                await asyncio.get_running_loop().sock_sendall(adopted, b"from the service")
                assert await client.read(16) == b"from the service"
            assert await client.read_all() == b"", "the gateway has no copy that keeps it open"
        assert not gateway.lifecycle.in_flight
        (opened,) = gateway.exchanges
        assert (opened.outcome, opened.is_handed_off, opened.ended) == (Outcome.HANDED_OFF, True, None)
        about = message.socket
        assert (about.id, about.client, about.route, about.host) == (opened.id, "127.0.0.1", "websocket", opened.host)
        await adopter.send(wire.Ended(about, 2.0, 101, 5, 6, 1000, wire.Ending.CLIENT))
        ended = await gateway.ended()
        assert (ended.id, ended.outcome, ended.received, ended.sent) == (opened.id, Outcome.CLIENT_CLOSED, 5, 6)


async def test_nothing_is_said_on_a_socket_that_the_service_may_own(tmp_path: Path) -> None:
    async with place(tmp_path / "ws.sock") as service, listening(handoff=str(tmp_path / "ws.sock")) as gateway:
        await connect(gateway, service)
        async with gateway.client() as client:
            await client.send(HANDSHAKE)
            _, (descriptor,) = await service.adopter.receive()
            service.close()
            exchange = await gateway.ended()
            assert (exchange.outcome, exchange.status) == (Outcome.UPSTREAM_FAILED, 499)
            with socket.socket(fileno=descriptor) as adopted:
                adopted.send(b"the service's own words")
            assert await client.read_all() == b"the service's own words"


async def test_a_socket_that_is_refused_goes_through_the_tunnel_with_its_leftover(tmp_path: Path) -> None:
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        seen.set_result(await reader.readexactly(10))

    path = str(tmp_path / "ws.sock")
    async with place(tmp_path / "ws.sock") as service, origin(upstream) as server:
        async with listening(server.url, handoff=path) as gateway:
            await connect(gateway, service)
            async with gateway.client() as client:
                await client.send(HANDSHAKE + b"first")
                message, (descriptor,) = await service.adopter.receive()
                assert isinstance(message, wire.Open)
                await client.send(b"later")
                os.close(descriptor)
                await service.adopter.send(wire.Refused(message.socket.id, "no room"))
                await client.read_head()
                async with asyncio.timeout(10):
                    assert await seen == b"firstlater"


async def test_what_comes_through_tls_is_tunnelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.http1.client_connection.ClientStream.has_tls", True)
    async with place(tmp_path / "ws.sock") as service, origin(answering(SWITCH)) as server:
        async with listening(server.url, handoff=str(tmp_path / "ws.sock")) as gateway:
            await connect(gateway, service)
            async with gateway.client() as client:
                await client.send(HANDSHAKE)
                await client.read_head()
            assert gateway.gateway.handoff.fallbacks == {"tls": 1}
            await gateway.ended()


async def test_a_client_that_has_not_taken_the_response_before_gets_all_of_it_before_the_101(tmp_path: Path) -> None:
    """The service writes to the socket itself: its 101 came in the middle of that response, and the rest was lost."""
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 15000\r\n\r\n" + b"x" * 15000
    async with place(tmp_path / "ws.sock") as service, origin(answering(large), answering(SWITCH)) as server:
        async with listening(server.url, handoff=str(tmp_path / "ws.sock")) as gateway:
            await connect(gateway, service)
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, ("127.0.0.1", gateway.port))
                while not gateway.manager.connections:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0)
                transport = gateway.manager.connections[0].socket.transport
                assert transport is not None
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: example.test:8000\r\n\r\n" + HANDSHAKE)
                await gateway.ended()
                got = b""
                async with asyncio.timeout(10):
                    while len(got) < len(large) + len(SWITCH):
                        got += await loop.sock_recv(client, 1024)
                assert got == large + SWITCH
            assert gateway.gateway.handoff.fallbacks == {"unsent": 1}
            await gateway.ended(2)


async def connect(gateway: Listening, service: Place) -> None:
    """Make the gateway look for the service, and greet it."""
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.gateway.handoff.start())
        await service.accept()
