"""Several services are one hub on a Valkey; what clients get when a service or Valkey is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.redis_server import RedisServer, redis_server
from tests.system.hub.conftest import MakeClient, MakeHub
from tests.system.hub.hub import Hub, running_hub
from tests.system.hub.real_client import RealClient, running_client
from tests.system.hub.tokens import connection_token

pytestmark = pytest.mark.timeout(180)  # the first test installs npm's packages


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, Hub]]:
    """Two services on one Valkey, each with its gateway."""
    with (
        redis_server("valkey", tmp_path_factory.mktemp("valkey")) as server,
        running_hub(tmp_path_factory.mktemp("one"), broker=server.url) as one,
        running_hub(tmp_path_factory.mktemp("other"), broker=server.url) as other,
    ):
        yield one, other


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server("valkey", tmp_path) as server:
        yield server


@pytest.fixture
def make_python_client() -> Iterator[MakeClient]:
    """Runs clients of PyPI's package, where the test is about the broker and not the client."""
    with ExitStack() as stack:
        yield lambda url, **options: stack.enter_context(running_client("python", url, **options))


def received(client: RealClient, topic: str, count: int) -> list[Any]:
    return [event["data"] for event in client.wait_for_all("publication", count, topic=topic)]


def publish_when_it_can(hub: Hub, topic: str, data: object) -> None:
    """Publish, as often as that fails because Valkey is unreachable."""
    deadline = time.monotonic() + 20
    while "error" in (answer := hub.ask("publish", {"channel": topic, "data": data})):
        assert answer["error"]["code"] == 100
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_services_are_one_hub(pair: tuple[Hub, Hub], make_python_client: MakeClient) -> None:
    topic = f"open:{uuid4().hex}"
    clients = [make_python_client(hub.url, token=connection_token("ada")) for hub in pair]
    for client in clients:
        client.connect()
        client.subscribe(topic)

    def publish(number: int) -> None:
        pair[number % 2].publish(topic, number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(60)))
    orders = [received(client, topic, 60) for client in clients]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == list(range(60))
    assert pair[0].ask("presence_stats", {"channel": topic})["result"]["num_clients"] == 2
    pair[0].ask("disconnect", {"user": "ada"})
    for client in clients:
        client.wait_for("disconnected", code=3503)


def test_a_killed_service_loses_nothing_that_is_published_by_another(
    pair: tuple[Hub, Hub], make_client: MakeClient
) -> None:
    hubs = pair
    topic = f"open:{uuid4().hex}"
    client = make_client(hubs[0].url)
    client.connect()
    client.subscribe(topic)
    hubs[0].publish(topic, 0)
    hubs[0].kill()
    client.wait_for("subscribing", topic=topic)
    for number in range(1, 30):
        hubs[1].publish(topic, number)
    hubs[0].start()
    assert client.wait_for("subscribed", topic=topic)["recovered"]
    hubs[1].publish(topic, 30)
    assert received(client, topic, 31) == list(range(31))


def test_a_killed_valkey_is_told_to_publishers_at_once_and_to_subscribers_when_it_is_back(
    server: RedisServer, make_hub: MakeHub, make_python_client: MakeClient
) -> None:
    hub = make_hub(broker=server.url)
    topic = f"open:{uuid4().hex}"
    client = make_python_client(hub.url)
    client.connect()
    client.subscribe(topic)
    hub.publish(topic, 0)
    assert received(client, topic, 1) == [0]
    server.kill()
    refused = hub.ask("publish", {"channel": topic, "data": 1})
    assert refused["error"]["code"] == 100
    assert not client.kept("disconnected") and len(client.kept("connecting")) == 1
    server.start()
    client.wait_for("subscribing", topic=topic, code=2500)
    assert not client.wait_for("subscribed", topic=topic)["recovered"]
    publish_when_it_can(hub, topic, 2)
    assert received(client, topic, 1) == [2]
    hub.service.wait_for("no connection to redis://")


def test_the_workers_of_a_service_are_one_hub(
    server: RedisServer, make_hub: MakeHub, make_python_client: MakeClient
) -> None:
    hub = make_hub(broker=server.url, service={"workers": 2})
    topic = f"open:{uuid4().hex}"
    clients = [make_python_client(hub.url) for _ in range(4)]
    for client in clients:
        client.connect()
        client.subscribe(topic)
    for number in range(10):
        hub.publish(topic, number)
    for client in clients:
        assert received(client, topic, 10) == list(range(10))
    assert hub.ask("channels", {})["result"]["channels"].keys() == {topic}
