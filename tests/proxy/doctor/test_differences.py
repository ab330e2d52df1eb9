"""What differs between two answers, and what may."""

from __future__ import annotations

import pytest

from proxy.doctor.differences import MAY_DIFFER, differences, is_same_body
from proxy.doctor.endpoint import Answer

ORIGINS = "http://127.0.0.1:8050", "http://127.0.0.1:8000"


def answer(*fields: tuple[str, str], status: int = 200, body: bytes = b"") -> Answer:
    return Answer(status, dict(fields), body, fields)


def found(direct: Answer, gateway: Answer) -> list[tuple[str, str, str]]:
    return [tuple(each) for each in differences(direct, gateway, ORIGINS)]


def test_status_fields_and_body_are_compared() -> None:
    direct = answer(("Content-Type", "text/css"), ("Vary", "a"), ("Vary", "b"), body=b"body {}")
    assert found(direct, direct) == []
    gateway = answer(("content-type", "text/html"), ("Vary", "a"), ("X-Cache", "hit"), status=502, body=b"body []")
    assert found(direct, gateway) == [
        ("status", "200", "502"),
        ("content-type", "text/css", "text/html"),
        ("vary", "a, b", "a"),
        ("x-cache", "", "hit"),
        ("body", "7 bytes, from byte 5: {}", "7 bytes, from byte 5: []"),
    ]
    assert found(answer(body=b"ab"), answer(body=b"abc"))[0][1:] == ("2 bytes", "3 bytes, from byte 2: c")


@pytest.mark.parametrize("name", MAY_DIFFER)
def test_fields_of_one_connection_or_request_may_differ(name: str) -> None:
    assert found(answer((name.title(), "a")), answer()) == []


def test_what_each_visitor_or_address_has_of_its_own_is_no_difference() -> None:
    assert found(answer(("Set-Cookie", "session=a; Path=/")), answer(("Set-Cookie", "session=b; Path=/"))) == []
    assert found(answer(("Set-Cookie", "session=a; Path=/")), answer(("Set-Cookie", "session=b; Path=/x"))) != []
    one, other = (answer(("Location", f"{origin}/app/"), body=f"<{origin}/>".encode()) for origin in ORIGINS)
    assert found(one, other) == []
    one, other = (answer(body=b'{"end_id":"%b"}' % mark) for mark in (b"a~1", b"b~2"))
    assert found(one, other) == [] and is_same_body(one, other)


def test_a_body_that_varies_by_itself_is_left_out_with_its_length() -> None:
    one, other = answer(("Content-Length", "1"), body=b"1"), answer(("Content-Length", "2"), body=b"22")
    assert not is_same_body(one, other)
    assert differences(one, other, ORIGINS, has_body=False) == []
