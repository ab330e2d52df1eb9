"""One timer for many items: passes follow each other while something is left, and none takes the loop for long."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from ws_service.net import periodic_sweep
from ws_service.net.periodic_sweep import Pass, PeriodicSweep


class Passes:
    """Passes that are told what to return, and wait to be counted."""

    def __init__(self, *periods: float | None) -> None:
        self.periods = list(periods)
        self.began: list[float] = []
        self.done = asyncio.Event()

    def __call__(self, period: float) -> Pass:
        self.began.append(period)
        yield
        if not self.periods:
            self.done.set()
            return None
        return self.periods.pop(0)

    async def finished(self) -> None:
        async with asyncio.timeout(10):
            await self.done.wait()


async def test_passes_follow_each_other_until_nothing_is_left() -> None:
    passes = Passes(0.01, 0.02)
    PeriodicSweep(passes).start(0.005)
    await passes.finished()
    await asyncio.sleep(0.05)  # what must not happen has no event
    assert passes.began == [0.005, 0.01, 0.02]


async def test_a_pass_that_is_due_earlier_stays() -> None:
    passes = Passes()
    sweep = PeriodicSweep(passes)
    for period in (60, 0.01, 60):
        sweep.start(period)
    await passes.finished()
    assert passes.began == [0.01]


async def test_it_can_be_started_again_when_nothing_was_left() -> None:
    passes = Passes()
    sweep = PeriodicSweep(passes)
    sweep.start(0.01)
    await passes.finished()
    passes.done.clear()
    sweep.start(0.02)
    await passes.finished()
    assert passes.began == [0.01, 0.02]


@pytest.mark.parametrize(("returned", "asked", "next_period"), [(None, 0.03, 0.03), (60, 0.03, 0.03), (0.01, 60, 0.01)])
async def test_what_starts_during_a_pass_gets_another_one(
    returned: float | None, asked: float, next_period: float
) -> None:
    began: list[float] = []
    done = asyncio.Event()

    def one_pass(period: float) -> Pass:
        began.append(period)
        if len(began) > 1:
            done.set()
            return None
        sweep.start(asked)
        sweep.start(120)
        yield
        return returned

    sweep = PeriodicSweep(one_pass)
    sweep.start(0.005)
    async with asyncio.timeout(10):
        await done.wait()
    assert began == [0.005, next_period]


async def test_other_callbacks_run_between_pieces_of_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic_sweep, "PIECES_PER_TURN", 10)
    worked = 0

    def one_pass(_: float) -> Pass:
        nonlocal worked
        for _ in range(95):
            worked += 1
            yield
        return None

    PeriodicSweep(one_pass).start(0)
    most, before = 0, 0
    async with asyncio.timeout(10):
        while worked < 95:
            await asyncio.sleep(0)
            most, before = max(most, worked - before), worked
    assert most == 10


async def test_a_fault_is_the_loops_and_the_next_pass_comes() -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    number, done = count(), asyncio.Event()

    def one_pass(_: float) -> Pass:
        if next(number) == 0:
            raise OSError("a fault")
        done.set()
        yield
        return None

    PeriodicSweep(one_pass).start(0.01)
    async with asyncio.timeout(10):
        await done.wait()
    assert [str(each) for each in told] == ["a fault"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_piece_of_work_may_stop_the_sweep(fails: bool) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    pieces, began = 0, asyncio.Event()

    def one_pass(_: float) -> Pass:
        nonlocal pieces
        began.set()
        sweep.stop()
        if fails:
            raise OSError("a fault")
        for _ in range(3 * periodic_sweep.PIECES_PER_TURN):
            pieces += 1
            yield
        return 0.01

    sweep = PeriodicSweep(one_pass)
    sweep.start(0)
    async with asyncio.timeout(10):
        await began.wait()
    await asyncio.sleep(0.05)  # what must not happen has no event
    assert pieces <= periodic_sweep.PIECES_PER_TURN, "what is under way ends with its turn"


async def test_it_can_be_stopped_before_and_between() -> None:
    passes = Passes(0.01)
    sweep = PeriodicSweep(passes)
    sweep.stop()
    sweep.start(0.01)
    sweep.stop()
    await asyncio.sleep(0.05)  # what must not happen has no event
    assert passes.began == []
