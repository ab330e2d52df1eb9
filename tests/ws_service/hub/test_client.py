"""A client of the hub with a real broker in memory and the real hub."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio

from tests.ws_service.hub.session_play import NAMESPACES, Rights
from tests.ws_service.hub.stand_ins import turns
from ws_service.hub.broker import BrokerError, Control
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.client import Client
from ws_service.hub.codes import SHUTDOWN
from ws_service.hub.hub import Hub
from ws_service.hub.keys import Keys
from ws_service.hub.permissions import Permissions
from ws_service.hub.publication import Publication
from ws_service.hub.tokens import Tokens


class Wire:
    """A connection that keeps what it is to send, in order."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed_with: int | None = None
        self.is_paused = False

    def send(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def deliver(self, message: Any) -> None:
        self.sent.append(json.loads(message.push))

    def close(self, code: int, reason: str) -> None:
        self.closed_with = code

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Gated(MemoryBroker):
    """A broker each of whose methods waits at a gate, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def history(self, *arguments: Any, **options: Any) -> Any:
        await self._wait()
        return await super().history(*arguments, **options)

    async def join(self, *arguments: Any, **options: Any) -> None:
        await self._wait()
        await super().join(*arguments, **options)

    async def publish(self, *arguments: Any, **options: Any) -> Any:
        await self._wait()
        return await super().publish(*arguments, **options)

    async def _wait(self) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def broker() -> Gated:
    return Gated()


@pytest_asyncio.fixture
async def hub(broker: Gated) -> AsyncIterator[Hub]:
    hub = Hub(broker, NAMESPACES, Rights())
    await hub.start()
    yield hub
    await hub.close()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def say(client: Client, *commands: Any) -> None:
    client.receive("\n".join(json.dumps(each) for each in commands).encode())


def joined(hub: Hub, topic: str = "a", user: str = "") -> tuple[Client, Wire]:
    wire = Wire()
    client = Client(hub, wire, user)
    say(client, {"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": topic}})
    return client, wire


@contextmanager
def nothing_left(hub: Hub) -> Iterator[None]:
    yield
    assert hub.clients == 0 and not hub.topics


async def publish(hub: Hub, topic: str, data: bytes) -> None:
    await hub.broker.publish(topic, Publication(data), hub.namespaces.of(topic).keep)


async def test_one_publish_reaches_every_client(hub: Hub) -> None:
    clients = [joined(hub) for _ in range(3)]
    await turns()
    await publish(hub, "a", b'{"x":1}')
    for _, wire in clients:
        assert [each for each in wire.sent if "push" in each] == [
            {"push": {"channel": "a", "pub": {"data": {"x": 1}, "offset": 1}}}
        ]
    assert hub.topics == {"a": 3} and hub.clients == 3
    with nothing_left(hub):
        for client, _ in clients:
            client.closed()
            client.closed()


async def test_what_is_published_while_it_subscribes_comes_once_after_the_answer(hub: Hub, broker: Gated) -> None:
    async def publish_past_the_gate(data: bytes) -> None:
        await MemoryBroker.publish(broker, "seen:a", Publication(data), hub.namespaces.of("seen:a").keep)

    broker.gate.clear()
    client, wire = joined(hub, "seen:a")
    await turns()
    await publish_past_the_gate(b"1")  # it is in the history that is read after this
    broker.gate.set()
    broker.gate.clear()  # what waited goes on, to the next gate
    await turns()
    await publish_past_the_gate(b"2")
    await publish_past_the_gate(b"3")
    assert len(wire.sent) == 1, "the subscription is not answered yet"
    broker.gate.set()
    await turns()
    assert wire.sent[1]["subscribe"]["publications"] == [{"data": 1, "offset": 1}]
    pushes = [each["push"]["pub"]["data"] for each in wire.sent[2:] if "pub" in each["push"]]
    assert pushes == [2, 3]
    client.closed()


async def test_there_is_no_task_while_nothing_is_asked(hub: Hub) -> None:
    client, _ = joined(hub)
    assert client.task is not None and client.task.get_name() == f"hub client {client.id}"
    await turns()
    assert client.task is None and "open" in repr(client) and client.topics == ["a"]
    client.closed()


async def test_many_operations_of_one_client_leave_others_their_turn(hub: Hub) -> None:
    client, wire = joined(hub)
    say(client, *[{"id": number, "history": {"channel": "a", "limit": 1}} for number in range(3, 53)])
    await turns(10)
    assert 3 <= len(wire.sent) <= 12
    await turns(60)
    assert wire.sent[-1]["id"] == 52 and client.task is None
    client.closed()


async def test_what_a_hundred_clients_ask_at_once_takes_many_turns(hub: Hub, broker: Gated) -> None:
    class Long(Wire):
        def send(self, message: bytes) -> None:
            time.sleep(0.001)
            turn.append(message)
            if len(turn) == 1:
                asyncio.get_running_loop().call_soon(ended)

    def ended() -> None:
        longest.append(len(turn))
        turn.clear()

    turn: list[bytes] = []
    longest: list[int] = []
    clients = [joined(hub)[0] for _ in range(100)]
    await turns(300)
    for client in clients:
        client._connection = Long()
        say(client, {"id": 3, "history": {"channel": "a", "limit": 1}})
    await turns(300)
    assert sum(longest) + len(turn) == 100 and max(longest) <= 8
    for client in clients:
        client.closed()


async def test_a_late_client_gets_the_newest_value(hub: Hub) -> None:
    await publish(hub, "a", b"1")
    await publish(hub, "a", b"2")
    client, wire = joined(hub)
    await turns()
    assert wire.sent[-1]["subscribe"]["publications"] == [{"data": 2, "offset": 2}]
    client.closed()


async def test_nothing_is_lost_or_doubled_while_it_subscribes(hub: Hub, broker: Gated) -> None:
    await publish(hub, "stream:a", b"1")
    broker.gate.clear()
    client, wire = joined(hub, "stream:a")
    await turns()
    publishing = asyncio.gather(*(publish(hub, "stream:a", b"%d" % number) for number in (2, 3)))
    await turns()
    broker.gate.set()
    await publishing
    await turns()
    offset = wire.sent[1]["subscribe"].get("offset", 0)
    assert [each["push"]["pub"]["offset"] for each in wire.sent[2:]] == list(range(offset + 1, 4))
    client.closed()


async def test_others_see_who_comes_and_goes(hub: Hub) -> None:
    watcher, wire = joined(hub, "seen:a")
    await turns()
    client, other = joined(hub, "seen:a", "ada")
    await turns()
    assert set(await hub.broker.presence("seen:a")) == {watcher.id, client.id}
    assert wire.sent[-1]["push"]["join"]["info"] == {"client": client.id, "user": "ada"}
    say(client, {"id": 3, "presence": {"channel": "seen:a"}})
    await turns()
    assert set(other.sent[-1]["presence"]["presence"]) == {watcher.id, client.id}
    client.closed()
    await turns()
    assert "leave" in wire.sent[-1]["push"] and set(await hub.broker.presence("seen:a")) == {watcher.id}
    watcher.closed()


async def test_a_client_publishes_and_reads(hub: Hub) -> None:
    client, wire = joined(hub)
    say(
        client,
        {"id": 3, "publish": {"channel": "a", "data": 7}},
        {"id": 4, "history": {"channel": "a", "limit": 5}},
        {"id": 5, "unsubscribe": {"channel": "a"}},
    )
    await turns()
    assert [each.get("id", "push") for each in wire.sent] in ([1, 2, "push", 3, 4, 5], [1, 2, 3, "push", 4, 5])
    assert [each["data"] for each in wire.sent[-2]["history"]["publications"]] == [7] and not hub.topics
    client.closed()


async def test_an_unreachable_broker_is_a_temporary_error(hub: Hub, broker: Gated) -> None:
    broker.failure = BrokerError("unreachable")
    client, wire = joined(hub)
    await turns()
    assert wire.sent[-1]["error"] == {"code": 100, "message": "internal server error", "temporary": True}
    with nothing_left(hub):
        client.closed()


async def test_a_fault_of_a_broker_has_the_client_come_back(
    hub: Hub, broker: Gated, caplog: pytest.LogCaptureFixture
) -> None:
    broker.failure = ZeroDivisionError("a fault")
    with nothing_left(hub):
        _, wire = joined(hub)
        await turns()
    assert wire.closed_with == 3004 and "a fault" in caplog.text


@pytest.mark.parametrize("topic", ["a", "seen:a", "stream:a"])
@pytest.mark.parametrize("how", ["closed", "cancelled", "ended"])
async def test_whatever_it_waits_for_everything_is_given_back(hub: Hub, broker: Gated, topic: str, how: str) -> None:
    for waits in range(4):
        broker.gate.clear()
        client, _ = joined(hub, topic)
        for _ in range(waits):
            await asyncio.sleep(0)
            broker.gate.set()
            broker.gate.clear()
        if how == "closed":
            client.closed()
        elif how == "ended":
            client.end(SHUTDOWN)
        elif client.task is not None:
            client.task.cancel()
        broker.gate.set()
        await turns(20)
        client.closed()
        await turns()
        assert hub.clients == 0 and not hub.topics and not await broker.presence(topic), waits


async def test_a_task_that_is_cancelled_ends_the_connection(hub: Hub, broker: Gated) -> None:
    broker.gate.clear()
    with nothing_left(hub):
        client, wire = joined(hub)
        await turns()
        assert client.task is not None
        client.task.cancel()
        await turns()
    assert wire.closed_with == 3004


async def test_orders_and_time_reach_it(hub: Hub) -> None:
    client, wire = joined(hub, user="ada")
    await turns()
    await hub.broker.control(Control("ada", None, "a", 2000, "server unsubscribe"))
    assert wire.sent[-1] == {"push": {"channel": "a", "unsubscribe": {"code": 2000, "reason": "server unsubscribe"}}}
    client.tick(25.0, time.time())
    assert wire.sent[-1] == {}
    client.tick(33.0, time.time())
    assert wire.closed_with == 3012 and hub.clients == 0


async def test_orders_about_a_user_reach_pages_that_are_hers_by_a_token_alone(broker: Gated) -> None:
    tokens = Tokens(Keys("k" * 64))
    hub = Hub(broker, NAMESPACES, Permissions(NAMESPACES, tokens))
    await hub.start()
    pages = {}
    for user in ("ada", "bob", ""):
        wire = Wire()
        client = Client(hub, wire)
        pages[user] = client, wire
        wanted = {topic: tokens.sign_subscription(topic, user=user, expires_at=None) for topic in ("a", f"x:#{user}")}
        say(client, {"id": 1, "connect": {}})
        say(client, *({"id": 2, "subscribe": {"channel": topic, "token": wanted[topic]}} for topic in wanted))
    await turns(20)
    await hub.broker.control(Control("ada", None, "a", 2000, "server unsubscribe"))
    assert [client.topics for client, _ in pages.values()] == [["x:#ada"], ["a", "x:#bob"], ["a"]]
    await hub.broker.control(Control("ada", None, None, 3503, "force disconnect"))
    assert [wire.closed_with for _, wire in pages.values()] == [3503, None, None]
    await hub.close()


async def test_reading_is_paused_and_goes_on(hub: Hub, broker: Gated) -> None:
    broker.gate.clear()
    client, wire = joined(hub)
    say(client, *[{"id": number, "unsubscribe": {"channel": "b"}} for number in range(3, 100)])
    assert wire.is_paused
    broker.gate.set()
    await turns()
    assert not wire.is_paused and wire.sent[-1]["id"] == 99
    client.closed()


async def test_a_connection_that_breaks_while_it_is_answered_leaves_nothing(hub: Hub) -> None:
    class Breaking(Wire):
        def send(self, message: bytes) -> None:
            client.closed()

    with nothing_left(hub):
        client = Client(hub, Breaking())
        say(client, {"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": "a"}})
        await turns()
        assert client.task is None
