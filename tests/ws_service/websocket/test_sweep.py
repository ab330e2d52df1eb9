"""One timer: who is watched is looked at, who has left unread is told, and nobody's fault is everybody's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from ws_service.websocket import sweep as module
from ws_service.websocket.sweep import Sweep


class Watched:
    def __init__(self, sock: socket.socket | None = None, *, looks: int = 1, fails: str = "") -> None:
        self.sock, self.left, self.fails = sock, looks, fails
        self.looks = self.faults = 0
        self.ends: list[bool] = []
        self.unsent = False
        self.seen = asyncio.Event()

    def look(self, now: float) -> bool:
        self.looks += 1
        self.seen.set()
        self.may_fail("look")
        self.left -= 1
        return self.left > 0

    def may_fail(self, question: str) -> None:
        if self.fails == question:
            self.faults += 1
            raise RuntimeError("a fault of this one")

    def deaf_descriptor(self) -> int | None:
        self.may_fail("deaf_descriptor")
        return None if self.sock is None else self.sock.fileno()

    def peer_ended(self, is_reset: bool, now: float) -> None:
        self.may_fail("peer_ended")
        self.ends.append(is_reset)

    def has_unsent(self) -> bool:
        self.may_fail("has_unsent")
        return self.unsent

    async def looked(self) -> None:
        async with asyncio.timeout(10):
            await self.seen.wait()
            self.seen.clear()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with client, accepted:
            yield accepted, client


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)


async def test_it_looks_as_long_as_it_is_told_to() -> None:
    sweep, one, other = Sweep(), Watched(looks=3), Watched(looks=1000)
    for each in (one, other):
        sweep.enter(each)
        sweep.watch(each)
    while other.looks < 10:
        await other.looked()
    assert one.looks == 3
    sweep.leave(one)
    sweep.leave(other)
    sweep.leave(other)
    assert len(sweep) == 0


async def test_who_has_not_entered_is_not_watched() -> None:
    sweep, gone, here = Sweep(), Watched(), Watched()
    sweep.watch(gone)
    sweep.enter(here)
    sweep.watch(here)
    await here.looked()
    assert gone.looks == 0
    sweep.leave(here)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_the_end_of_a_socket_that_is_not_read_is_told(
    pair: tuple[socket.socket, socket.socket], is_reset: bool
) -> None:
    accepted, client = pair
    sweep, one = Sweep(), Watched(accepted, looks=10_000)
    sweep.enter(one)
    sweep.watch(one)
    await one.looked()
    assert one.ends == []
    client.sendall(b"unread")
    if is_reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    while not one.ends:
        await one.looked()
    assert one.ends[0] is is_reset
    sweep.leave(one)


async def test_unsent_bytes_are_found_without_a_word() -> None:
    sweep, one = Sweep(), Watched(looks=2)
    one.unsent = True
    sweep.enter(one)
    await one.looked()
    sweep.leave(one)


@pytest.mark.parametrize("question", ["look", "has_unsent", "deaf_descriptor", "peer_ended"])
async def test_the_fault_of_one_is_told_and_the_others_are_looked_at(
    question: str, pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    accepted, client = pair
    client.close()
    sweep, bad, good = Sweep(), Watched(accepted, looks=1000, fails=question), Watched(looks=1000)
    for each in (bad, good):
        sweep.enter(each)
        sweep.watch(each)
    while not bad.faults or good.looks < 5:
        await good.looked()
    before = good.looks
    while good.looks < before + 2 * module._FULL:
        await good.looked()
    assert bad.faults == 1, "it is asked no more"
    assert caplog.text.count("cannot look at a connection") == 1
    sweep.leave(bad)
    sweep.leave(good)


async def test_the_timer_is_set_again_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, one = Sweep(), Watched(looks=1000)
    sweep.enter(one)
    sweep.watch(one)
    ask, faults = sweep._ask_for_ends, [OSError("a fault of the sweep's own")]

    def fails_once(now: float) -> None:
        if faults:
            raise faults.pop()
        ask(now)

    monkeypatch.setattr(sweep, "_ask_for_ends", fails_once)
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    await one.looked()
    assert len(told) == 1
    sweep.leave(one)
