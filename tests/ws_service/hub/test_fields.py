"""The fields of a request: one of the wrong kind is refused, and nothing else is raised."""

from __future__ import annotations

from typing import Any

import pytest

from ws_service.hub.codes import BAD_REQUEST, LIMIT_EXCEEDED
from ws_service.hub.fields import MAX_NUMBER, Fields, Refusal, topic
from ws_service.hub.publication import Position

READERS: dict[str, Any] = {
    "text": lambda fields: fields.text("it"),
    "number": lambda fields: fields.number("it"),
    "flag": lambda fields: fields.flag("it"),
    "object": lambda fields: fields.object("it"),
}
KINDS: dict[str, list[Any]] = {
    "text": ["", "x", "\ud800", "a\nb", "a" * 300],
    "number": [0, 7, -1, MAX_NUMBER],
    "flag": [False, True],
    "object": [{}, {"x": 1}],
    "none of them": [[], ["x"], 1.5, 0.0, MAX_NUMBER + 1, -(10**30)],
}


@pytest.mark.parametrize("values", [None, 7, "x", [], True])
def test_a_request_is_an_object(values: Any) -> None:
    with pytest.raises(Refusal) as caught:
        Fields(values)
    assert caught.value.error == BAD_REQUEST


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_another_kind_is_refused_be_it_empty(reader: str, kind: str) -> None:
    for value in KINDS[kind]:
        fields = Fields({"it": value})
        if reader != kind:
            with pytest.raises(Refusal):
                READERS[reader](fields)
        elif reader != "object":
            assert READERS[reader](fields) == value


@pytest.mark.parametrize("values", [{}, {"it": None, "since": None}])
def test_what_is_left_out_is_empty_and_so_is_null(values: Any) -> None:
    fields = Fields(values)
    assert [read(fields) for read in READERS.values()] == ["", 0, False, None]
    assert (fields.since(), fields.position(), fields.has("it")) == (None, Position("", 0), False)
    with pytest.raises(Refusal):
        fields.topic()


def test_a_field_that_must_be_there_may_be_null() -> None:
    assert Fields({"data": None}).value("data") is None
    with pytest.raises(Refusal):
        Fields({}).value("data")


def test_all_fields_are_objects_where_they_have_to_be() -> None:
    assert [(name, each.text("a")) for name, each in Fields({"x": {"a": "b"}}).objects()] == [("x", "b")]
    with pytest.raises(Refusal):
        list(Fields({"x": {}, "y": 7}).objects())


def test_a_position_is_read() -> None:
    assert Fields({"since": {"offset": 7, "epoch": "e"}}).since() == Position("e", 7)
    for bad in ({"offset": -1}, {"offset": "7"}, {"epoch": 7}, 7, []):
        with pytest.raises(Refusal):
            Fields({"since": bad}).since()


@pytest.mark.parametrize("name", [None, "", 7, "a" * 256, "a" * 10_240, "a\nb", "\x1b[2J", "\u202eevil", ["a"]])
def test_a_topic_has_a_name_that_can_be_printed(name: Any) -> None:
    with pytest.raises(Refusal):
        topic(name)
    with pytest.raises(Refusal):
        Fields({"channel": name}).topic()


def test_a_refusal_may_have_another_error() -> None:
    assert Refusal(LIMIT_EXCEEDED).error == LIMIT_EXCEEDED
