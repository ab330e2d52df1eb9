"""Handing sockets over: what is sent, what each reply means, and why the tunnel carries a connection instead."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.errors import Outcome
from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter
from proxy.websocket.handoff import Handoff
from tests.proxy.websocket.offers import ABOUT, HEAD, connected, offer, settled, warnings
from ws_service.handoff import protocol as wire


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")


async def test_the_head_the_leftover_and_the_socket_itself_are_sent(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (_, adopter):
        offering = asyncio.get_running_loop().create_task(offer(handoff, client, is_secure=True), name="offer")
        message, descriptors = await adopter.receive()
        assert isinstance(message, wire.Open)
        assert abs(message.socket.opened - time.time()) < 60, "from then on the service counts its time"
        about = replace(message.socket, opened=ABOUT.opened)
        assert replace(message, socket=about) == wire.Open(ABOUT, True, HEAD, b"left", 10, 60)
        assert len(descriptors) == 1
        assert os.fstat(descriptors[0]).st_ino == os.fstat(client.fileno()).st_ino, "it is the same socket"
        os.close(descriptors[0])
        assert not offering.done(), "the reply is waited for"
        await adopter.send(wire.Adopted("x1"))
        assert await offering
        assert (handoff.handed_over, handoff.live, handoff.fallbacks.total()) == (1, 1, 0)


async def test_an_end_becomes_the_record_that_the_gateway_no_longer_has(
    handoff: Handoff, path: Path, ends: list[Exchange]
) -> None:
    async with connected(handoff, path, live=4) as (_, adopter):
        assert handoff.live == 4, "the start waits for them"
        for ending, status, code in (
            (wire.Ending.CLIENT, 101, 1001),
            (wire.Ending.SERVICE, 101, 1012),
            (wire.Ending.RESET, 101, None),
            (wire.Ending.SERVICE, 403, None),
        ):
            await adopter.send(wire.Ended(ABOUT, 60.0, status, 7, 9, code, ending))
        await settled(lambda: len(ends) == 4)
        assert handoff.live == 0
        first = ends[0]
        assert (first.id, first.client, first.method, first.target) == ("x1", "203.0.113.7", "GET", "/live")
        assert (first.host, first.route, first.upstream, first.when) == ("example.com", "websocket", "ws", 1000.0)
        assert (first.duration, first.received, first.sent) == (60.0, 7, 9)
        assert all(end.is_handed_off for end in ends)
        assert [(end.outcome, end.closed_by, end.close_code, end.status) for end in ends] == [
            (Outcome.CLIENT_CLOSED, "client", 1001, 101),
            (Outcome.UPSTREAM_CLOSED, "upstream", 1012, 101),
            (Outcome.RESET, "client", None, 101),
            (Outcome.SERVED, "upstream", None, 403),
        ]


async def test_bytes_that_the_system_does_not_tell_are_said_to_be_unknown(
    handoff: Handoff, path: Path, ends: list[Exchange]
) -> None:
    async with connected(handoff, path) as (_, adopter):
        await adopter.send(wire.Live(ABOUT))
        await adopter.send(wire.Ended(ABOUT, 1.0, 101, None, None, None, wire.Ending.CLIENT))
        await settled(lambda: ends)
        assert ends[0].detail == "the system does not tell its bytes"


async def test_a_clients_sockets_count_from_the_offer_to_the_end(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    def counted() -> int:
        return handoff.services.websockets.of("203.0.113.7")

    async with connected(handoff, path, live=2) as (_, adopter):
        assert counted() == 2, "those of the gateway before this one"
        offering = asyncio.get_running_loop().create_task(offer(handoff, client, "x2"), name="offer")
        os.close((await adopter.receive())[1][0])
        assert counted() == 3
        await adopter.send(wire.Adopted("x2"))
        await offering
        assert counted() == 3
        await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT))
        await settled(lambda: counted() == 2)
    await settled(lambda: counted() == 0)  # the service has ended, and its sockets with it
    assert handoff.services.websockets.clients == 0


async def test_without_a_socket_file_the_tunnel_carries(
    handoff: Handoff, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    await handoff.services.start()
    for _ in range(3):
        assert not await offer(handoff, client)
    assert handoff.fallbacks == {"no socket file": 3}
    (line,) = warnings(caplog)
    assert "through the tunnel" in line
    assert f"there is no socket file {handoff.services.path}; is the ws service running?" in line


async def test_a_service_that_does_not_read_is_not_waited_for(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter), asyncio.TaskGroup() as group:
        waiting = []
        while not handoff.fallbacks:
            waiting.append(group.create_task(offer(handoff, client, f"n{len(waiting)}")))
            await asyncio.sleep(0)
        assert handoff.fallbacks == {"busy": 1}
        assert not waiting.pop().result()
        for task in waiting:
            message, descriptors = await adopter.receive()
            assert isinstance(message, wire.Open)
            os.close(descriptors[0])
            await adopter.send(wire.Adopted(message.socket.id))
            assert await task
    assert len([line for line in warnings(caplog) if "does not read" in line]) == 1
    assert "handed over again" in caplog.text


async def test_a_handshake_that_is_too_large_is_no_fault_of_the_service(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        large = bytes(wire.MAX_HEAD - 3)
        for _ in range(2):
            assert not await offer(handoff, client, head=large)
        offering = asyncio.get_running_loop().create_task(offer(handoff, client), name="offer")
        os.close((await adopter.receive())[1][0])
        await adopter.send(wire.Adopted("x1"))
        assert await offering
        assert not await offer(handoff, client, head=large)
    assert handoff.fallbacks == {"too large": 3}
    assert len([line for line in warnings(caplog) if "larger than 65536 bytes" in line]) == 1
    assert "handed over again" not in caplog.text


async def test_a_socket_that_the_service_refuses_is_as_it_was(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        offering = asyncio.get_running_loop().create_task(offer(handoff, client), name="offer")
        os.close((await adopter.receive())[1][0])
        await adopter.send(wire.Refused("x1", "no descriptor is free"))
        assert not await offering
        assert (handoff.fallbacks, handoff.live) == ({"refused": 1}, 0)
    assert "the service refused a socket: no descriptor is free" in warnings(caplog)[0]


async def test_no_path_hands_nothing_over() -> None:
    handoff = Handoff(None, lambda _: None, ClientCounter())
    await handoff.services.start()
    assert not handoff.is_on
    handoff.services.close()
