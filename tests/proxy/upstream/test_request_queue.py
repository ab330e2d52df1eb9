"""The requests of an upstream: slots in order, a bounded queue, and nothing left of those that give up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from proxy.errors import Stopping, UpstreamFull
from proxy.upstream.request_queue import RequestQueue

Tasks = list[asyncio.Task[Any]]


class OneAddress(RequestQueue):
    """The queue of an upstream with one address, and its slots."""

    def __init__(self, in_flight: int | None, waiting: int) -> None:
        super().__init__("dash", waiting=waiting)
        self.slots = self.add_slots()
        self.slots.reconfigure(in_flight)
        self.try_acquire, self.release = self.slots.try_acquire, self.slots.release

    async def acquire(self, timeout: float) -> None:
        if not self.slots.try_acquire():
            await self.wait_for_slot(timeout)


def queue(in_flight: int | None = 1, waiting: int = 10) -> OneAddress:
    return OneAddress(in_flight, waiting)


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
    one = queue(2)
    assert one.try_acquire() and one.try_acquire() and not one.try_acquire()
    first, second = await begun(one.acquire(10), one.acquire(10))
    assert (one.in_flight, one.waiting) == (2, 2)
    one.release()
    await settle()
    assert first.done() and not second.done()
    one.release()
    await second
    assert (one.in_flight, one.waiting) == (2, 0)
    one.release()
    one.release()
    assert one.in_flight == 0


async def test_nothing_overtakes_what_waits() -> None:
    one = queue(1)
    await one.acquire(0)
    waiting = await begun(one.acquire(10))
    one.release()  # the turn is the other one's, though it has not woken up yet
    assert not one.try_acquire()
    await waiting[0]
    assert one.in_flight == 1


async def test_without_a_limit_nothing_waits() -> None:
    one = queue(None)
    for _ in range(5000):
        await one.acquire(0)
    assert one.in_flight == 5000


async def test_a_slot_that_does_not_come_in_time_is_an_answer() -> None:
    one = queue(1)
    await one.acquire(0)
    with pytest.raises(UpstreamFull, match=r"could take no other request within 0\.05 s") as caught:
        await one.acquire(0.05)
    assert one.waiting == 0
    assert "limits.in_flight" in caught.value.detail
    assert "limits" not in caught.value.message
    assert caught.value.limit == "in_flight"


async def test_a_queue_that_is_full_takes_nothing_for_whatever_reason() -> None:
    one = queue(1, waiting=2)
    await one.acquire(0)
    waiting = await begun(one.acquire(10), one.wait_for_return(10))
    with pytest.raises(UpstreamFull, match="2 requests waiting"):
        await one.acquire(10)
    with pytest.raises(UpstreamFull, match="2 requests waiting") as caught:
        await one.wait_for_return(10)
    assert caught.value.limit == "waiting"
    await gone(waiting)


async def test_one_may_always_ask_for_a_check_because_without_it_there_is_none() -> None:
    one = queue(1, waiting=0)
    asking = await begun(one.wait_for_check())
    with pytest.raises(UpstreamFull):
        await one.wait_for_check()
    one.checked()
    await asking[0]


async def test_what_is_cancelled_leaves_at_once_and_leaves_nothing() -> None:
    one = queue(1)
    await one.acquire(0)
    waiting = await begun(one.acquire(10), one.acquire(10), one.wait_for_return(10), one.wait_for_check())
    assert one.waiting == 4
    await gone(waiting)
    assert one.waiting == 0
    one.release()
    assert one.in_flight == 0
    assert one.try_acquire()


async def test_a_slot_that_comes_in_the_moment_of_leaving_goes_to_the_next() -> None:
    one = queue(1)
    await one.acquire(0)
    first, second = await begun(one.acquire(10), one.acquire(10))
    one.release()  # the first one is called up ...
    first.cancel()  # ... and cancelled before it wakes up
    async with asyncio.timeout(5):
        await second
    assert (first.cancelled(), one.in_flight) == (True, 1)


async def test_those_who_ask_are_all_told() -> None:
    one = queue()
    asking = await begun(*(one.wait_for_check() for _ in range(5)))
    assert one.awaits_return
    one.checked()
    await asyncio.gather(*asking)
    assert not one.awaits_return


async def test_those_that_wait_for_its_return_are_let_go_in_growing_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.upstream.request_queue.STEP", 0.01)
    one = queue(waiting=100)
    held = await begun(*(one.wait_for_return(10) for _ in range(31)))
    order: list[str] = []
    for task in held:
        task.add_done_callback(lambda task: order.append(task.get_name()))
    batches = []
    let_go = one._let_batch_go

    def noted(count: int) -> None:
        batches.append((count, one.waiting))
        let_go(count)

    monkeypatch.setattr(one, "_let_batch_go", noted)
    one.resume()
    one.resume()  # a second look that finds it there hurries nobody
    async with asyncio.timeout(5):
        await asyncio.gather(*held)
    assert batches == [(1, 31), (2, 30), (4, 28), (8, 24), (16, 16)]
    assert order == [f"work {number}" for number in range(31)]


async def test_when_it_is_unreachable_again_nothing_more_is_let_batch_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.upstream.request_queue.STEP", 0.02)
    one = queue()
    held = await begun(*(one.wait_for_return(10) for _ in range(4)))
    one.resume()
    one.suspend()
    await asyncio.sleep(0.1)
    assert sum(task.done() for task in held) == 1
    one.resume()
    async with asyncio.timeout(5):
        await asyncio.gather(*held)


async def test_a_hold_ends_in_time() -> None:
    one = queue()
    with pytest.raises(TimeoutError):
        await one.wait_for_return(0.05)
    assert one.waiting == 0


async def test_a_stop_sends_those_away_who_wait_for_a_return_and_leaves_the_others_their_turn() -> None:
    one = queue(1)
    await one.acquire(0)
    held, asking, queued = await begun(one.wait_for_return(10), one.wait_for_check(), one.acquire(10))
    one.close()
    for task in (held, asking):
        with pytest.raises(Stopping):
            await task
    with pytest.raises(Stopping):
        await one.wait_for_return(10)
    one.release()
    await queued


async def test_what_waits_gets_the_first_slot_of_any_address() -> None:
    one = queue(1)
    other = one.add_slots()
    other.reconfigure(1)
    assert one.try_acquire() and other.try_acquire()
    first, second = await begun(one.wait_for_slot(10), one.wait_for_slot(10))
    assert (one.in_flight, one.waiting) == (2, 2)
    other.release()
    assert await first is other
    one.release()
    assert await second is one.slots
    other.release()
    one.remove_slots(other)
    assert one.in_flight == 1


async def test_an_address_that_gives_nothing_lets_what_waits_wait_for_another() -> None:
    one = queue(1)
    other = one.add_slots()
    other.reconfigure(1)
    assert one.try_acquire() and other.try_acquire()
    waiting = await begun(one.wait_for_slot(10))
    other.gives = False
    other.release()
    other.give()
    await settle()
    assert (other.taken, waiting[0].done()) == (0, False)
    other.gives = True
    other.give()
    assert await waiting[0] is other
