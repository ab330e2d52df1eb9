"""Metrics and status of a service with two workers: the same whichever is asked, also when one is killed or hangs."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.prometheus import promtool
from tests.redis_server import redis_server
from tests.system.handoff import open_socket, say
from tests.system.hub.hub import API_KEY, Hub, running_hub
from tests.wire.connection import Wire

TOPIC = "open:prices"
SOCKETS, PUBLICATIONS = 4, 10

ROUTES = [{"path": path, "to": "ws"} for path in ("/metrics", "/api/")]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with (
        redis_server("valkey", tmp_path_factory.mktemp("valkey")) as server,
        running_hub(
            tmp_path_factory.mktemp("hub"), broker=server.url, service={"workers": 2}, gateway={"routes": ROUTES}
        ) as hub,
    ):
        hub.gateway.process.wait_for_count("takes WebSockets over", 2)
        yield hub


def get(hub: Hub, path: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{hub.port}{path}", headers={"X-API-Key": API_KEY})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def status(hub: Hub) -> Any:
    return json.loads(get(hub, "/api/status"))


def workers(hub: Hub) -> dict[int, int]:
    """Return the pids of the workers by their numbers."""
    return {each["worker"]: each["pid"] for each in status(hub)["workers"]}


def values(text: str, name: str, **labels: str) -> dict[str, float]:
    """Return the values of a metric with some labels, by worker."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                found[sample.labels["worker"]] += sample.value  # type: ignore[assignment]
    return dict(found)


def subscribed(hub: Hub) -> Wire:
    client = open_socket(hub.gateway, "/connection/websocket")
    say(client, json.dumps({"id": 1, "connect": {}}) + "\n" + json.dumps({"id": 2, "subscribe": {"channel": TOPIC}}))
    while b'"id":2' not in client.read_frame().payload:
        pass
    return client


def test_every_worker_tells_of_all_of_them_and_of_one_that_is_killed_or_hangs(hub: Hub) -> None:
    clients = [subscribed(hub) for _ in range(SOCKETS)]
    for number in range(PUBLICATIONS):
        hub.publish(TOPIC, number)
    for client in clients:
        for _ in range(PUBLICATIONS):
            assert b'"pub"' in client.read_frame().payload

    for _ in range(8):  # whichever of the two is asked
        text = get(hub, "/metrics")
        assert values(text, "dashws_service_worker_up") == {"0": 1, "1": 1}
        assert values(text, "dashws_hub_clients") == {"0": 2, "1": 2}
        assert values(text, "dashws_hub_messages_delivered_total", namespace="open") == {"0": 20, "1": 20}
        assert sum(values(text, "dashws_hub_messages_published_total").values()) == PUBLICATIONS
        assert sum(values(text, "dashws_hub_api_requests_total", command="publish", code="0").values()) == PUBLICATIONS
        assert values(text, "dashws_service_websocket_open", endpoint="hub", way="handoff") == {"0": 2, "1": 2}
        assert values(text, "dashws_hub_broker_up") == {"0": 1, "1": 1}
        assert all(lag > 0 for lag in values(text, "dashws_hub_broker_lag_seconds").values())
    found = status(hub)
    assert found["missing"] == [] and found["hub"]["is_connected"] and found["hub"]["clients"] == SOCKETS
    assert found["topics"]["rows"][0] | {"idle": 0} == {
        "topic": TOPIC,
        "subscribers": SOCKETS,
        "publications": PUBLICATIONS,
        "idle": 0,
    }
    rows = found["sockets"]["rows"]
    assert Counter(row["worker"] for row in rows) == {0: 2, 1: 2}
    assert all(row["id"] and row["path"] == "/connection/websocket" and row["sent"] > 1000 for row in rows)

    before = workers(hub)
    os.kill(before[0], signal.SIGKILL)
    hub.gateway.process.wait_for_count("takes WebSockets over", 3)
    after = workers(hub)
    assert after.keys() == before.keys() and after[0] != before[0] and after[1] == before[1]
    text = get(hub, "/metrics")
    assert values(text, "dashws_hub_messages_delivered_total", namespace="open") == {"0": 0, "1": 20}
    assert values(text, "dashws_hub_clients") == {"0": 0, "1": 2}

    os.kill(after[1], signal.SIGSTOP)
    try:
        text = get(hub, "/metrics")
        assert values(text, "dashws_service_worker_up") == {"0": 1, "1": 0}
        assert values(text, "dashws_hub_clients") == {"0": 0}
        assert status(hub)["missing"] == [1]
    finally:
        os.kill(after[1], signal.SIGCONT)
    assert values(get(hub, "/metrics"), "dashws_service_worker_up") == {"0": 1, "1": 1}


def test_promtool_finds_nothing_in_the_metrics(hub: Hub) -> None:
    hub.ask("batch", {"commands": [{"info": {}}, {"unknown": {}}]})
    assert promtool("check", "metrics", text=get(hub, "/metrics")) == ""


def test_through_the_gateway_neither_can_be_had_even_where_a_route_sends_their_paths_to_the_service(hub: Hub) -> None:
    for path in ("/metrics", "/api/status"):
        answer = hub.gateway.ask(f"GET {path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {API_KEY}\r\n\r\n".encode())
        assert answer.head.startswith(b"HTTP/1.1 404 ") and b"no app is named" in answer.body
