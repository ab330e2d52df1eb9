"""The HTTP API of a real service: its key, and that the gateway never leads to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.hub.hub import API_KEY, Hub, running_hub
from tests.wire.messages import message, request

APP = """
from fastapi import FastAPI, Request, WebSocket

app = FastAPI()


@app.post("/{path:path}")
async def publish(path: str, request: Request):
    return {"the app's own": path, "size": len(await request.body())}


@app.websocket("/ws")
async def refuse(websocket: WebSocket):
    await websocket.close()
"""

ROUTES: dict[str, list[dict[str, str]]] = {
    "no route": [],
    "a route for everything": [{"path": "/", "to": "ws"}],
    "a route for the api": [{"path": "/api/", "to": "ws"}],
}


@pytest.fixture(scope="module", params=ROUTES)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "own_paths.py").write_text(APP)
    gateway = {"routes": ROUTES[request.param], "timeouts": {"hold": 0}}
    with running_hub(folder, service={"app": "own_paths:app"}, gateway=gateway) as hub:
        yield hub


BODY = json.dumps({"channel": "open:api", "data": "through the gateway"}).encode()
LENGTH = f"Content-Length: {len(BODY)}"
KEY = f"X-API-Key: {API_KEY}"

ODD: dict[str, bytes] = {
    "plain": request("POST /api/publish", KEY, LENGTH, body=BODY),
    "authorization": request("POST /api/publish", f"Authorization: apikey {API_KEY}", LENGTH, body=BODY),
    "forwarding fields taken off": request(
        "POST /api/publish",
        "Connection: X-Forwarded-For, X-Request-Id, X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Port",
        KEY,
        LENGTH,
        body=BODY,
    ),
    "and all others": request("POST /api/publish", "Connection: Forwarded, Via, X-Real-IP", KEY, LENGTH, body=BODY),
    "and the key": request("POST /api/publish", "Connection: close, X-API-Key", KEY, LENGTH, body=BODY),
    "empty": request(
        "POST /api/publish", "X-Forwarded-For:", "X-Request-ID:", "Forwarded:", "Via:", KEY, LENGTH, body=BODY
    ),
    "with underscores": request("POST /api/publish", "X_Forwarded_For: a", "X_Request_Id: b", KEY, LENGTH, body=BODY),
    "as loopback": request(
        "POST /api/publish", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", KEY, LENGTH, body=BODY
    ),
    "encoded": request("POST /%61pi/publish", KEY, LENGTH, body=BODY),
    "encoded slash": request("POST /api%2Fpublish", KEY, LENGTH, body=BODY),
    "two slashes": request("POST //api/publish", KEY, LENGTH, body=BODY),
    "dots": request("POST /x/../api/publish", KEY, LENGTH, body=BODY),
    "absolute": request("POST http://example.com/api/publish", KEY, LENGTH, body=BODY),
    "with a query": request("POST /api/publish?", KEY, LENGTH, body=BODY),
    "HTTP/1.0": message("POST /api/publish HTTP/1.0", "Host: example.com", KEY, LENGTH, body=BODY),
    "an offer to upgrade": request(
        "POST /api/publish", "Connection: Upgrade, X-Forwarded-For", "Upgrade: h2c", KEY, LENGTH, body=BODY
    ),
    "chunked": request(
        "POST /api/publish", "Transfer-Encoding: chunked", KEY, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    ),
    "a batch": request(
        "POST /api/batch",
        KEY,
        f"Content-Length: {len(BODY) + 28}",
        body=b'{"commands": [{"publish": ' + BODY + b"}]}",
    ),
    "an order": request("POST /api/disconnect", KEY, "Content-Length: 15", body=b'{"user": "ada"}'),
}


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD)
def test_no_request_through_the_gateway_reaches_the_api_not_even_with_the_key(hub: Hub, raw: bytes) -> None:
    before = hub.ask("history", {"channel": "open:api"})["result"]["offset"]
    answer = hub.gateway.ask(raw)
    assert b'"result"' not in answer.body and b'"replies"' not in answer.body, answer
    assert b"X-API-Key" not in answer.body, "it is not the API that refuses"
    assert hub.ask("history", {"channel": "open:api"})["result"]["offset"] == before


def test_a_path_of_the_app_is_not_hidden_from_requests_through_the_gateway(
    hub: Hub, request: pytest.FixtureRequest
) -> None:
    answer = hub.gateway.ask(ODD["plain"])
    if request.node.callspec.params["hub"] == "no route":
        assert answer.status in (502, 503), "it is Dash's, which is not there"
    else:
        assert answer.json() == {"the app's own": "api/publish", "size": len(BODY)}


OWN_KEY = "a-key-that-is-written-in-the-settings"


def _direct(hub: Hub, method: str, path: str, body: bytes = b"{}", **fields: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=20)
    try:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("direct")
    (folder / "own_paths.py").write_text(APP)
    with running_hub(folder, service={"app": "own_paths:app"}, api_key=OWN_KEY) as hub:
        yield hub


def test_on_its_own_listener_it_takes_the_key_alone(plain: Hub) -> None:
    for fields in ({"X_API_Key": OWN_KEY}, {"Authorization": f"apikey {OWN_KEY}"}):
        assert _direct(plain, "POST", "/api/info", **fields)[0] == 200
    for fields in ({}, {"X_API_Key": "guess"}, {"X_API_Key": OWN_KEY[:-1]}, {"Authorization": f"Bearer {OWN_KEY}"}):
        assert _direct(plain, "POST", "/api/info", **fields)[0] == 401
    assert _direct(plain, "POST", "/api/info", X_API_Key=API_KEY)[0] == 401, "it takes the place of the derived one"
    assert _direct(plain, "GET", "/api/info", X_API_Key=OWN_KEY)[0] == 405
    assert _direct(plain, "POST", "/api/other", X_API_Key=OWN_KEY) == (200, {"the app's own": "api/other", "size": 2})
    assert _direct(plain, "POST", "/api/info", b"{", X_API_Key=OWN_KEY)[0] == 400
    assert _direct(plain, "POST", "/api/publish", b"x" * (2 << 20), X_API_Key=OWN_KEY)[0] == 413
    assert _direct(plain, "POST", "/api/publish", b"x" * (2 << 20), X_API_Key="guess")[0] == 401
