from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ws_service.hub.counts import BOUNDS
from ws_service.hub.fan_out import BUDGET, MOST_BYTES, MOST_WAITING, FanOut
from ws_service.net.histogram import Histogram


class Named:
    """A subscriber that writes down what it is given."""

    def __init__(self, name: str, given: list[tuple[str, Any]]) -> None:
        self.name, self.given = name, given


def some(count: int, given: list[tuple[str, Any]], name: str = "s") -> tuple[Any, ...]:
    return tuple(Named(f"{name}{number}", given) for number in range(count))


def giving(what: Any) -> Callable[[Any], None]:
    return lambda one: one.given.append((one.name, what))


async def all_given(fan_out: FanOut) -> int:
    """Wait until nothing is on its way; return how many turns of the loop that took."""
    turns = 0
    while len(fan_out):
        await asyncio.sleep(0)
        turns += 1
        assert turns < 10_000
    return turns


async def test_a_small_topic_is_served_at_once() -> None:
    given: list[Any] = []
    FanOut().send("a", some(3, given), giving(1))
    assert given == [("s0", 1), ("s1", 1), ("s2", 1)]


async def test_a_large_one_takes_several_turns() -> None:
    given: list[Any] = []
    durations = Histogram(BOUNDS)
    fan_out = FanOut(durations)
    fan_out.send("a", some(10 * BUDGET, given), giving(1))
    assert len(given) == BUDGET and not durations.count, "it is not with all of them yet"
    assert 9 <= await all_given(fan_out) <= 11
    assert len(given) == len(set(given)) == 10 * BUDGET
    assert durations.count == 1 and 0 < durations.sum < 60


async def test_the_budget_of_a_turn_is_for_all_messages_together() -> None:
    given: list[Any] = []
    fan_out = FanOut()
    for number in range(10):
        fan_out.send(f"topic {number}", some(BUDGET // 2, given), giving(number))
    assert len(given) == BUDGET
    await all_given(fan_out)
    assert len(given) == 5 * BUDGET


async def test_the_order_of_a_topic_is_kept_for_each_subscriber() -> None:
    given: list[Any] = []
    fan_out = FanOut()
    subscribers = some(BUDGET + 10, given)
    for number in range(5):
        fan_out.send("a", subscribers, giving(number))
        await asyncio.sleep(0)
    await all_given(fan_out)
    for one in subscribers:
        assert [what for name, what in given if name == one.name] == [0, 1, 2, 3, 4]


async def test_a_small_topic_does_not_wait_for_all_of_a_large_one() -> None:
    given: list[Any] = []
    fan_out = FanOut()
    for _ in range(10):
        fan_out.send("large", some(4 * BUDGET, given, "l"), giving(1))
    fan_out.send("small", some(1, given), giving(2))
    for _ in range(3):
        await asyncio.sleep(0)
    assert ("s0", 2) in given
    assert len(fan_out) > 5


async def test_a_fault_of_one_subscriber_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    given: list[Any] = []

    def give(one: Any) -> None:
        if one.name == "s1":
            raise RuntimeError("a fault")
        one.given.append(one.name)

    FanOut().send("a", some(3, given), give)
    assert given == ["s0", "s2"]
    assert "could not be delivered" in caplog.text


async def test_a_subscriber_may_publish_while_it_is_given_a_message() -> None:
    given: list[Any] = []
    fan_out = FanOut()
    subscribers = some(3, given)

    def give(one: Any) -> None:
        one.given.append((one.name, 1))
        if one.name == "s0":
            fan_out.send("a", subscribers, giving(2))

    fan_out.send("a", subscribers, give)
    assert given == [(f"s{number}", what) for what in (1, 2) for number in range(3)]


async def test_a_publisher_that_is_faster_pays_at_once_so_that_what_waits_is_bounded() -> None:
    given: list[Any] = []
    fan_out = FanOut()
    subscribers = some(3, given)
    for number in range(3 * MOST_WAITING):
        fan_out.send("a", subscribers, giving(number))
    assert len(fan_out) <= MOST_WAITING + 1
    await all_given(fan_out)
    assert [what for name, what in given if name == "s0"] == list(range(3 * MOST_WAITING))


async def test_what_waits_is_bounded_in_bytes_too() -> None:
    given: list[Any] = []
    fan_out = FanOut()
    subscribers = some(3, given)
    for number in range(1000):
        fan_out.send("a", subscribers, giving(number), 1 << 20)
    assert len(fan_out) <= (MOST_BYTES >> 20) + 1
    await all_given(fan_out)
    assert [what for name, what in given if name == "s0"] == list(range(1000))
    assert not fan_out._bytes


async def test_nothing_is_delivered_after_the_close() -> None:
    given: list[Any] = []
    fan_out = FanOut()
    fan_out.send("a", some(2 * BUDGET, given), giving(1))
    fan_out.close()
    fan_out.send("a", some(1, given), giving(2))
    await asyncio.sleep(0)
    assert len(given) == BUDGET


async def test_lists_of_subscribers_are_counted() -> None:
    fan_out = FanOut()
    given: list[Any] = []
    subscribers = some(4 * BUDGET, given)
    for number in range(100):
        fan_out.send("a", list(subscribers), giving(number))
    assert fan_out._bytes >= 95 * 8 * len(subscribers)
    await all_given(fan_out)
    assert not fan_out._bytes
