"""Clients of Centrifugo's protocol, newest and unmodified, use the hub through the gateway: npm's and PyPI's."""

from __future__ import annotations

import time
from uuid import uuid4

import pytest

from tests.system.handoff import WAYS
from tests.system.hub.conftest import MakeClient, MakeHub
from tests.system.hub.hub import Hub
from tests.system.hub.real_client import Refused
from tests.system.hub.relay import running_relay
from tests.system.hub.tokens import connection_token, subscription_token

pytestmark = pytest.mark.timeout(180)  # the first test installs npm's packages


def new(namespace: str) -> str:
    """Return the name of a topic that no other test has."""
    return f"{namespace}:{uuid4().hex}"


@pytest.mark.parametrize("way", WAYS)
def test_what_is_published_reaches_every_subscriber(make_hub: MakeHub, make_client: MakeClient, way: str) -> None:
    hub = make_hub(way=way)
    clients = [make_client(hub.url) for _ in range(2)]
    for client in clients:
        client.connect()
        client.subscribe("open:prices")
    hub.publish("open:prices", {"AAPL": 189.2})
    clients[0].do("publish", topic="open:prices", data="of a client, ünïcode")
    for client in clients:
        assert client.publications("open:prices", 2) == [{"AAPL": 189.2}, "of a client, ünïcode"]
        client.do("disconnect")
        client.wait_for("disconnected")


def test_presence_names_the_subscribers(hub: Hub, make_client: MakeClient) -> None:
    topic = new("open")
    ada, bob = (make_client(hub.url, token=connection_token(user)) for user in ("ada", "bob"))
    ids = {ada.connect(): "ada", bob.connect(): "bob"}
    for client in (ada, bob):
        client.subscribe(topic)
    assert {client: info["user"] for client, info in ada.do("presence", topic=topic).items()} == ids
    assert bob.do("presence_stats", topic=topic) == {"clients": 2, "users": 2}
    bob.do("unsubscribe", topic=topic)
    bob.wait_for("unsubscribed")
    assert ada.do("presence_stats", topic=topic) == {"clients": 1, "users": 1}


def test_subscribers_are_told_of_each_other(hub: Hub, make_client: MakeClient) -> None:
    topic = new("seen")
    ada, bob = (make_client(hub.url, token=connection_token(user)) for user in ("ada", "bob"))
    ada.connect()
    ada.subscribe(topic)
    bob_is = bob.connect()
    bob.subscribe(topic)
    ada.wait_for("join", topic=topic, client=bob_is, user="bob")
    bob.do("disconnect")
    ada.wait_for("leave", topic=topic, client=bob_is, user="bob")


def test_history_is_read_from_either_end(hub: Hub, make_client: MakeClient) -> None:
    topic = new("open")
    for number in range(1, 6):
        hub.publish(topic, number)
    client = make_client(hub.url)
    client.connect()
    client.subscribe(topic)
    found = client.do("history", topic=topic, limit=3)
    assert [(p["offset"], p["data"]) for p in found["publications"]] == [(1, 1), (2, 2), (3, 3)]
    assert found["offset"] == 5
    since = {"offset": 3, "epoch": found["epoch"]}
    later = client.do("history", topic=topic, limit=10, since=since)
    assert [p["offset"] for p in later["publications"]] == [4, 5]
    newest = client.do("history", topic=topic, limit=2, reverse=True)
    assert [p["offset"] for p in newest["publications"]] == [5, 4]
    assert client.do("history", topic=topic, limit=0)["publications"] == []


def test_a_late_subscriber_gets_the_latest_value_at_once(hub: Hub, make_client: MakeClient) -> None:
    topic = new("latest")
    for number in range(3):
        hub.publish(topic, number)
    client = make_client(hub.url)
    client.connect()
    client.subscribe(topic)
    assert client.publications(topic, 1) == [2]
    hub.publish(topic, 3)
    assert client.publications(topic, 1) == [3]


