"""The parameters of the API: everything that makes no sense is refused, and nothing else is raised."""

from __future__ import annotations

from typing import Any

import pytest

from ws_service.hub.api_parameters import Parameters
from ws_service.hub.fields import Refusal

ODD: list[Any] = [7, -1, 1.5, True, "x", [], ["x"], {"x": 1}, 10**30, "\ud800", "a\nb", "a" * 300]


@pytest.mark.parametrize("value", ODD)
def test_every_value_is_taken_or_refused(value: Any) -> None:
    names = ("channels", "data", "tags", "idempotency_key", "disconnect", "version")
    given = Parameters(dict.fromkeys(names, value))
    readers = [
        lambda: given.list_of("channels"),
        lambda: given.refuse("version"),
        given.data,
        given.tags,
        given.idempotency_key,
        given.end,
    ]
    for reader in readers:
        try:
            reader()
        except Refusal:
            continue


def test_what_is_left_out_is_empty() -> None:
    given = Parameters({"user": None})
    assert (given.tags(), given.idempotency_key(), given.end()) == ({}, None, None)
    given.refuse("version", "version_epoch")
    for reader in (given.data, lambda: given.list_of("channels")):
        with pytest.raises(Refusal):
            reader()


def test_data_is_any_json() -> None:
    assert Parameters({"data": None}).data() == b"null"
    assert Parameters({"data": {"größe": [1, 2.5, "\ud800"]}}).data() == b'{"gr\\u00f6\\u00dfe":[1,2.5,"\\ud800"]}'
    for value in (float("nan"), float("inf"), [1e999]):
        with pytest.raises(Refusal):
            Parameters({"data": value}).data()


def test_an_end_is_read() -> None:
    assert Parameters({"disconnect": {"code": 4001, "reason": "bye"}}).end() == (4001, "bye")
    assert Parameters({"disconnect": {"code": 3000, "reason": "ö" * 61 + "a"}}).end() == (3000, "ö" * 61 + "a")
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
