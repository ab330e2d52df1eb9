"""Turns: so many at a time, in order, and nothing left of clients that have none."""

from __future__ import annotations

import pytest

from proxy.net.concurrency import ConcurrencyLimit, PerClientConcurrency
from tests.proxy.upstream.test_request_queue import begun, gone, settle


async def test_a_slot_that_is_not_free_in_time_leaves_nothing_in_the_queue() -> None:
    limit = ConcurrencyLimit(1)
    await limit.acquire(0)
    with pytest.raises(TimeoutError):
        await limit.acquire(0.02)
    assert (limit.taken, limit.waiting) == (1, 0)
    limit.release()
    assert limit.try_acquire()


async def test_a_larger_limit_gives_slots_to_those_that_wait() -> None:
    limit = ConcurrencyLimit(1)
    await limit.acquire(0)
    waiting = await begun(limit.acquire(10), limit.acquire(10))
    limit.reconfigure(2)
    await waiting[0]
    assert (limit.taken, limit.waiting) == (2, 1)
    limit.reconfigure(None)
    await waiting[1]
    assert (limit.taken, limit.waiting) == (3, 0)


async def test_a_smaller_limit_holds_although_others_wait() -> None:
    limit = ConcurrencyLimit(3)
    for _ in range(3):
        await limit.acquire(0)
    waiting = await begun(limit.acquire(10), limit.acquire(10))
    limit.reconfigure(1)
    limit.release()
    limit.release()
    await settle()
    assert (limit.taken, limit.waiting) == (1, 2)
    limit.release()
    await waiting[0]
    assert (limit.taken, limit.waiting) == (1, 1)
    await gone(waiting[1:])
    limit.release()
    assert limit.taken == 0


async def test_of_a_client_without_an_end_to_wait_nothing_is_left_when_it_gives_up() -> None:
    clients = PerClientConcurrency()
    first = await clients.acquire("one", 1, None)
    waiting = await begun(clients.acquire("one", 1, None), clients.acquire("two", 1, None))
    other = await waiting[1]
    assert (clients.total, clients.clients, waiting[0].done()) == (2, 2, False)
    await gone(waiting[:1])
    first.release()
    first.release()  # the second time it is nobody's
    other.release()
    assert (clients.total, clients.clients) == (0, 0)
