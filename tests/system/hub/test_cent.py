"""PyPI's ``cent``, newest and unmodified, uses the hub's HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import cent
import pytest

from tests.system.hub.conftest import MakeClient
from tests.system.hub.hub import API_KEY, Hub
from tests.system.hub.tokens import connection_token

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def api(hub: Hub) -> Iterator[cent.Client]:
    with cent.Client(hub.api, API_KEY) as client:
        yield client


def new(namespace: str) -> str:
    return f"{namespace}:{uuid4().hex}"


def test_a_publication_has_a_position(api: cent.Client) -> None:
    topic = new("open")
    first = api.publish(cent.PublishRequest(channel=topic, data={"n": 1}, tags={"of": "test"}))
    second = api.publish(cent.PublishRequest(channel=topic, data={"n": 2}))
    assert (first.offset, second.offset) == (1, 2)
    found = api.history(cent.HistoryRequest(channel=topic, limit=10))
    assert [(p.offset, p.data, p.tags) for p in found.publications] == [
        (1, {"n": 1}, {"of": "test"}),
        (2, {"n": 2}, None),
    ]
    assert (found.offset, found.epoch) == (2, second.epoch)


def test_a_publication_with_the_key_of_another_is_the_same(api: cent.Client) -> None:
    topic, key = new("open"), uuid4().hex
    asked = [cent.PublishRequest(channel=topic, data=n, idempotency_key=key) for n in (1, 2)]
    assert [api.publish(request).offset for request in asked] == [1, 1]
    assert [p.data for p in api.history(cent.HistoryRequest(channel=topic, limit=10)).publications] == [1]


def test_one_broadcast_reaches_several_topics(api: cent.Client, hub: Hub, make_client: MakeClient) -> None:
    topics = [new("open"), new("read")]
    client = make_client(hub.url)
    client.connect()
    for topic in topics:
        client.subscribe(topic)
    done = api.broadcast(cent.BroadcastRequest(channels=topics, data="to all"))
    assert [response.error for response in done.responses] == [None, None]
    for topic in topics:
        assert client.wait_for("publication", topic=topic)["data"] == "to all"


def test_a_batch_is_answered_one_by_one(api: cent.Client) -> None:
    topic = new("open")
    requests = [
        cent.PublishRequest(channel=topic, data=1),
        cent.PublishRequest(channel=topic, data=2),
        cent.HistoryRequest(channel=topic, limit=10),
        cent.PresenceStatsRequest(channel=topic),
    ]
    one, two, history, presence = api.batch(cent.BatchRequest(requests=requests)).replies
    assert (one.offset, two.offset) == (1, 2)
    assert [p.data for p in history.publications] == [1, 2]
    assert presence.num_clients == 0


def test_it_can_be_asked_what_there_is(api: cent.Client, hub: Hub, make_client: MakeClient) -> None:
    topic = new("open")
    client = make_client(hub.url, token=connection_token("ada"))
    name = client.connect()
    client.subscribe(topic)
    present = api.presence(cent.PresenceRequest(channel=topic)).presence
    assert {key: info.user for key, info in present.items()} == {name: "ada"}
    stats = api.presence_stats(cent.PresenceStatsRequest(channel=topic))
    assert (stats.num_clients, stats.num_users) == (1, 1)
    assert topic in api.channels(cent.ChannelsRequest()).channels
    (node,) = api.info(cent.InfoRequest()).nodes
    assert node.num_clients >= 1


def test_a_subscription_is_taken_back(api: cent.Client, hub: Hub, make_client: MakeClient) -> None:
    topic = new("open")
    client = make_client(hub.url, token=connection_token("bob"))
    client.connect()
    client.subscribe(topic)
    api.unsubscribe(cent.UnsubscribeRequest(user="bob", channel=topic))
    client.wait_for("unsubscribed", topic=topic, code=2000)
    hub.publish(topic, "not for bob")
    client.subscribe("open:" + uuid4().hex)  # the connection is whole, and nothing came before this
    assert not client.kept("publication")


def test_a_connection_is_ended(api: cent.Client, hub: Hub, make_client: MakeClient) -> None:
    client, other = (make_client(hub.url, token=connection_token(user)) for user in ("eve", "ada"))
    client.connect()
    other.connect()
    api.disconnect(cent.DisconnectRequest(user="eve"))
    client.wait_for("disconnected", code=3503)
    other.subscribe(new("open"))


def test_a_wrong_key_is_refused(hub: Hub) -> None:
    with cent.Client(hub.api, "not the key of this hub") as api:
        with pytest.raises(cent.CentUnauthorizedError):
            api.publish(cent.PublishRequest(channel="open:x", data=1))


def test_a_mistake_has_its_code(api: cent.Client) -> None:
    with pytest.raises(cent.CentApiResponseError) as error:
        api.publish(cent.PublishRequest(channel="", data=1))
    assert error.value.code == 107
