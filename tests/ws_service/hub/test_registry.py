from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.ws_service.hub.stand_ins import ScriptedBroker, StandInClient, subscription, turns
from ws_service.hub.broker import BrokerError
from ws_service.hub.publication import ClientInfo
from ws_service.hub.registry import Registry, Seen


@pytest.fixture
def broker() -> ScriptedBroker:
    return ScriptedBroker()


@pytest_asyncio.fixture
async def registry(broker: Any) -> AsyncIterator[Registry]:
    registry = Registry(broker)
    yield registry
    await registry.close(0)
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_a_topic_is_asked_for_once_and_left_after_its_last(registry: Registry, broker: ScriptedBroker) -> None:
    first, second = subscription("a"), subscription("a")
    await registry.subscribe(first)
    await registry.subscribe(second)
    assert registry.counts() == {"a": 2}
    assert registry.of("a") == (first, second)
    registry.unsubscribe(first)
    await turns()
    assert broker.asked == ["subscribe a"]
    registry.unsubscribe(second)
    registry.unsubscribe(second)
    await turns()
    assert broker.asked == ["subscribe a", "unsubscribe a"]
    assert registry.of("a") == () and not registry._topics


async def test_it_is_registered_before_the_first_wait(registry: Registry, broker: ScriptedBroker) -> None:
    broker.gates["subscribe a"] = asyncio.Event()
    one = subscription("a")
    coroutine = registry.subscribe(one)
    coroutine.send(None)
    assert registry.of("a") == (one,)
    coroutine.close()
    registry.unsubscribe(one)


async def test_two_that_come_at_once_ask_once_and_both_wait(registry: Registry, broker: ScriptedBroker) -> None:
    gate = broker.gates["subscribe a"] = asyncio.Event()
    loop = asyncio.get_running_loop()
    both = [loop.create_task(registry.subscribe(subscription("a")), name=f"test {number}") for number in range(2)]
    await turns()
    assert not any(task.done() for task in both)
    gate.set()
    await asyncio.gather(*both)
    assert broker.asked == ["subscribe a"]


async def test_one_that_comes_while_the_topic_is_left_asks_again(registry: Registry, broker: ScriptedBroker) -> None:
    one = subscription("a")
    await registry.subscribe(one)
    gate = broker.gates["unsubscribe a"] = asyncio.Event()
    registry.unsubscribe(one)
    await turns()
    task = asyncio.get_running_loop().create_task(registry.subscribe(one), name="test")
    await turns()
    assert not task.done()
    gate.set()
    await task
    await turns()
    assert broker.asked == ["subscribe a", "unsubscribe a", "subscribe a"]
    assert registry.counts() == {"a": 1}


async def test_one_that_is_back_at_once_costs_nothing(registry: Registry, broker: ScriptedBroker) -> None:
    one = subscription("a")
    await registry.subscribe(one)
    registry.unsubscribe(one)
    await registry.subscribe(one)
    await turns()
    assert broker.asked == ["subscribe a"]


@pytest.mark.parametrize("way", ["fails", "is cancelled"])
async def test_one_that_does_not_come_about_leaves_nothing(
    registry: Registry, broker: ScriptedBroker, way: str
) -> None:
    one = subscription("a")
    if way == "fails":
        broker.failures["subscribe a"] = BrokerError("down")
        with pytest.raises(BrokerError):
            await registry.subscribe(one)
    else:
        broker.gates["subscribe a"] = asyncio.Event()
        task = asyncio.get_running_loop().create_task(registry.subscribe(one), name="test")
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    registry.unsubscribe(one)
    await turns()
    assert broker.asked == ["subscribe a", "unsubscribe a"]  # it may have happened
    assert not registry._topics


async def test_thousands_that_leave_at_once_leave_others_their_turn(registry: Registry, broker: ScriptedBroker) -> None:
    all_of_them = [subscription(f"t{number}") for number in range(200)]
    for number, one in enumerate(all_of_them):
        await registry.subscribe(one)
        registry.leave("t0", ClientInfo(f"c{number}"), is_told=False)
    broker.asked = Slow()
    for one in all_of_them:
        registry.unsubscribe(one)
    asked = 0
    while registry._telling is not None:
        await asyncio.sleep(0)
        assert len(broker.asked) - asked <= 30
        asked = len(broker.asked)
    assert asked == 400 and not registry._topics


