"""The room before an upstream: turns in order, places that are bounded, and nobody left behind who gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from proxy.errors import Stopping, UpstreamFull
from proxy.upstream.request_queue import RequestQueue

Tasks = list[asyncio.Task[Any]]


def room(in_flight: int | None = 1, places: int = 10) -> RequestQueue:
    return RequestQueue("dash", in_flight=in_flight, places=places)


async def begun(*work: Awaitable[Any]) -> Tasks:
    """Start each, in this order, up to its first wait."""
    tasks = []
    for number, one in enumerate(work):
        tasks.append(asyncio.get_running_loop().create_task(one, name=f"work {number}"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
    return tasks


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def gone(tasks: Tasks) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_as_many_as_may_go_in_and_the_next_ones_in_their_order() -> None:
    one = room(2)
    assert one.claim_at_once() and one.claim_at_once() and not one.claim_at_once()
    first, second = await begun(one.claim(10), one.claim(10))
    assert (one.in_flight, one.waiting) == (2, 2)
    one.leave()
    await settle()
    assert first.done() and not second.done()
    one.leave()
    await second
    assert (one.in_flight, one.waiting) == (2, 0)
    one.leave()
    one.leave()
    assert one.in_flight == 0


async def test_nobody_overtakes_those_who_wait() -> None:
    one = room(1)
    await one.claim(0)
    waiting = await begun(one.claim(10))
    one.leave()  # the turn is the other one's, though it has not woken up yet
    assert not one.claim_at_once()
    await waiting[0]
    assert one.in_flight == 1


async def test_without_a_limit_nobody_waits() -> None:
    one = room(None)
    for _ in range(5000):
        await one.claim(0)
    assert one.in_flight == 5000


async def test_a_turn_that_does_not_come_in_time_is_an_answer() -> None:
    one = room(1)
    await one.claim(0)
    with pytest.raises(UpstreamFull, match=r"had no room for another request within 0\.05 s") as caught:
        await one.claim(0.05)
    assert one.waiting == 0
    assert "limits.in_flight" in caught.value.detail
    assert "limits" not in caught.value.message


async def test_a_room_that_is_full_takes_nobody_for_whatever_reason() -> None:
    one = room(1, places=2)
    await one.claim(0)
    waiting = await begun(one.claim(10), one.hold(10))
    with pytest.raises(UpstreamFull, match="2 requests waiting"):
        await one.claim(10)
    with pytest.raises(UpstreamFull, match="2 requests waiting"):
        await one.hold(10)
    await gone(waiting)


async def test_one_may_always_ask_because_somebody_must_find_out() -> None:
    one = room(1, places=0)
    asking = await begun(one.news())
    with pytest.raises(UpstreamFull):
        await one.news()
    one.tell()
    await asking[0]


async def test_whoever_is_cancelled_leaves_at_once_and_without_a_trace() -> None:
    one = room(1)
    await one.claim(0)
    waiting = await begun(one.claim(10), one.claim(10), one.hold(10), one.news())
    assert one.waiting == 4
    await gone(waiting)
    assert one.waiting == 0
    one.leave()
    assert one.in_flight == 0
    assert one.claim_at_once()


async def test_a_turn_that_comes_in_the_moment_of_leaving_goes_to_the_next() -> None:
    one = room(1)
    await one.claim(0)
    first, second = await begun(one.claim(10), one.claim(10))
    one.leave()  # the first one is called up ...
    first.cancel()  # ... and cancelled before it wakes up
    async with asyncio.timeout(5):
        await second
    assert (first.cancelled(), one.in_flight) == (True, 1)


async def test_those_who_ask_are_all_told() -> None:
    one = room()
    asking = await begun(*(one.news() for _ in range(5)))
    assert one.awaits_return
    one.tell()
    await asyncio.gather(*asking)
    assert not one.awaits_return


async def test_those_who_are_held_are_let_go_in_growing_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.upstream.request_queue.STEP", 0.01)
    one = room(places=100)
    held = await begun(*(one.hold(10) for _ in range(31)))
    order: list[str] = []
    for task in held:
        task.add_done_callback(lambda task: order.append(task.get_name()))
    batches = []
    let_go = one._let_go

    def noted(count: int) -> None:
        batches.append((count, one.waiting))
        let_go(count)

    monkeypatch.setattr(one, "_let_go", noted)
    one.open()
    one.open()  # a second look that finds it there hurries nobody
    async with asyncio.timeout(5):
        await asyncio.gather(*held)
    assert batches == [(1, 31), (2, 30), (4, 28), (8, 24), (16, 16)]
    assert order == [f"work {number}" for number in range(31)]


async def test_when_it_is_away_again_nobody_more_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.upstream.request_queue.STEP", 0.02)
    one = room()
    held = await begun(*(one.hold(10) for _ in range(4)))
    one.open()
    one.shut()
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in held) == 1
    one.open()
    async with asyncio.timeout(5):
        await asyncio.gather(*held)


async def test_a_hold_ends_in_time() -> None:
    one = room()
    with pytest.raises(TimeoutError):
        await one.hold(0.05)
    assert one.waiting == 0


async def test_a_stop_sends_those_away_who_wait_for_a_return_and_leaves_the_others_their_turn() -> None:
    one = room(1)
    await one.claim(0)
    held, asking, queued = await begun(one.hold(10), one.news(), one.claim(10))
    one.close()
    for task in (held, asking):
        with pytest.raises(Stopping):
            await task
    with pytest.raises(Stopping):
        await one.hold(10)
    one.leave()
    await queued
