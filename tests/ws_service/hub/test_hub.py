from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import ws_service.hub.hub
from tests.ws_service.hub.stand_ins import Connection, ScriptedBroker, StandInClient, subscription, turns
from ws_service.hub.broker import Control, Joined, Left, Lost, Published
from ws_service.hub.client import Client
from ws_service.hub.codes import INSUFFICIENT_STATE, EndCode
from ws_service.hub.handshake import Handshake
from ws_service.hub.hub import Hub
from ws_service.hub.messages import join_push, leave_push, publication_push
from ws_service.hub.publication import ClientInfo, Publication
from ws_service.hub.topics import Namespaces, SlowPolicy, TopicOptions


@pytest.fixture
def broker() -> ScriptedBroker:
    return ScriptedBroker()


@pytest_asyncio.fixture
async def hub(broker: Any) -> AsyncIterator[Any]:
    hub = Hub(broker, Namespaces({"slow": TopicOptions(slow=SlowPolicy.DISCONNECT)}), None)  # type: ignore[arg-type]
    await hub.start()
    yield hub
    await hub.close()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_events_reach_the_subscriptions_of_their_topic_alone(hub: Hub, broker: ScriptedBroker) -> None:
    one, other = subscription("slow:a"), subscription("b")
    await hub.subscribe(one)
    await hub.subscribe(other)
    assert hub.topics == {"slow:a": 1, "b": 1}
    ada = ClientInfo("c1", "ada")
    for event in (
        Joined("slow:a", ada),
        Published("slow:a", Publication(b"1", 7)),
        Left("slow:a", ada),
        Lost("slow:a"),
        Published("none is subscribed", Publication(b"1")),
        Joined("none is subscribed", ada),
        Lost("none is subscribed"),
    ):
        broker.tell(event)
    assert one.connection.sent == [join_push("slow:a", ada), leave_push("slow:a", ada)]
    (published,) = one.connection.delivered
    assert (published.push, published.data, published.offset) == (
        publication_push("slow:a", Publication(b"1", 7)),
        b"1",
        7,
    )
    assert published.policy is SlowPolicy.DISCONNECT
    assert one.client.told == [("slow:a", INSUFFICIENT_STATE)]
    assert other.connection.sent == other.connection.delivered == other.client.told == []


async def test_a_subscription_that_has_a_publication_already_does_not_get_it_again(
    hub: Hub, broker: ScriptedBroker
) -> None:
    one = subscription("a")
    await hub.subscribe(one)
    for offset in (1, 2, 2, 1, 3):
        broker.tell(Published("a", Publication(b"%d" % offset, offset)))
    assert [message.offset for message in one.connection.delivered] == [1, 2, 3]


async def test_one_that_has_ended_is_told_nothing(hub: Hub, broker: ScriptedBroker) -> None:
    one = subscription("a")
    await hub.subscribe(one)
    one.end()
    for event in (Joined("a", ClientInfo("c1")), Published("a", Publication(b"1")), Lost("a")):
        broker.tell(event)
    assert one.connection.sent == one.connection.delivered == one.client.told == []


async def test_a_publication_is_encoded_once_for_all(hub: Hub, broker: ScriptedBroker) -> None:
    all_of_them = [subscription("a") for _ in range(3)]
    for one in all_of_them:
        await hub.subscribe(one)
    broker.tell(Published("a", Publication(b"1")))
    assert len({id(one.connection.delivered[0]) for one in all_of_them}) == 1


async def test_orders_reach_the_clients_that_they_mean(hub: Any, broker: ScriptedBroker) -> None:
    ada, ada_too, bob = StandInClient("c1", "ada"), StandInClient("c2", "ada"), StandInClient("c3", "bob")
    for client in (ada, ada_too, bob):
        hub.add(client)
    assert (hub.clients, hub.users) == (3, 2)
    broker.tell(Control("ada", None, None, 3503, "bye"))
    broker.tell(Control(None, "c3", "a", 2000, "no more"))
    broker.tell(Control("ada", "c2", "b", 2000, "not you"))
    for user, id in (("bob", "c1"), (None, "c9"), (None, None)):
        broker.tell(Control(user, id, None, 1, "for none of them"))
    assert ada.told == [EndCode(3503, "bye")]
    assert ada_too.told == [EndCode(3503, "bye"), ("b", EndCode(2000, "not you"))]
    assert bob.told == [("a", EndCode(2000, "no more"))]


async def test_an_order_for_many_clients_leaves_others_their_turn(hub: Any, broker: ScriptedBroker) -> None:
    class Slow(StandInClient):
        def end(self, end: EndCode) -> None:
            until = time.thread_time() + 0.001
            while time.thread_time() < until:
                pass
            super().end(end)

    clients = [Slow(f"c{number}", "ada") for number in range(30)]
    for client in clients:
        hub.add(client)
    broker.tell(Control("ada", None, None, 3503, "x"))
    assert 1 <= sum(bool(client.told) for client in clients) <= 8
    await turns(40)
    assert all(client.told == [EndCode(3503, "x")] for client in clients)
    for client in clients:
        hub.remove(client)


async def test_a_client_that_is_removed_is_forgotten(hub: Any) -> None:
    client = StandInClient("c1", "ada")
    hub.add(client)
    for _ in range(2):
        hub.remove(client)
        assert (hub.clients, hub.users) == (0, 0)


async def test_a_fault_of_one_client_does_not_save_the_others(
    hub: Any, broker: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = StandInClient("c1", "ada"), StandInClient("c2", "ada")
    broken.end = lambda _: 1 / 0  # type: ignore[assignment, method-assign]
    hub.add(broken)
    hub.add(whole)
    broker.tell(Control("ada", None, None, 3503, "bye"))
    assert whole.told == [EndCode(3503, "bye")]
    assert "could not be carried out" in caplog.text


async def test_timers_of_clients_are_looked_at_as_long_as_there_are_clients(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_service.hub.hub, "_TICK", 0.01)
    broken, whole = StandInClient("c1"), StandInClient("c2")
    broken.tick = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    looked = asyncio.Event()
    whole.tick = lambda now, wall: looked.set() if now > 0.025 else None  # type: ignore[method-assign]
    hub.add(broken)
    hub.add(whole)
    await asyncio.wait_for(looked.wait(), 5)
    assert hub.now() > 0.025


async def test_a_hub_that_stops_says_so(hub: Hub, broker: ScriptedBroker) -> None:
    assert not hub.is_closing
    hub.stop()
    assert hub.is_closing
    await hub.close()
    assert broker.asked == ["close"]


@pytest.mark.parametrize(
    ("name", "user"),
    [(b"ada", "ada"), (b"J\xfcrgen", "Jürgen"), (b"", ""), (b"a\tb", ""), (b"a" * 256, ""), (b"\x85", "")],
)
async def test_the_field_that_the_gateway_sets_names_the_user(broker: Any, name: bytes, user: str) -> None:
    hub = Hub(broker, Namespaces(), None, user_header="X-User")  # type: ignore[arg-type]
    client = hub.connect(Connection(), Handshake("192.0.2.1", fields=((b"x-user", name),)))
    assert isinstance(client, Client) and client.user == user
    without = hub.connect(Connection(), Handshake("192.0.2.1", fields=((b"x-users", b"ada"),)))
    assert isinstance(without, Client) and without.user == ""
    plain = Hub(broker, Namespaces(), None).connect(Connection(), Handshake("", fields=((b"x-user", b"ada"),)))  # type: ignore[arg-type]
    assert isinstance(plain, Client) and plain.user == ""
