"""One timer: who is watched is checked at, who has left unread is told, and nobody's fault is everybody's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator

import pytest

from ws_service.websocket import sweep as module
from ws_service.websocket.sweep import Sweep


class Connection:
    def __init__(self, sock: socket.socket | None = None, *, checks: int = 1, fails: str = "") -> None:
        self.sock, self.left, self.fails = sock, checks, fails
        self.checks = self.faults = 0
        self.ends: list[bool] = []
        self.unsent = False
        self.is_acknowledged = True
        self.wire = None
        self.seen = asyncio.Event()

    def check(self, now: float) -> bool:
        self.checks += 1
        self.seen.set()
        self.may_fail("check")
        self.left -= 1
        return self.left > 0

    def may_fail(self, question: str) -> None:
        if self.fails == question:
            self.faults += 1
            raise RuntimeError("a fault of this one")

    def paused_descriptor(self) -> int | None:
        self.may_fail("paused_descriptor")
        return None if self.sock is None else self.sock.fileno()

    def peer_ended(self, is_reset: bool, now: float) -> None:
        self.may_fail("peer_ended")
        self.ends.append(is_reset)

    def vanish(self) -> None:
        raise AssertionError("nothing has vanished")

    def has_unsent(self) -> bool:
        self.may_fail("has_unsent")
        return self.unsent

    async def checked(self) -> None:
        async with asyncio.timeout(10):
            await self.seen.wait()
            self.seen.clear()


class Numbered(Connection):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def paused_descriptor(self) -> int | None:
        return self.number


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


async def test_a_connection_is_checked_until_it_says_that_it_is_enough() -> None:
    sweep, one, other = Sweep(), Connection(checks=3), Connection(checks=1000)
    for each in (one, other):
        sweep.add(each)
        sweep.activate(each)
    while other.checks < 10:
        await other.checked()
    assert one.checks == 3
    sweep.remove(one)
    sweep.remove(other)
    sweep.remove(other)
    assert len(sweep) == 0


async def test_a_connection_that_was_not_added_is_not_checked() -> None:
    sweep, gone, here = Sweep(), Connection(), Connection()
    sweep.activate(gone)
    sweep.add(here)
    sweep.activate(here)
    await here.checked()
    assert gone.checks == 0
    sweep.remove(here)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_the_end_of_a_socket_that_is_not_read_is_told(
    pair: tuple[socket.socket, socket.socket], is_reset: bool
) -> None:
    accepted, client = pair
    sweep, one = Sweep(), Connection(accepted, checks=10_000)
    sweep.add(one)
    sweep.activate(one)
    await one.checked()
    assert one.ends == []
    client.sendall(b"unread")
    if is_reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    while not one.ends:
        await one.checked()
    assert one.ends[0] is is_reset
    sweep.remove(one)


async def test_unsent_bytes_are_found_although_nothing_reports_them() -> None:
    sweep, one = Sweep(), Connection(checks=2)
    one.unsent = True
    sweep.add(one)
    await one.checked()
    sweep.remove(one)


@pytest.mark.parametrize("question", ["check", "has_unsent", "paused_descriptor", "peer_ended"])
async def test_the_fault_of_one_is_logged_and_the_others_are_checked(
    question: str, pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    accepted, client = pair
    client.close()
    sweep, bad, good = Sweep(), Connection(accepted, checks=1000, fails=question), Connection(checks=1000)
    for each in (bad, good):
        sweep.add(each)
        sweep.activate(each)
    while not bad.faults or good.checks < 5:
        await good.checked()
    before = good.checks
    while good.checks < before + 2 * module._FULL:
        await good.checked()
    assert bad.faults == 1, "it is asked no more"
    assert caplog.text.count("cannot check a connection") == 1
    sweep.remove(bad)
    sweep.remove(good)


async def test_the_timer_is_set_again_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, one = Sweep(), Connection(checks=1000)
    sweep.add(one)
    sweep.activate(one)
    ask, faults = sweep._ask_for_ends, [OSError("a fault of the sweep's own")]

    def fails_once(now: float) -> Iterator[None]:
        if faults:
            raise faults.pop()
        return ask(now)

    monkeypatch.setattr(sweep, "_ask_for_ends", fails_once)
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    await one.checked()
    assert len(told) == 1
    sweep.remove(one)


async def test_very_many_that_are_paused_are_asked_about_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nine thousand took 26 ms of one turn, in each second."""
    asked: list[int] = []

    def poll(descriptors: Iterable[int]) -> list[tuple[int, int]]:
        numbers = list(descriptors)
        asked.append(len(numbers))
        return [(number, module.RESET) for number in numbers]

    monkeypatch.setattr(module, "_poll", poll)
    sweep = Sweep()
    ends = [Numbered(number) for number in range(20)]
    for end in ends:
        sweep.add(end)
        sweep.activate(end)
    pieces = list(sweep._pass(1.0))
    assert asked == [8, 8, 4]
    assert len(pieces) == len(asked) + len(ends)
    assert all(end.ends == [True] for end in ends)
    for end in ends:
        sweep.remove(end)