def test_a_dropped_socket_loses_nothing(hub: Hub, make_client: MakeClient) -> None:
    topic = new("open")
    with running_relay(hub.gateway.port) as relay:
        client = make_client(f"ws://127.0.0.1:{relay.port}/connection/websocket")
        client.connect()
        client.subscribe(topic)
        hub.publish(topic, 0)
        relay.close()
        client.wait_for("subscribing", topic=topic, code=1)
        for number in range(1, 51):
            hub.publish(topic, number)
        relay.open()
        back = client.wait_for("subscribed", topic=topic, was_recovering=True)
        assert back["recovered"]
        hub.publish(topic, 51)
        assert client.publications(topic, 52) == list(range(52))


def test_a_client_that_has_missed_too_much_is_told_so(hub: Hub, make_client: MakeClient) -> None:
    topic = new("short")  # of which five publications are kept
    with running_relay(hub.gateway.port) as relay:
        client = make_client(f"ws://127.0.0.1:{relay.port}/connection/websocket")
        client.connect()
        client.subscribe(topic)
        relay.close()
        client.wait_for("subscribing", topic=topic, code=1)
        for number in range(10):
            hub.publish(topic, number)
        relay.open()
        back = client.wait_for("subscribed", topic=topic, was_recovering=True)
        assert not back["recovered"]
        hub.publish(topic, "new")
        assert client.publications(topic, 1) == ["new"]


def test_a_client_continues_from_a_position_that_a_page_was_rendered_at(hub: Hub, make_client: MakeClient) -> None:
    topic = new("open")
    for number in range(4):
        position = hub.publish(topic, number)
    since = {"offset": 2, "epoch": position["epoch"]}
    client = make_client(hub.url)
    client.connect()
    client.subscribe(topic, since=since)
    assert client.publications(topic, 2) == [2, 3]


def test_a_service_that_stops_is_found_again(make_hub: MakeHub, make_client: MakeClient) -> None:
    """With the memory broker its history is gone: the client is told that it cannot recover."""
    hub = make_hub()
    client = make_client(hub.url)
    client.connect()
    epoch = client.subscribe("open:prices")["epoch"]
    hub.publish("open:prices", 0)
    hub.stop()
    client.wait_for("connecting", code=3001)
    hub.start()
    back = client.wait_for("subscribed", topic="open:prices", was_recovering=True)
    assert not back["recovered"]
    assert back["epoch"] != epoch
    hub.publish("open:prices", 1)
    assert client.publications("open:prices", 2) == [0, 1]


def test_a_killed_service_is_found_again(make_hub: MakeHub, make_client: MakeClient) -> None:
    hub = make_hub()
    client = make_client(hub.url)
    client.connect()
    client.subscribe("open:prices")
    hub.kill()
    client.wait_for("subscribing", topic="open:prices", code=1)
    hub.start()
    assert not client.wait_for("subscribed", topic="open:prices", was_recovering=True)["recovered"]
    hub.publish("open:prices", 1)
    assert client.publications("open:prices", 1) == [1]


def test_the_token_of_a_connection_is_refreshed_in_time(hub: Hub, make_client: MakeClient) -> None:
    tokens = [connection_token("ada", lasts=2), connection_token("ada", lasts=3600)]
    client = make_client(hub.url, tokens=tokens)
    client.connect()
    client.wait_for("connecting", code=0)
    topic = new("open")
    client.subscribe(topic)
    client.wait_for_all("token asked", 2, topic=None)
    hub.publish(topic, "still here")
    assert client.publications(topic, 1) == ["still here"]
    assert not client.kept("connecting")
    assert not client.kept("error")


