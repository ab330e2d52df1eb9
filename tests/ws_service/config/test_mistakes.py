"""A wrong key or value is named with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ws_service.config.example import Reader, mistakes_in
from ws_service.errors import ConfigError, Mistake


def test_an_unknown_key_is_answered_with_the_nearest_known_one(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway:\n  name: a\n  lisen: 127.0.0.1:8000\n")
    assert mistake == Mistake("is not a setting; did you mean listen?", "gateway.lisen", 3, 3)


def test_an_unknown_key_near_to_nothing_is_answered_with_the_list(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway:\n  limits:\n    zzz: 1\n")
    assert mistake == Mistake("is not a setting; known here: wait, body", "gateway.limits.zzz", 3, 5)


def test_an_unknown_key_inside_a_list_is_placed(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway:\n  rules:\n    - path: /a\n    - path: /b\n      too: ws\n")
    assert mistake == Mistake("is not a setting; did you mean to?", "gateway.rules[1].too", 5, 7)


def test_an_unknown_section_is_a_mistake(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gatway:\n  listen: 127.0.0.1:8000\n")
    assert mistake == Mistake("is not a setting; did you mean gateway?", "gatway", 1, 1)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("workers: many", "expected a whole number, got the text 'many'"),
        ("workers: [1]", "expected a whole number, got a list"),
        ("name: 5", "expected text, got the number 5"),
        ("is_loud: loudly", "expected true or false, got the text 'loudly'"),
        ("rules: /live", "expected a list, got the text '/live'; write [/live]"),
        ("rules: {path: /live}", "expected a list, got settings (key: value)"),
        ("Workers: 2", "is not a setting; did you mean workers?"),
        ("IS-LOUD: true", "is not a setting; did you mean is_loud?"),
        ("limits: 5", "expected settings (key: value), got the number 5"),
        ("limits: {wait: 5}", "5 is not a duration; write a number with its unit: 30s, 500ms, 5m, 1h"),
        ("limits: {wait: 5 weeks}", "'5 weeks' is not a duration"),
        ("limits: {body: 5MB}", "'5MB' is not a size; write a number with its unit: 64KiB, 1MiB, 2GiB"),
        ("limits: {body: 5B}", "greater than or equal to 1024"),
        ("limits: {wait: 9999999999999s}", "is not a duration"),
        ("limits: {wait: 36526d}", "'36526d' is longer than a century"),
        ("listen: 8000", "8000 is not an address; write host:port"),
        ("listen: localhost", "'localhost' is not an address"),
        ("listen: '::1:8000'", "an IPv6 address needs brackets: [::1]:8000"),
        ("listen: '::8000'", "an IPv6 address needs brackets: [::]:8000, or '*:8000' for IPv4 as well"),
        ("listen: ':::8000'", "an IPv6 address needs brackets: [::]:8000"),
        ("listen: 'fe80::1%eth0:8000'", "an IPv6 address needs brackets: [fe80::1%eth0]:8000"),
        ("listen: '::1'", "'::1' has no port; write [::1]:8000"),
        ("listen: 'fe80::1'", "'fe80::1' has no port; write [fe80::1]:8000"),
        ("listen: '[::1]'", "'[::1]' has no port; write [::1]:8000"),
        (
            "listen: '[:]:8000'",
            "'[:]:8000' is not an address; write host:port, for example 127.0.0.1:8000 or [::1]:8000",
        ),
        ("listen: 'localhost:80:00'", "is not an address; write host:port, for example 127.0.0.1:8000 or [::1]:8000"),
        (
            "listen: ':8000'",
            "is not an address; write host:port, for example 127.0.0.1:8000; '*:8000' is every address",
        ),
        ("listen: 'unix:'", "the path after unix: is missing"),
        ("listen: 127.0.0.1:http", "port 'http' is not a number"),
        ("listen: 127.0.0.1:65536", "port 65536 is out of range (1 to 65535)"),
        (
            "listen: 127..0.1:80",
            "'127..0.1' is not the name of a host: a part between two dots is empty, or longer",
        ),
        ("rules: [{}]", "is missing"),
        ("rules: [{path: /a, to: flask}]", "input should be 'dash' or 'ws', got 'flask'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_line(read: Reader, line: str, sentence: str) -> None:
    (mistake,) = mistakes_in(read, f"gateway:\n  {line}\n")
    assert sentence in mistake.message
    assert mistake.line == 2
    assert mistake.key.startswith("gateway.")


def test_a_section_that_is_no_mapping_is_named(read: Reader) -> None:
    (mistake,) = mistakes_in(read, "gateway: 8000\n")
    assert mistake == Mistake("expected settings (key: value), got the number 8000", "gateway", 1, 1)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "gateway:\nlisten: 127.0.0.1:1\nname: a\n",
            [
                "2:1: listen: is a setting; did you mean it below gateway:, indented?",
                "3:1: name: is a setting; did you mean it below gateway:, indented?",
            ],
        ),
        ("listen: 127.0.0.1:1\n", ["1:1: listen: is a setting; did you mean it below gateway:, indented?"]),
        (
            "gateway:\n  ws_service:\n    app: a:b\n",
            [
                "2:3: gateway.ws_service: is a section of its own; "
                "begin ws_service at the left margin, and not below gateway"
            ],
        ),
        (
            "ws_service:\n  gateway: {}\n",
            [
                "2:3: ws_service.gateway: is a section of its own; "
                "begin gateway at the left margin, and not below ws_service"
            ],
        ),
        (
            "gateway:\n  limits:\n    dash_app: {}\n",
            [
                "3:5: gateway.limits.dash_app: is a section of its own; "
                "begin dash_app at the left margin, and not below gateway"
            ],
        ),
        (
            "gateway:\n\u00a0\u00a0listen: a\n",
            ["2:1: \u00a0\u00a0listen: there is a space of another kind here (U+00A0); indent with plain spaces"],
        ),
        (
            "gateway:\n  listen:127.0.0.1:80\n",
            [
                "1:1: gateway: expected settings (key: value), got the text 'listen:127.0.0.1:80'; "
                "a value follows a colon and a space: listen: 127.0.0.1:80"
            ],
        ),
        (
            "gateway:\n  name = a\n",
            [
                "1:1: gateway: expected settings (key: value), got the text 'name = a'; "
                "a value follows a colon and a space: name: a"
            ],
        ),
        ("gateway: {name: a} \n// a word: b\n", ["2:1: // a word: is no comment; a comment begins with #"]),
        (
            "gateway = a",
            [
                "1: holds the text 'gateway = a'; expected sections: gateway, ws_service, dash_app; "
                "a value follows a colon and a space: gateway: a"
            ],
        ),
    ],
)
def test_what_stands_in_the_wrong_place_is_told_where_it_belongs(
    tmp_path: Path, read: Reader, text: str, sentences: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).splitlines() == [f"{tmp_path}/config.yaml:{sentence}" for sentence in sentences]
