"""The protocol's codes, and what a client does after them."""

from __future__ import annotations

import pytest

from ws_service.hub import codes
from ws_service.websocket.frame_format import MAX_REASON


def constants(kind: type) -> list[object]:
    return [value for value in vars(codes).values() if isinstance(value, kind)]


@pytest.mark.parametrize("kind", [codes.ErrorCode, codes.EndCode])
def test_no_code_has_two_meanings(kind: type) -> None:
    numbers = [one.code for one in constants(kind)]  # type: ignore[attr-defined]
    assert len(numbers) == len(set(numbers)) > 5


@pytest.mark.parametrize(
    ("code", "comes"),
    [
        *((1000, True), (1009, False), (1012, True), (3001, True), (3499, True), (3500, False), (3999, False)),
        *((4000, True), (4499, True), (4500, False), (4999, False)),
    ],
)
def test_the_range_of_a_code_says_whether_the_client_comes_back(code: int, comes: bool) -> None:
    assert codes.comes_back(code) is comes


@pytest.mark.parametrize(("code", "subscribes"), [(2000, False), (2499, False), (2500, True), (2501, True)])
def test_the_range_of_a_code_says_whether_the_client_subscribes_again(code: int, subscribes: bool) -> None:
    assert codes.subscribes_again(code) is subscribes


@pytest.mark.parametrize("one", constants(codes.EndCode), ids=lambda one: one.reason)
def test_a_reason_fits_into_a_close_frame(one: codes.EndCode) -> None:
    assert len(one.reason.encode()) <= MAX_REASON
