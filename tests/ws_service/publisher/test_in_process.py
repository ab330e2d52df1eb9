"""Publishing from the loop of the hub itself."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import ws_service.hub.turns
from tests.ws_service.hub.stand_ins import Bystander, turns
from tests.ws_service.publisher.api_server import Api
from ws_service.errors import PublishError
from ws_service.hub.broker import BrokerError, Published
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.publication import Position
from ws_service.hub.topics import Namespaces
from ws_service.publisher import in_process
from ws_service.publisher.in_process import MOST_WAITING
from ws_service.publisher.publisher import Publisher


class Hub:
    def __init__(self) -> None:
        self.broker = Waiting()
        self.namespaces = Namespaces()
        self.published: list[bytes] = []

    async def publish(self, *arguments: Any) -> Position | None:
        return await self.broker.publish(*arguments)

    def receive(self, event: Any) -> None:
        assert isinstance(event, Published)
        self.published.append(event.publication.data)


class Waiting(MemoryBroker):
    """A broker that can be held up, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def publish(self, *arguments: Any) -> Position | None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return await super().publish(*arguments)


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    await hub.broker.start(hub.receive)
    await hub.broker.subscribe("a")
    in_process.serve(hub, 1000)
    yield hub
    await in_process.close()
    await hub.broker.close()
    assert in_process.current is None
    assert len(asyncio.all_tasks()) == 1


def publish(publisher: Publisher, data: Any, **options: Any) -> Position | None:
    given = {"raise_errors": True, "idempotency_key": None, "timeout": 5.0, **options}
    return publisher.publish("a", data, **given)


async def test_what_is_published_in_the_loop_reaches_the_broker_in_order(hub: Hub, publisher: Publisher) -> None:
    assert [publish(publisher, n) for n in range(200)] == [None] * 200
    await turns(10)
    assert hub.published == [b"%d" % n for n in range(200)]


async def test_what_is_published_in_the_loop_lets_others_have_their_turns(
    hub: Hub, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_service.hub.turns, "SHARE", 0.0)
    for number in range(200):
        publish(publisher, number)
    async with Bystander() as bystander:
        await in_process.close()
    assert len(hub.published) == 200 and bystander.turns >= 199


async def test_an_idempotency_key_is_kept(hub: Hub, publisher: Publisher) -> None:
    for _ in range(2):
        publish(publisher, 1, idempotency_key="k")
    await turns()
    assert hub.published == [b"1"]


async def test_what_is_too_large_for_a_request_is_too_large_here(hub: Hub, publisher: Publisher) -> None:
    publish(publisher, "x" * 998)
    with pytest.raises(ValueError, match="max_publication"):
        publish(publisher, "x" * 999)


async def test_a_thread_publishes_by_a_request(hub: Hub, publisher: Publisher, api: Api) -> None:
    assert await asyncio.to_thread(publish, publisher, 1) == Position("e", 1)
    assert hub.published == []


async def test_what_waits_is_bounded(hub: Hub, publisher: Publisher, caplog: pytest.LogCaptureFixture) -> None:
    hub.broker.gate.clear()
    publish(publisher, 0)
    await turns()
    for n in range(MOST_WAITING):
        publish(publisher, n)
    with pytest.raises(PublishError, match="wait for the broker"):
        publish(publisher, 1)
    assert publish(publisher, 1, raise_errors=False) is None
    hub.broker.gate.set()
    await turns(50)
    assert len(hub.published) == MOST_WAITING + 1


async def test_a_broker_that_fails_is_logged_and_the_next_message_is_published(
    hub: Hub, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    hub.broker.failure = BrokerError("away")
    publish(publisher, 1)
    await turns()
    hub.broker.failure = None
    publish(publisher, 2)
    await turns()
    assert hub.published == [b"2"]
    assert [(each.levelno, each.message) for each in caplog.records] == [
        (logging.WARNING, "a message for 'a' is not published: away")
    ]


async def test_at_a_stop_what_waits_is_published_or_given_up(
    hub: Hub, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(publisher, 1)
    await in_process.close()
    assert hub.published == [b"1"]
    in_process.serve(hub, 1000)
    monkeypatch.setattr(in_process, "CLOSE", 0.01)
    hub.broker.gate.clear()
    publish(publisher, 2)
    await in_process.close()
    assert hub.published == [b"1"]


async def test_after_a_fork_the_child_publishes_by_requests(hub: Hub, publisher: Publisher, api: Api) -> None:
    def play() -> None:
        pid = os.fork()
        if pid == 0:
            publisher.forked()
            os._exit(0 if publish(publisher, 1) == Position("e", 1) else 1)
        assert os.waitpid(pid, 0)[1] == 0

    await asyncio.to_thread(play)
    assert hub.published == []
