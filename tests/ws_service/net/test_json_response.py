"""The service's own JSON responses."""

from __future__ import annotations

import json

from ws_service.net.json_response import error_content, json_response, raw_error


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
