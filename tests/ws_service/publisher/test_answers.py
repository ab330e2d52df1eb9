"""What the API answers, as a position or an error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ws_service.errors import PublishError
from ws_service.hub.publication import Position
from ws_service.publisher.answers import position
from ws_service.publisher.hub_address import HubAddress, Place

ADDRESS = HubAddress(Place("127.0.0.1", 8765), "http://127.0.0.1:8765", "", "key", "run/hub.key", "Do this.")


def answer(status: int, body: Any) -> Position | None:
    return position(ADDRESS, status, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_result_is_a_position() -> None:
    assert answer(200, {"result": {"offset": 7, "epoch": "abc"}}) == Position("abc", 7)


def test_a_topic_without_history_has_none() -> None:
    assert answer(200, {"result": {}}) is None


def test_an_error_of_the_hub_has_its_code() -> None:
    with pytest.raises(PublishError, match=r"the hub refuses: unknown channel \(102\)") as caught:
        answer(200, {"error": {"code": 102, "message": "unknown channel"}})
    assert caught.value.code == 102


def test_a_broker_that_is_not_reached_is_told() -> None:
    with pytest.raises(PublishError, match=r"internal server error \(100\); it may not reach its broker, see the"):
        answer(200, {"error": {"code": 100, "message": "internal server error"}})


def test_a_service_without_a_hub_is_told() -> None:
    with pytest.raises(PublishError, match="workers above 1 and no broker, has no hub"):
        answer(404, {"error": "not found"})


def test_a_refused_key_is_told_with_its_source_and_what_to_do() -> None:
    with pytest.raises(PublishError, match=r"does not accept the key from run/hub.key.* Do this\."):
        answer(401, b"unauthorized")


def test_what_is_too_large_for_the_hub_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="max_publication"):
        answer(413, b"")


def test_what_the_hub_says_is_one_line_of_the_log() -> None:
    with pytest.raises(PublishError, match=r"the hub refuses: no\\nway \(1\)"):
        answer(200, {"error": {"code": 1, "message": "no\nway"}})


@pytest.mark.parametrize("status", [200, 404, 405, 500])
@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>", b"", b"[]", b"{}", b'{"result": 1}', b"\xff", b"[" * 60_000),
        *(b'{"result": {"epoch": "e", "offset": %b}}' % offset for offset in (b'"x"', b"1e999", b"null", b"[]")),
        *(b'{"result": {"epoch": 1, "offset": 1}}', b'{"result": {"epoch": "e"}}'),
    ],
)
def test_what_is_no_hub_is_told(status: int, body: bytes) -> None:
    with pytest.raises(PublishError, match="is no hub: name the service's own listener"):
        answer(status, body)