def test_the_token_of_a_subscription_is_refreshed_in_time(hub: Hub, make_client: MakeClient) -> None:
    topic = uuid4().hex  # in no namespace, so that only a token allows it
    tokens = [subscription_token(topic, lasts=2), subscription_token(topic, lasts=3600)]
    client = make_client(hub.url)
    client.connect()
    client.subscribe(topic, tokens=tokens)
    client.wait_for("subscribing", topic=topic)
    client.wait_for_all("token asked", 2, topic=topic)
    hub.publish(topic, "still here")
    assert client.publications(topic, 1) == ["still here"]
    assert not client.kept("subscribing")
    assert not client.kept("subscription error")


def test_a_token_that_has_expired_is_replaced(hub: Hub, make_client: MakeClient) -> None:
    topic = uuid4().hex
    tokens = [subscription_token(topic, lasts=-10), subscription_token(topic, lasts=3600)]
    client = make_client(hub.url, tokens=[connection_token("ada", lasts=-10), connection_token("ada")])
    client.connect()
    client.subscribe(topic, tokens=tokens)
    assert len(client.kept("token asked", topic=None)) == 2
    assert len(client.kept("token asked", topic=topic)) == 2


def test_a_topic_is_for_those_who_have_a_token_for_it(hub: Hub, make_client: MakeClient) -> None:
    topic = uuid4().hex
    client = make_client(hub.url)
    client.connect()
    client.do("subscribe", topic=topic)
    client.wait_for("unsubscribed", topic=topic, code=103)
    other = make_client(hub.url)
    other.connect()
    other.do("subscribe", topic=topic, token=subscription_token(topic + "x"))
    other.wait_for("unsubscribed", topic=topic, code=103)
    other.subscribe("also " + topic, token=subscription_token("also " + topic))


def test_a_users_topic_is_for_that_user_alone(hub: Hub, make_client: MakeClient) -> None:
    ada, bob = (make_client(hub.url, token=connection_token(user)) for user in ("ada", "bob"))
    for client in (ada, bob):
        client.connect()
    ada.subscribe("read:inbox#ada")
    bob.do("subscribe", topic="read:inbox#ada")
    bob.wait_for("unsubscribed", topic="read:inbox#ada", code=103)
    hub.publish("read:inbox#ada", "your export is ready")
    assert ada.publications("read:inbox#ada", 1) == ["your export is ready"]


def test_what_the_subset_leaves_out_is_refused_by_its_code(hub: Hub, make_client: MakeClient) -> None:
    client = make_client(hub.url)
    client.connect()
    with pytest.raises(Refused) as refused:
        client.do("rpc", method="anything")
    assert refused.value.code == 104
    with pytest.raises(Refused) as refused:
        client.do("publish", topic="read:x", data=1)
    assert refused.value.code == 103
    client.subscribe("read:x")
    with pytest.raises(Refused) as refused:
        client.do("presence", topic="read:x")
    assert refused.value.code in (103, 108)


def test_a_wrong_token_ends_the_connection_for_good(hub: Hub, make_client: MakeClient) -> None:
    client = make_client(hub.url, token=connection_token("ada", key="the key of another hub, of which we know nothing"))
    client.do("connect")
    client.wait_for("disconnected", code=3500)


def test_clients_under_a_prefix_reach_the_hub(hub: Hub, make_client: MakeClient) -> None:
    client = make_client(f"ws://{hub.gateway.authority}/board/one/connection/websocket")
    client.connect()
    client.subscribe(new("open"))


def test_nothing_is_lost_or_doubled_over_many_cuts(hub: Hub, make_client: MakeClient) -> None:
    topic = new("long")  # a cut in a handshake makes the client wait while more is published than a short history keeps
    with running_relay(hub.gateway.port) as relay:
        client = make_client(f"ws://127.0.0.1:{relay.port}/connection/websocket")
        client.connect()
        client.subscribe(topic)
        for number in range(500):
            hub.publish(topic, number)
            if number % 50 == 25:
                relay.cut()
                time.sleep(0.05)  # so that cuts meet it open, joining, and away
        assert client.publications(topic, 500) == list(range(500))
        assert not client.kept("publication")
