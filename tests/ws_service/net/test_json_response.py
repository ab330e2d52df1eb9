"""The service's own JSON responses."""

from __future__ import annotations

import json
from typing import Any

from ws_service.net.json_response import answer_error, error_content, json_response, raw_error


def test_a_response_tells_its_length_and_is_not_stored() -> None:
    fields, body = json_response({"status": "ok"})
    assert json.loads(body) == {"status": "ok"}
    assert dict(fields) == {
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
        b"cache-control": b"no-store",
    }


def test_an_error_has_its_phrase_for_programs_and_a_message_for_people() -> None:
    assert error_content(503, "Come back.") == {"error": "service unavailable", "message": "Come back."}


def test_a_raw_error_is_a_whole_response_that_ends_its_connection() -> None:
    head, _, body = raw_error(431, "Too large.").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\n")
    assert head.endswith(b"Content-Length: %d\r\nCache-Control: no-store\r\nConnection: close" % len(body))
    assert json.loads(body) == {"error": "request header fields too large", "message": "Too large."}


async def test_an_app_answers_with_an_error_and_may_add_fields() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await answer_error(send, 405, "Use POST.", (b"allow", b"POST"))
    start, body = sent
    assert (start["type"], start["status"], body["type"]) == ("http.response.start", 405, "http.response.body")
    assert dict(start["headers"])[b"allow"] == b"POST"
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])
    assert json.loads(body["body"]) == {"error": "method not allowed", "message": "Use POST."}
