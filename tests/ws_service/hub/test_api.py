"""The HTTP API as an ASGI app: keys, bodies, and which requests it takes at all."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.ws_service.hub.api_hub import ApiHub
from ws_service.hub import api
from ws_service.hub.api import METHODS, Api, is_for_api
from ws_service.hub.api_keys import ApiKeys
from ws_service.hub.api_methods import Methods

KEY, OLD = "k" * 64, "o" * 64
PUBLISH = b'{"channel":"a","data":1}'


def scope(path: str = "/api/publish", method: str = "POST", **fields: str) -> dict[str, Any]:
    headers = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in fields.items()]
    return {"type": "http", "method": method, "path": path, "headers": headers}


async def asked(request: dict[str, Any], *parts: bytes, most: int = 1 << 16) -> tuple[int, Any]:
    """Return the status, and the body as JSON."""
    app = Api(Methods(await ApiHub().start(), "", "", 10), ApiKeys([KEY, OLD]), most)
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b""})
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(request, receive, send)
    start, body = sent
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])
    asked.unread = len(messages)  # type: ignore[attr-defined]
    return start["status"], json.loads(body["body"])


@pytest.mark.parametrize(
    "fields",
    [
        {"x_api_key": KEY},
        {"x_api_key": OLD},
        {"authorization": f"apikey {KEY}"},
        {"authorization": f"ApiKey {KEY}"},
        {"authorization": "Bearer something", "x_api_key": KEY},
    ],
)
async def test_either_key_is_good_in_either_field(fields: dict[str, str]) -> None:
    status, answer = await asked(scope(**fields), PUBLISH[:7], PUBLISH[7:])
    assert status == 200 and answer["result"]["offset"] == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"x_api_key": ""},
        {"x_api_key": KEY[:-1]},
        {"x_api_key": f"{KEY} "},
        {"x_api_key": KEY.upper()},
        {"x_api_key": "größe"},
        {"authorization": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": "apikey"},
        {"authorization": f"apikey {KEY}", "x_api_key": KEY},
    ],
)
async def test_every_other_key_is_refused_before_anything_of_the_body_is_read(fields: dict[str, str]) -> None:
    status, answer = await asked(scope(**fields), PUBLISH)
    assert status == 401 and "X-API-Key" in answer["message"]
    assert asked.unread == 2  # type: ignore[attr-defined]


async def test_two_keys_are_none() -> None:
    request = scope(x_api_key=KEY)
    request["headers"] *= 2
    assert (await asked(request, PUBLISH))[0] == 401


async def test_a_wrong_key_is_one_line_in_the_log_which_does_not_have_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "limited", type(api.limited)(logging.getLogger("test")))
    for _ in range(3):
        await asked(scope(x_api_key="guess\nINFO forged"), PUBLISH)
    assert len(caplog.records) == 1 and "guess" not in caplog.text


async def test_the_api_takes_post() -> None:
    for method in ("GET", "PUT", "OPTIONS", "DELETE", "HEAD"):
        assert (await asked(scope(method=method, x_api_key=KEY)))[0] == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"NaN", 400),
        (b'{"channel":"a","data":NaN}', 400),
        (b"[" * 40_000, 400),
        (b'{"channel":"a","data":' + b"9" * 5_000 + b"}", 400),
        (b"7", 200),
        (b"[]", 200),
        (b"", 200),
    ],
)
async def test_a_body_that_makes_no_sense_is_an_error_and_never_more(body: bytes, status: int) -> None:
    found, answer = await asked(scope(x_api_key=KEY), body)
    assert found == status and "error" in answer


async def test_a_number_that_json_does_not_have_is_refused() -> None:
    _, answer = await asked(scope(x_api_key=KEY), b'{"channel":"a","data":1e999}')
    assert answer["error"]["code"] == 107


async def test_a_body_is_bounded() -> None:
    body = b'{"channel":"a","data":"' + b"x" * 1000 + b'"}'
    assert (await asked(scope(x_api_key=KEY), body, most=2000))[0] == 200
    assert (await asked(scope(x_api_key=KEY), body[:500], body[500:], most=1000))[0] == 413
    assert (await asked(scope(x_api_key=KEY), *[b"x" * 100] * 100, most=1000))[0] == 413
    assert asked.unread > 80, "nothing is read beyond the bound"  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_every_method_is_answered(method: str) -> None:
    status, answer = await asked(scope(f"/api/{method}", x_api_key=KEY), b"{}")
    assert status == 200 and set(answer) <= {"result", "error"}
    assert answer.get("error", {}).get("code") != 104, "it is known"


def test_the_api_takes_its_own_paths_alone() -> None:
    assert all(is_for_api(scope(f"/api/{method}")) for method in METHODS)
    for path in (
        "/api",
        "/api/",
        "/api/rpc",
        "/api/publish/",
        "/app/api/publish",
        "//api/publish",
        "/API/publish",
        "/",
    ):
        assert not is_for_api(scope(path))
    assert not is_for_api({**scope(), "type": "websocket"})
    assert not is_for_api({"type": "lifespan"})


def test_a_request_that_came_through_a_gateway_is_not_for_the_api() -> None:
    assert not is_for_api(scope(x_api_key=KEY, x_forwarded_for=""))
