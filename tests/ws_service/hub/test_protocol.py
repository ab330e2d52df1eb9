"""How commands of clients are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws_service.hub import protocol
from ws_service.hub.codes import BAD_COMMAND, BAD_REQUEST, METHOD_NOT_FOUND, TOO_MANY_COMMANDS, EndCode
from ws_service.hub.protocol import (
    Connect,
    Pong,
    Presence,
    Publish,
    ReadHistory,
    Refresh,
    RefreshSubscription,
    Refused,
    Subscribe,
    UnreadableMessage,
    Unsubscribe,
    read_json,
    read_message,
    write_json,
)
from ws_service.hub.publication import Position


def read(*commands: Any) -> list[Any]:
    return read_message("\n".join(json.dumps(each) for each in commands).encode())


def refused(message: bytes) -> EndCode:
    with pytest.raises(UnreadableMessage) as caught:
        read_message(message)
    return caught.value.end


def test_each_command_is_read() -> None:
    assert read(
        {"id": 1, "connect": {"token": "t", "subs": {"a": {"recover": True, "epoch": "e", "offset": 2}, "b": {}}}},
        {"id": 2, "subscribe": {"channel": "a", "token": "t", "recover": True, "epoch": "e", "offset": 3, "flag": 3}},
        {"id": 3, "unsubscribe": {"channel": "a"}},
        {"id": 4, "publish": {"channel": "a", "data": {"x": [1, None]}}},
        {"id": 5, "presence": {"channel": "a"}},
        {"id": 6, "presence_stats": {"channel": "a"}},
        {"id": 7, "history": {"channel": "a", "limit": 5, "since": {"offset": 1, "epoch": "e"}, "reverse": True}},
        {"id": 8, "refresh": {"token": "t"}},
        {"id": 9, "sub_refresh": {"channel": "a", "token": "t"}},
        {},
    ) == [
        Connect(1, "t", {"a": Position("e", 2)}),
        Subscribe(2, "a", "t", Position("e", 3), True),
        Unsubscribe(3, "a"),
        Publish(4, "a", {"x": [1, None]}),
        Presence(5, "a", is_count=False),
        Presence(6, "a", is_count=True),
        ReadHistory(7, "a", 5, Position("e", 1), True),
        Refresh(8, "t"),
        RefreshSubscription(9, "a", "t"),
        Pong(),
    ]


def test_what_clients_send_today_is_read() -> None:
    message = b'{"connect":{"name":"js"},"id":1}\n{"subscribe":{"channel":"x","flag":1},"id":2}\n'
    assert read_message(message) == [Connect(1, "", {}), Subscribe(2, "x", "", None, False)]


def test_unknown_fields_and_flags_are_ignored() -> None:
    command = {
        "id": 2,
        "subscribe": {"channel": "x", "flag": 1 << 40, "delta": "fossil", "positioned": True, "new": []},
    }
    assert read(command) == [Subscribe(2, "x", "", None, False)]


@pytest.mark.parametrize("field", [{"tf": {"key": "a"}}, {"type": 1}, {"type": 2, "key": "k"}])
def test_what_would_change_a_subscription_is_refused(field: dict[str, Any]) -> None:
    assert read({"id": 2, "subscribe": {"channel": "x", **field}}) == [Refused(2, BAD_REQUEST)]


def test_a_type_of_zero_is_an_ordinary_subscription() -> None:
    assert isinstance(read({"id": 2, "subscribe": {"channel": "x", "type": 0, "tf": None}})[0], Subscribe)


@pytest.mark.parametrize("name", ["rpc", "send", "subscribed", "Connect", "ping"])
def test_an_unknown_command_is_answered_so(name: str) -> None:
    assert read({"id": 3, name: {"data": 1}}) == [Refused(3, METHOD_NOT_FOUND)]


@pytest.mark.parametrize(
    "request_",
    [
        {"subscribe": {}},
        {"subscribe": []},
        {"subscribe": None},
        {"subscribe": {"channel": "x" * 10_000}},
        {"subscribe": {"channel": ["x"]}},
        {"subscribe": {"channel": "x\n"}},
        {"subscribe": {"channel": "x", "token": 7}},
        {"subscribe": {"channel": "x", "recover": 1}},
        {"subscribe": {"channel": "x", "recover": True, "offset": -1}},
        {"subscribe": {"channel": "x", "recover": True, "offset": 1.5}},
        {"subscribe": {"channel": "x", "recover": True, "offset": 1 << 64}},
        {"subscribe": {"channel": "x", "flag": True}},
        {"publish": {"channel": "x"}},
        {"history": {"channel": "x", "since": 7}},
        {"connect": {"subs": {"a": 1}}},
        {"connect": {"subs": []}},
    ],
)
def test_a_field_that_makes_no_sense_is_answered_so(request_: dict[str, Any]) -> None:
    assert read({"id": 4, **request_}) == [Refused(4, BAD_REQUEST)]


@pytest.mark.parametrize(
    "message",
    [
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b'{"subscribe":{"channel":"x"}}',
        b'{"id":0,"subscribe":{"channel":"x"}}',
        b'{"id":-1,"connect":{}}',
        b'{"id":true,"connect":{}}',
        b'{"id":1.0,"connect":{}}',
        b'{"id":4294967296,"connect":{}}',
        b'{"id":1,"connect":{"x":NaN}}',
        b'{"id":' + b"1" * 5000 + b"}",
        b'{"id":1,"publish":{"channel":"x","data":' + b"[" * 60_000 + b"]}}",
        b'{"id":1,"publish":{"channel":"x","data":' + b'{"a":' * 10_000 + b"1",
        b'{"id":1,"publish":{"channel":"x","data":"' + b"[" * 500 + b'\\"' + b'",' + b'"y":' + b"[" * 200,
    ],
)
def test_what_cannot_be_read_ends_the_connection(message: bytes) -> None:
    assert refused(message) == BAD_COMMAND


def test_a_number_that_json_does_not_have_is_no_data() -> None:
    message = b'{"id":1,"publish":{"channel":"x","data":1e999}}'
    (command,) = read_message(message)
    with pytest.raises(ValueError, match="JSON"):
        write_json(command.value)  # type: ignore[union-attr]


def test_brackets_in_texts_are_no_depth() -> None:
    text = '[{"\\' * 300
    assert read({"id": 1, "publish": {"channel": "x", "data": text}}) == [Publish(1, "x", text)]


def test_other_encodings_hide_no_depth() -> None:
    deep = '{"id":1,"publish":{"channel":"a","x":"\u2230","data":' + "[" * 200 + "]" * 200 + "}}"
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le"):
        with pytest.raises(UnreadableMessage):
            read_message(deep.encode(encoding))


def test_depth_is_bounded_exactly() -> None:
    deepest: Any = 1
    for _ in range(protocol.MAX_DEPTH - 2):
        deepest = [deepest]
    assert isinstance(read({"id": 1, "publish": {"channel": "x", "data": deepest}})[0], Publish)
    assert refused(json.dumps({"id": 1, "publish": {"channel": "x", "data": [deepest]}}).encode()) == BAD_COMMAND


def test_thousands_of_commands_in_a_message_are_too_many() -> None:
    assert refused(b"\n" * 2000) == TOO_MANY_COMMANDS
    assert refused(b"{}\n" * 2000) == TOO_MANY_COMMANDS
    assert len(read_message(b"{}\n" * 1000)) == 1000


def test_empty_lines_are_nothing() -> None:
    assert read_message(b"") == read_message(b"\n \n\r\n") == []


def test_half_a_pair_of_surrogates_is_passed_on() -> None:
    (command,) = read_message(b'{"id":1,"publish":{"channel":"x","data":"\\ud800\xc3\xa9"}}')
    assert json.loads(write_json(command.value)) == "\ud800é"  # type: ignore[union-attr]


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(message: bytes) -> None:
    try:
        read_message(message)
    except UnreadableMessage:
        pass


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["channel", "token", "data", "recover", "epoch", "offset", "flag", "since", "subs", "limit"])
_METHODS = st.sampled_from([*protocol._READERS, "rpc", "send"])


@given(st.integers(-1, 5), _METHODS, st.dictionaries(_NAMES, _VALUES, max_size=5) | _VALUES)
def test_no_command_raises_anything_else(number: int, method: str, request_: Any) -> None:
    message = json.dumps({"id": number, method: request_}).encode()
    try:
        assert len(read_message(message)) == 1
    except UnreadableMessage:
        assert number < 1 or b"NaN" in message or b"Infinity" in message


@given(_VALUES.filter(lambda value: b"NaN" not in json.dumps(value).encode() and "Infinity" not in json.dumps(value)))
def test_data_arrives_as_it_was(value: Any) -> None:
    (command,) = read({"id": 1, "publish": {"channel": "x", "data": value}})
    data = write_json(command.value)
    assert read_json(data) == value and b"\n" not in data
