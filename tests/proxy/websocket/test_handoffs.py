"""Services at several addresses: each has its sockets through its own file, before and after a reload."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter
from proxy.websocket.handoffs import Handoffs
from tests.proxy.adopter import Adopter, place
from tests.proxy.websocket.offers import ABOUT, offer, settled
from ws_service.handoff import protocol as wire


@pytest.fixture
async def handoffs(tmp_path: Path, ends: list[Exchange]) -> AsyncIterator[Handoffs]:
    made = Handoffs(tmp_path, ends.append, ClientCounter())
    yield made
    made.close()


async def hand_over(handoffs: Handoffs, file: str, client: socket.socket, adopter: Adopter, id: str) -> None:
    handoff = handoffs.through(file)
    assert handoff is not None
    async with asyncio.TaskGroup() as group:
        offering = group.create_task(offer(handoff, client, id))
        _, descriptors = await adopter.receive()
        os.close(descriptors[0])
        await adopter.send(wire.Adopted(id))
    assert offering.result()


async def test_each_address_has_its_sockets_through_its_own_file(
    handoffs: Handoffs, tmp_path: Path, client: socket.socket
) -> None:
    handoffs.reconfigure(["a.sock", "b.sock"])
    async with place(tmp_path / "a.sock") as a, place(tmp_path / "b.sock") as b, asyncio.TaskGroup() as group:
        started = group.create_task(handoffs.start())
        one, other = await a.accept(), await b.accept()
        await started
        assert (handoffs.absences, handoffs.is_ready) == ([], True)
        for number in range(3):
            await hand_over(handoffs, "b.sock", client, other, f"b{number}")
        await hand_over(handoffs, "a.sock", client, one, "a0")
        assert [handoffs.load(file) for file in ("a.sock", "b.sock", None)] == [1, 3, 0]
        assert (handoffs.live, handoffs.handed_over, len(handoffs.channels)) == (4, 4, 2)
        assert handoffs.through(None) is None


async def test_a_file_that_is_used_no_more_keeps_its_channel_to_the_end_of_its_last_socket(
    handoffs: Handoffs, tmp_path: Path, client: socket.socket, ends: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.websocket.handoff_services.DISCOVERY_INTERVAL", 0.02)
    handoffs.reconfigure(["a.sock"])
    async with place(tmp_path / "a.sock") as a, place(tmp_path / "b.sock") as b, asyncio.TaskGroup() as group:
        started = group.create_task(handoffs.start())
        one = await a.accept()
        await started
        await hand_over(handoffs, "a.sock", client, one, ABOUT.id)
        handoffs.reconfigure(["b.sock"])
        other = await b.accept()
        await settled(lambda: handoffs.absences == [])
        former = handoffs.through("a.sock")
        assert former is not None
        assert not await offer(former, client, "x2"), "it takes none any more"
        await hand_over(handoffs, "b.sock", client, other, "x3")
        assert handoffs.live == 2
        await one.send(wire.Ended(ABOUT, 1.0, 101, 1, 2, 1000, wire.Ending.CLIENT))
        await settled(lambda: len(ends) == 1)
        assert await one.has_ended()
        assert (handoffs.live, len(handoffs.channels), a.dials) == (1, 1, 0)
        handoffs.reconfigure(["b.sock", "a.sock"])
        again = await a.accept()
        await settled(lambda: handoffs.absences == [])
        await hand_over(handoffs, "a.sock", client, again, "x4")


async def test_a_file_is_forgotten_when_nothing_uses_it_and_what_was_counted_stays(
    handoffs: Handoffs, tmp_path: Path, client: socket.socket, ends: list[Exchange]
) -> None:
    handoffs.reconfigure(["a.sock"])
    async with place(tmp_path / "a.sock") as a, asyncio.TaskGroup() as group:
        started = group.create_task(handoffs.start())
        one = await a.accept()
        await started
        await hand_over(handoffs, "a.sock", client, one, ABOUT.id)
        for number in range(50):
            handoffs.reconfigure([f"{number}.sock"])
            handoff = handoffs.through(f"{number}.sock")
            assert handoff is not None
            assert not await offer(handoff, client)
        assert handoffs.through("0.sock") is None
        assert handoffs.through("a.sock") is not None, "it has a socket"
        assert len(handoffs._by_path) == len(handoffs._by_file) == 2
        assert (handoffs.handed_over, handoffs.fallbacks) == (1, {"no socket file": 50})
        handoffs.reconfigure(["a.sock"], {"a.sock": "http://127.0.0.1:8765"})
        await one.send(wire.Ended(ABOUT, 1.0, 101, 1, 2, 1000, wire.Ending.CLIENT))
        await settled(lambda: len(ends) == 1)
        assert ends[0].address == "http://127.0.0.1:8765"
        handoffs.reconfigure([])
        assert (handoffs._by_path, handoffs._by_file, handoffs.handed_over) == ({}, {}, 1)


async def test_it_tells_of_each_file_why_nothing_is_handed_over(handoffs: Handoffs, client: socket.socket) -> None:
    handoffs.reconfigure(["a.sock", "b.sock"])
    await handoffs.start()
    first, second = handoffs.absences
    assert ("a.sock" in first, "b.sock" in second) == (True, True)
    for file in ("a.sock", "b.sock"):
        handoff = handoffs.through(file)
        assert handoff is not None
        assert not await offer(handoff, client)
    assert (handoffs.fallbacks, handoffs.is_ready) == ({"no socket file": 2}, False)
