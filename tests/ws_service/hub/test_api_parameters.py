"""The parameters of the API: everything that makes no sense is refused, and nothing else is raised."""

from __future__ import annotations

from typing import Any

import pytest

from ws_service.hub.api_parameters import Parameters, Refusal, topic
from ws_service.hub.codes import BAD_REQUEST
from ws_service.hub.publication import Position

ODD: list[Any] = [7, -1, 1.5, True, "x", [], ["x"], {"x": 1}, 10**30, "\ud800", "a\nb", "a" * 300]


@pytest.mark.parametrize("values", [None, 7, "x", [], True])
def test_parameters_are_an_object(values: Any) -> None:
    with pytest.raises(Refusal) as caught:
        Parameters(values)
    assert caught.value.error == BAD_REQUEST


@pytest.mark.parametrize("value", ODD)
def test_every_value_is_taken_or_refused(value: Any) -> None:
    names = ("channel", "channels", "user", "reverse", "limit", "tags", "idempotency_key", "since", "disconnect")
    given = Parameters(dict.fromkeys((*names, "version"), value))
    readers = [
        given.topic,
        lambda: given.list_of("channels"),
        lambda: given.text("user"),
        lambda: given.flag("reverse"),
        lambda: given.number("limit"),
        lambda: given.refuse("version"),
        given.tags,
        given.idempotency_key,
        given.since,
        given.end,
    ]
    for reader in readers:
        try:
            reader()
        except Refusal:
            continue


def test_what_is_left_out_is_empty() -> None:
    given = Parameters({"user": None})
    assert (given.text("user"), given.flag("reverse"), given.number("limit")) == ("", False, 0)
    assert (given.tags(), given.idempotency_key(), given.since(), given.end()) == ({}, None, None, None)
    given.refuse("version", "version_epoch")
    for reader in (given.topic, given.data, lambda: given.list_of("channels")):
        with pytest.raises(Refusal):
            reader()


@pytest.mark.parametrize("name", [None, "", 7, "a" * 256, "a" * 10_240, "a\nb", "\x1b[2J", "\u202eevil", ["a"]])
def test_a_topic_has_a_name_that_can_be_printed(name: Any) -> None:
    with pytest.raises(Refusal):
        topic(name)


def test_data_is_any_json() -> None:
    assert Parameters({"data": None}).data() == b"null"
    assert Parameters({"data": {"größe": [1, 2.5, "\ud800"]}}).data() == b'{"gr\\u00f6\\u00dfe":[1,2.5,"\\ud800"]}'
    for value in (float("nan"), float("inf"), [1e999]):
        with pytest.raises(Refusal):
            Parameters({"data": value}).data()


def test_a_position_and_an_end_are_read() -> None:
    assert Parameters({"since": {"offset": 7, "epoch": "e"}}).since() == Position("e", 7)
    assert Parameters({"disconnect": {"code": 4001, "reason": "bye"}}).end() == (4001, "bye")
    assert Parameters({"disconnect": {"code": 3000, "reason": "ö" * 61 + "a"}}).end() == (3000, "ö" * 61 + "a")
    for bad in ({"offset": -1}, {"offset": "7"}, {"epoch": 7}, 7):
        with pytest.raises(Refusal):
            Parameters({"since": bad}).since()
    for bad in (
        {"code": 2999},
        {"code": 5000},
        {"code": 1000},
        {"code": 3000, "reason": "a" * 124},
        {"reason": "x"},
        7,
    ):
        with pytest.raises(Refusal):
            Parameters({"disconnect": bad}).end()
