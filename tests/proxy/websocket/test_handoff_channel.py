"""One channel to a service: replies, reports, what is out of place, and its end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

import pytest

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.exchange.record import Exchange
from proxy.websocket.handoff import Handoff
from tests.proxy.websocket.offers import ABOUT, connected, offer, settled, warnings
from ws_service.handoff import protocol as wire


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")


async def test_a_gateway_that_stops_reads_the_last_reports_and_closes_nothing_but_its_channels(
    handoff: Handoff, path: Path, client: socket.socket, ends: list[Exchange], caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        for _ in range(100):
            await adopter.send(wire.Live(ABOUT))
        await adopter.send(wire.Live(ABOUT))
        for _ in range(100):
            await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT))
        handoff.services.close()
        assert len(ends) == 100
        assert await adopter.has_ended()
        with pytest.raises(BrokenPipeError):
            await adopter.send(wire.Live(ABOUT))
        client.send(b"still open")
        assert "is gone" not in caplog.text


async def test_a_socket_whose_reply_is_not_awaited_any_more_counts_until_it_comes(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (_, adopter):
        for id in ("taken", "refused", "neither"):
            with pytest.raises(UpstreamTimeout):
                await offer(handoff, client, id, timeout=0.01)
            os.close((await adopter.receive())[1][0])
        assert (handoff.live, handoff.services.websockets.total) == (0, 3)
        await adopter.send(wire.Refused("refused", "too late"))
        await settled(lambda: handoff.services.websockets.total == 2)
        await adopter.send(wire.Adopted("taken"))
        await settled(lambda: handoff.live == 1)
        assert handoff.services.websockets.total == 2
        await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT))
        await settled(lambda: handoff.services.websockets.total == 1)
    await settled(lambda: handoff.services.websockets.total == 0)


async def test_a_socket_that_ends_at_once_is_told_after_it_was_handed_over(
    handoff: Handoff, path: Path, client: socket.socket, ends: list[Exchange]
) -> None:
    """The reply and the report come together, and the log has the report last."""
    told: list[int] = []

    async def hand_over() -> None:
        assert await offer(handoff, client, ABOUT.id)
        told.append(len(ends))

    async with connected(handoff, path) as (_, adopter), asyncio.TaskGroup() as group:
        offering = group.create_task(hand_over())
        os.close((await adopter.receive())[1][0])
        for message in (wire.Adopted(ABOUT.id), wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT)):
            await adopter.send(message)
        await offering
        assert told == [0]
        await settled(lambda: len(ends) == 1)
        assert (handoff.live, handoff.services.websockets.total) == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT),
        wire.Adopted("not offered"),
        wire.Refused("not offered", "why"),
    ],
)
async def test_a_service_that_reports_a_socket_it_does_not_have_is_not_trusted(
    wrong: wire.Message, handoff: Handoff, path: Path, ends: list[Exchange], caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        await adopter.send(wrong)
        assert await adopter.has_ended()
    assert "a message that cannot be read" in warnings(caplog)[0]
    assert (handoff.live, handoff.services.websockets.total, ends) == (0, 0, [])


@pytest.mark.parametrize(
    "wrong", [b"\x02", b"nonsense", wire.encode(wire.Hello()), wire.encode(wire.Open(ABOUT, False, b"", b"", 15, 60))]
)
async def test_what_cannot_be_read_or_is_out_of_place_ends_the_channel(
    wrong: bytes, handoff: Handoff, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        await adopter.send(wrong)
        assert await adopter.has_ended()
    assert len(warnings(caplog)) == 1
    assert "a message that cannot be read" in warnings(caplog)[0]


async def test_of_a_service_that_dies_its_sockets_are_counted_once(
    handoff: Handoff, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (service, adopter):
        for _ in range(3):
            await adopter.send(wire.Live(ABOUT))
        await settled(lambda: handoff.live == 3)
        service.close()
        await settled(lambda: handoff.live == 0)
    assert "is gone, and 3 sockets that were handed over to it with it" in warnings(caplog)[0]


async def test_a_service_that_ends_before_its_reply_is_an_error(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (service, adopter):
        offering = asyncio.get_running_loop().create_task(offer(handoff, client), name="offer")
        os.close((await adopter.receive())[1][0])
        service.close()
        with pytest.raises(UpstreamError, match="went away while it took the connection over"):
            await offering
        assert not handoff.fallbacks


async def test_a_reply_that_comes_too_late_is_an_error_and_counts_all_the_same(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (_, adopter):
        with pytest.raises(UpstreamTimeout, match=r"within 0\.05 s"):
            await offer(handoff, client, timeout=0.05)
        os.close((await adopter.receive())[1][0])
        await adopter.send(wire.Adopted("x1"))
        await settled(lambda: handoff.live == 1)
