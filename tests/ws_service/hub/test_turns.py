"""How the turns of the loop are shared."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

import pytest

import ws_service.hub.turns
from ws_service.hub.turns import Pace, Share, Turns


def busy(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


class Longest:
    """The number of operations in one turn of the loop, at most."""

    def __init__(self) -> None:
        self.most = self._now = 0

    def one(self) -> None:
        if not self._now:
            asyncio.get_running_loop().call_soon(self._next)
        self._now += 1
        self.most = max(self.most, self._now)

    def _next(self) -> None:
        self._now = 0


async def test_an_operation_that_is_alone_waits_for_nothing() -> None:
    turns = Turns()
    with pytest.raises(StopIteration):
        turns.next("a").send(None)
    assert not len(turns)
    await asyncio.sleep(0)


async def test_what_many_ask_at_once_is_done_in_their_order_and_in_many_turns() -> None:
    turns, longest, done = Turns(0.001), Longest(), list[int]()

    async def operation(number: int) -> None:
        await turns.next("a")
        longest.one()
        busy(0.0006)
        done.append(number)

    await asyncio.gather(*(operation(number) for number in range(100)))
    assert done == list(range(100)) and not len(turns)
    assert longest.most <= 2


async def test_one_begins_in_each_turn_however_long_it_takes() -> None:
    turns, longest = Turns(0.001), Longest()

    async def operation() -> None:
        await turns.next("a")
        longest.one()
        busy(0.003)

    await asyncio.gather(*(operation() for _ in range(5)))
    assert longest.most == 1 and not len(turns)


async def test_a_client_with_hundreds_of_connections_keeps_no_other_waiting() -> None:
    turns, done = Turns(0.001), list[str]()

    async def operation(client: str) -> None:
        await turns.next(client)
        busy(0.002)
        done.append(client)

    await asyncio.gather(*(operation(client) for client in [*["crowd"] * 200, "alone", "alone", "third"]))
    assert done[:6] == ["crowd", "crowd", "alone", "third", "crowd", "alone"]
    assert len(done) == 203 and not len(turns)


@pytest.mark.parametrize("turns_before", [1, 2])
@pytest.mark.parametrize("gone", [range(64), range(0, 100, 2), range(99), range(100)])
async def test_those_that_are_cancelled_keep_no_other_waiting(gone: Any, turns_before: int) -> None:
    turns, done = Turns(), list[int]()
    turns._until = 0.0  # this turn's share is used

    async def operation(number: int) -> None:
        await turns.next("a")
        done.append(number)

    tasks = [asyncio.get_running_loop().create_task(operation(number), name=f"test {number}") for number in range(100)]
    for _ in range(turns_before):  # some may have been woken
        await asyncio.sleep(0)
    for number in gone:
        tasks[number].cancel()
    await asyncio.wait(tasks, timeout=5)
    assert done == [number for number in range(100) if number not in gone] and not len(turns)


async def test_a_task_with_much_to_do_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_service.hub.turns, "SHARE", 0.001)
    pace, longest = Pace(), Longest()
    for _ in range(50):
        await pace.keep()
        longest.one()
        busy(0.0006)
    assert longest.most <= 2


async def test_what_comes_alone_is_done_at_once_and_a_crowd_in_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_service.hub.turns, "SHARE", 0.001)
    share, longest, done = Share(), Longest(), list[int]()

    def one(number: int) -> None:
        longest.one()
        work(0.0006)
        done.append(number)

    for number in range(20):
        share.do(partial(one, number))
        assert number or done == [0]
    for _ in range(20):
        await asyncio.sleep(0)
    assert done == list(range(20)) and not len(share) and longest.most <= 2


async def test_a_fault_of_one_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    share, done = Share(), list[str]()

    def fails() -> None:
        share.do(partial(done.append, "within"))
        raise ZeroDivisionError("a fault")

    share.do(fails)
    share.do(partial(done.append, "after"))
    assert done == ["within", "after"] and "a fault" in caplog.text


async def test_at_the_end_all_is_done_now() -> None:
    share, done = Share(), list[int]()
    share._left = 0.0
    for number in range(3):
        share.do(partial(done.append, number))
    assert not done
    share.close()
    share.do(partial(done.append, 3))
    assert done == [0, 1, 2, 3]
    await asyncio.sleep(0)
