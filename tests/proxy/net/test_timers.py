"""Readers that take enough are left alone, readers that take next to nothing are ended, all with one timer."""

from __future__ import annotations

import asyncio
import time

from proxy.net.timers import Deadlines, SlowReaders


class Pile:
    """A reader: what waits for it, and what it has taken of that."""

    def __init__(self, waiting: int = 0, timeout: float = 0.2) -> None:
        self.waiting = waiting
        self.timeout = timeout
        self.has_taken = 0
        self.ended_at = 0.0
        self.looks = 0
        self.pace = 0
        """Bytes that it takes between two looks."""
        self.ended = asyncio.Event()

    def taken(self) -> int | None:
        self.looks += 1
        self.has_taken += self.pace
        return self.has_taken if self.waiting else None

    def took_too_long(self) -> None:
        self.ended_at = time.monotonic()
        self.ended.set()


async def test_a_reader_that_takes_nothing_is_ended_in_time() -> None:
    reader = Pile(waiting=1, timeout=0.4)
    slow = SlowReaders(lambda: [] if reader.ended.is_set() else [reader])
    began = time.monotonic()
    slow.start(0.4)
    slow.start(0.4)
    async with asyncio.timeout(10):
        await reader.ended.wait()
    assert 0.35 < reader.ended_at - began
    assert reader.looks == 5, "one look to see it, four for the timeout, and one timer for both calls"


async def test_a_reader_that_takes_enough_or_has_nothing_to_take_is_not_ended() -> None:
    """240 bytes a second: 48 in a timeout of 0.2 s, however they come."""
    eager, idle, stuck = Pile(waiting=1), Pile(), Pile(waiting=1)
    eager.pace = 16
    slow = SlowReaders(lambda: [] if stuck.ended.is_set() else [eager, idle, stuck])
    slow.start(0.2)
    async with asyncio.timeout(10):
        await stuck.ended.wait()
    assert not eager.ended.is_set()
    assert not idle.ended.is_set()


async def test_a_reader_that_takes_a_byte_now_and_then_is_ended_like_one_that_takes_nothing() -> None:
    """Otherwise its memory, and its upstream's worker, would be its own for as long as it likes (issue 9, A3)."""
    reader = Pile(waiting=1, timeout=0.4)
    reader.pace = 1
    SlowReaders(lambda: [] if reader.ended.is_set() else [reader]).start(0.4)
    async with asyncio.timeout(10):
        await reader.ended.wait()
    assert reader.looks == 5


async def test_standing_counts_anew_after_progress() -> None:
    reader = Pile(waiting=1)

    def step() -> list[Pile]:
        if reader.looks == 3:
            reader.has_taken = 48
        return [] if reader.ended.is_set() else [reader]

    SlowReaders(step).start(0.2)
    async with asyncio.timeout(10):
        await reader.ended.wait()
    assert reader.looks == 3 + 5


async def test_nothing_is_swept_when_there_is_nothing_to_sweep() -> None:
    looks = 0

    def no_readers() -> list[Pile]:
        nonlocal looks
        looks += 1
        return []

    SlowReaders(no_readers).start(0.2)
    await asyncio.sleep(0.3)
    assert looks == 1


async def test_a_timeout_of_nothing_is_no_busy_loop() -> None:
    reader = Pile(timeout=0)
    SlowReaders(lambda: [reader] if reader.looks < 100 else []).start(0)
    await asyncio.sleep(0.3)
    assert 1 <= reader.looks < 10
    reader.looks = 100
    await asyncio.sleep(0.1)


async def test_each_has_its_time_from_its_own_beginning() -> None:
    late: list[tuple[str, float]] = []
    deadlines = Deadlines[str](lambda one: late.append((one, time.monotonic())))
    began = time.monotonic()
    for one in ("one", "begun again", "ended"):
        deadlines.begin(one, 0.6)
    await asyncio.sleep(0.1)
    again = time.monotonic()
    deadlines.begin("begun again", 0.6)
    deadlines.end("ended")
    deadlines.end("never begun")
    async with asyncio.timeout(10):
        while len(late) < 2:  # noqa: ASYNC110 - it tells the list
            await asyncio.sleep(0.01)
    (first, its_end), (second, other_end) = late
    assert (first, second) == ("one", "begun again")
    assert its_end - began > 0.59
    assert other_end - again > 0.59


async def test_each_keeps_the_timeout_that_it_began_with() -> None:
    late: list[str] = []
    deadlines = Deadlines[str](late.append)
    deadlines.begin("one", 0.3)
    deadlines.begin("long", 10)
    deadlines.begin("short", 0.1)
    async with asyncio.timeout(5):
        while len(late) < 2:  # noqa: ASYNC110 - it tells the list
            await asyncio.sleep(0.01)
    assert sorted(late) == ["one", "short"]
    deadlines.end("long")
    assert len(deadlines) == 0


async def test_each_reader_has_the_timeout_that_its_exchange_began_with() -> None:
    first, second, third = Pile(1, timeout=0.4), Pile(1, timeout=60), Pile(timeout=60)
    slow = SlowReaders(lambda: [] if third.ended.is_set() else [first, second, third])
    slow.start(0.4)
    slow.start(60)
    began = time.monotonic()
    async with asyncio.timeout(5):
        await first.ended.wait()
    assert time.monotonic() - began >= 0.35
    assert not second.ended.is_set()
    third.waiting, third.timeout = 1, 0.2  # its next exchange
    slow.start(0.2)
    async with asyncio.timeout(5):
        await third.ended.wait()
    assert not second.ended.is_set()


async def test_what_is_late_may_end_what_is_late_as_well() -> None:
    late: list[str] = []

    def on_late(one: str) -> None:
        late.append(one)
        deadlines.end("second")

    deadlines = Deadlines[str](on_late)
    for one in ("first", "second", "third"):
        deadlines.begin(one, 0.05)
    async with asyncio.timeout(10):
        while len(late) < 2:  # noqa: ASYNC110 - it tells the list
            await asyncio.sleep(0.01)
    assert late == ["first", "third"]
