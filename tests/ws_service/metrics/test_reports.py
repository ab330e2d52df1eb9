"""The operator's paths over real connections: which requests they take, and what they say of real sockets."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.ws_service.live import modules, serving
from ws_service.app import create_app
from ws_service.config.settings import Settings
from ws_service.hub.assembly import assemble
from ws_service.metrics.reports import STATUS, reports_of

KEY = "k" * 40

ECHO = """
    from fastapi import FastAPI, WebSocket

    app = FastAPI()

    @app.websocket("/echo")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)
"""


def ask(address: str, path: str, method: str = "GET", **fields: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def status(address: str, query: str = "") -> Any:
    code, body = ask(address, STATUS + query, x_api_key=KEY)
    assert code == 200, body
    return json.loads(body)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    hub: Any = {"api_key": KEY, "default": {"subscribe": "anyone"}}
    settings = Settings(app="echoes:app", hub=hub)
    with modules(tmp_path_factory.mktemp("app"), echoes=ECHO) as folder:
        assembled = assemble(settings, folder)
        reports = reports_of(settings, folder, assembled)
        app = create_app(settings, folder, "", assembled, reports)
        with serving(app, settings, hub=assembled, reports=reports) as address:
            yield address


@contextmanager
def subscribed(address: str, topic: str) -> Iterator[ClientConnection]:
    commands = {"id": 1, "connect": {}}, {"id": 2, "subscribe": {"channel": topic}}
    with connect(f"ws://{address}/connection/websocket") as client:
        client.send("\n".join(map(json.dumps, commands)))
        while '"id":2' not in str(client.recv()):
            pass
        yield client


def test_the_status_has_the_sockets_of_the_app_and_of_the_hub_and_the_topics(service: str) -> None:
    with connect(f"ws://{service}/echo?token=secret") as page, subscribed(service, "prices:AAPL"):
        page.send("a")
        page.recv()
        found = status(service)
        app, hub = found["sockets"]["rows"]
    assert (app["path"], app["endpoint"], app["way"], app["client"]) == ("/echo", "app", "listener", "127.0.0.1")
    assert (hub["path"], hub["endpoint"], hub["topics"]) == ("/connection/websocket", "hub", 1)
    assert 0 <= hub["age"] <= app["age"] < 60 and app["sent"] > 0
    assert found["sockets"]["total"] == found["workers"][0]["sockets"] == 2
    assert found["hub"] == {
        "broker": "memory",
        "is_connected": True,
        "clients": 1,
        "users": 1,
        "subscriptions": 1,
        "event_streams": 0,
    }
    (topic,) = found["topics"]["rows"]
    assert topic == {"topic": "prices:AAPL", "subscribers": 1, "publications": 0, "idle": None}
    assert "secret" not in json.dumps(found)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_bytes_received_and_the_last_activity_are_the_kernels(service: str) -> None:
    with connect(f"ws://{service}/echo", compression=None) as page:
        page.send("a")
        page.recv()
        (row,) = status(service)["sockets"]["rows"]
        page.send("x" * 5000)
        page.recv()
        (later,) = status(service)["sockets"]["rows"]
    assert later["received"] >= row["received"] + 5000
    assert 0 <= later["idle"] <= later["age"] + 0.05  # the kernel counts in ticks, of 10 ms at most


def test_a_query_chooses_rows_and_a_wrong_one_is_400(service: str) -> None:
    with subscribed(service, "a"), subscribed(service, "b"):
        found = status(service, "?sockets=1&topics=0&sort=newest")
        assert (found["sockets"]["total"], len(found["sockets"]["rows"])) == (2, 1)
        assert (found["topics"]["total"], found["topics"]["rows"]) == (2, [])
    code, body = ask(service, f"{STATUS}?sort=size", x_api_key=KEY)
    assert code == 400 and "oldest, newest, sent" in body.decode()


def test_the_status_needs_the_key_of_the_api(service: str) -> None:
    assert ask(service, STATUS)[0] == 401
    assert ask(service, STATUS, x_api_key="wrong")[0] == 401
    assert ask(service, STATUS, "POST", x_api_key=KEY)[0] == 405


def test_what_came_through_a_gateway_is_for_the_app(service: str) -> None:
    assert ask(service, STATUS, x_api_key=KEY, x_forwarded_for="203.0.113.9") == (404, b'{"detail":"Not Found"}')


@pytest.mark.parametrize("path", ["/metrics", STATUS])
def test_a_page_of_another_site_makes_no_work_here_and_a_link_is_followed(service: str, path: str) -> None:
    image = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    code, body = ask(service, path, x_api_key=KEY, **image)
    assert (code, b"other sites" in body) == (403, True)
    assert ask(service, path, x_api_key=KEY, **link)[0] == 200


def test_metrics_need_no_key_and_name_no_topic_and_no_client(service: str) -> None:
    with subscribed(service, "prices:AAPL"):
        code, body = ask(service, "/metrics")
    assert code == 200 and b'dashws_hub_clients{worker="0"} 1.0' in body
    assert b"AAPL" not in body and b"127.0.0.1" not in body
    assert ask(service, "/metrics", x_forwarded_for="203.0.113.9")[0] == 404


def test_without_a_hub_the_key_is_that_of_publish(tmp_path: Path) -> None:
    settings = Settings(hub={"enabled": False, "api_key": KEY})  # type: ignore[arg-type]
    reports = reports_of(settings, tmp_path, None)
    with serving(create_app(settings, tmp_path, "", None, reports), settings, reports=reports) as address:
        assert status(address)["hub"] is None