class Slow(list[str]):
    def append(self, what: str) -> None:
        time.sleep(0.0002)
        super().append(what)


async def test_a_topic_that_cannot_be_left_is_forgotten_and_the_others_are_left(
    registry: Registry, broker: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    all_of_them = [subscription(name) for name in "ab"]
    for one in all_of_them:
        await registry.subscribe(one)
    broker.failures["unsubscribe a"] = BrokerError("down")
    for one in all_of_them:
        registry.unsubscribe(one)
    await turns()
    assert broker.asked[2:] == ["unsubscribe a", "unsubscribe b"]
    assert not registry._topics
    assert "down" in caplog.text


async def test_a_broker_that_is_down_is_one_line_however_many_leave(
    registry: Registry, broker: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):
        broker.failures[f"leave a c{number}"] = broker.failures[f"unsubscribe t{number}"] = BrokerError("down")
        one = subscription(f"t{number}")
        await registry.subscribe(one)
        registry.unsubscribe(one)
        registry.leave("a", ClientInfo(f"c{number}"), is_told=True)
    await turns(50)
    assert not broker.failures and not registry._topics
    assert len(caplog.messages) == 2


async def test_clients_are_counted_out_before_their_topic_is_left(registry: Registry, broker: ScriptedBroker) -> None:
    one = subscription("a")
    await registry.subscribe(one)
    registry.unsubscribe(one)
    registry.leave("a", ClientInfo("c1"), is_told=True)
    registry.leave("a", ClientInfo("c2"), is_told=True)
    await turns()
    assert broker.asked == ["subscribe a", "leave a c1", "leave a c2", "unsubscribe a"]
    assert not registry._topics


async def test_a_client_that_comes_back_waits_until_it_is_counted_out(
    registry: Registry, broker: ScriptedBroker
) -> None:
    other, one = subscription("a", StandInClient("c2")), subscription("a", StandInClient("c1"))
    await registry.subscribe(other)
    await registry.subscribe(one)
    gate = broker.gates["leave a c1"] = asyncio.Event()
    registry.unsubscribe(one)
    registry.leave("a", ClientInfo("c1"), is_told=False)
    await turns()
    loop = asyncio.get_running_loop()
    again = loop.create_task(registry.subscribe(one), name="test")
    await registry.subscribe(subscription("a", StandInClient("c3")))  # waits for nothing
    await turns()
    assert not again.done()
    gate.set()
    await again
    assert broker.asked == ["subscribe a", "leave a c1"]


async def test_one_that_cannot_be_counted_out_does_not_keep_the_topic(
    registry: Registry, broker: ScriptedBroker
) -> None:
    broker.failures["leave a c1"] = BrokerError("down")
    registry.leave("a", ClientInfo("c1"), is_told=False)
    await turns()
    assert broker.asked == ["leave a c1", "unsubscribe a"]
    assert not registry._topics


async def test_the_close_tells_what_is_left_to_tell(registry: Registry, broker: ScriptedBroker) -> None:
    registry.leave("a", ClientInfo("c1"), is_told=False)
    await registry.close(5)
    assert broker.asked == ["leave a c1", "unsubscribe a"]


async def test_the_close_does_not_wait_for_a_broker_that_does_not_answer(
    registry: Registry, broker: ScriptedBroker
) -> None:
    broker.gates["leave a c1"] = asyncio.Event()
    registry.leave("a", ClientInfo("c1"), is_told=False)
    await registry.close(0.01)
    registry.leave("b", ClientInfo("c1"), is_told=False)
    assert broker.asked == ["leave a c1"]


async def test_the_largest_topics_come_with_what_was_published_to_them(registry: Registry) -> None:
    for topic in ("a", "b", "b", "c", "c", "c"):
        await registry.subscribe(subscription(topic))
    assert registry.publish("none", 1.0) == ()
    assert len(registry.publish("b", 2.0)) == 2
    registry.publish("b", 3.0)
    assert registry.largest(2) == [Seen("c", 3, 0, None), Seen("b", 2, 2, 3.0)]
    for gone in registry.of("c"):
        registry.unsubscribe(gone)
    assert [each.topic for each in registry.largest(9)] == ["b", "a"]
