"""What is answered where an app has nothing: bounded, escaped, and never mistaken for something else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from ws_service.hosting.not_found import LOGGED, NotFound
from ws_service.logs.limited_log import LimitedLog


async def endpoint(websocket: object) -> None: ...


async def ask(path: str, *paths: str, **scope: Any) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    app = Starlette(routes=[WebSocketRoute(one, endpoint) for one in paths])
    not_found = NotFound("app:app", app, None, LimitedLog(logging.getLogger("ws_service.nowhere")))
    scope = {"type": "websocket", "path": path, "extensions": {"websocket.http.response": {}}, **scope}
    await not_found(scope, None, send)  # type: ignore[arg-type]
    return sent


async def test_only_so_many_paths_are_listed_and_only_so_much_of_each(caplog: pytest.LogCaptureFixture) -> None:
    start, body = await ask("/nowhere", *(f"/{number:03}{'x' * 500}" for number in range(25)))
    assert start["status"] == 404
    lines = body["body"].decode().splitlines()
    assert len(lines) == 2 + 20 + 1 + 1
    assert lines[-2].strip() == "and 5 more"
    assert max(map(len, lines)) < 250
    assert len(caplog.text) < 6000


async def test_what_a_client_wrote_is_text_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    _, body = await ask("/a\r\nb\x1b[31m\u202e" + "y" * 70_000)
    first = body["body"].decode().splitlines()[0]
    assert first.startswith(r"There is no endpoint for a WebSocket at /a\r\nb\x1b[31m\u202ey")
    assert len(first) < 300
    assert "app:app has:\n  no paths that it tells\n" in body["body"].decode()
    assert not set(caplog.text) & set("\r\x1b\u202e")


async def test_who_counts_lines_is_told_that_there_is_one() -> None:
    said: list[bool] = []
    await ask("/nowhere", **{LOGGED: said})
    assert said == [True]


async def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    assert await ask("/nowhere", extensions={}) == [{"type": "websocket.close", "code": 1008}]


async def test_a_page_is_answered_for_programs() -> None:
    start, body = await ask("/page", type="http")
    assert start["status"] == 404
    assert dict(start["headers"])[b"content-type"] == b"application/json"
    assert b"app:app has no route for /page" in body["body"]
