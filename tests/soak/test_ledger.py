"""The books of the soak."""

from __future__ import annotations

import random

import pytest

from tests.soak.ledger import Ledger, done_twice, message, moments, not_done


@pytest.fixture
def ledger() -> Ledger:
    return Ledger("socket 7, visit 3")


def test_what_comes_back_in_its_order_is_well(ledger: Ledger) -> None:
    said = [ledger.say() for _ in range(20)]
    assert [ledger.hear(one) for one in said] == [""] * 20
    assert ledger.owed == 0


def test_what_has_not_come_back_is_owed(ledger: Ledger) -> None:
    said = [ledger.say() for _ in range(3)]
    ledger.hear(said[0])
    assert ledger.owed == 2


def test_a_message_that_comes_again_is_noticed(ledger: Ledger) -> None:
    said = [ledger.say() for _ in range(2)]
    ledger.hear(said[0])
    assert ledger.hear(said[0]).startswith("came twice")


def test_a_message_that_is_left_out_is_noticed_by_the_next_one(ledger: Ledger) -> None:
    said = [ledger.say() for _ in range(3)]
    assert ledger.hear(said[1]).startswith("came too early")


@pytest.mark.parametrize("got", [b"", b"socket 8, visit 3 0 ", message("socket 7, visit 3", 0)[:-1]])
def test_a_message_that_is_cut_or_another_ones_is_noticed(ledger: Ledger, got: bytes) -> None:
    ledger.say()
    assert ledger.hear(got).startswith("was never said")


def test_more_than_was_said_is_noticed(ledger: Ledger) -> None:
    assert ledger.hear(message("socket 7, visit 3", 0)).startswith("was never said")


def test_messages_have_the_three_lengths_of_a_frames_head() -> None:
    lengths = [len(message("x", number)) for number in range(8)]
    assert min(lengths) < 126 and any(126 <= n < 65536 for n in lengths) and max(lengths) > 65535


def test_an_order_in_the_book_twice_is_found_and_one_that_is_missing_too() -> None:
    book = ["a", "b", "a", "c"]
    assert done_twice(book) == ["a"]
    assert not_done({"a", "d"}, book) == ["d"]
    assert not_done({"a", "b"}, book) == []


@pytest.mark.parametrize(("seconds", "count"), [(600, 30), (60, 3), (5, 1)])
def test_troubles_come_once_a_period_and_within_the_round(seconds: float, count: int) -> None:
    found = moments(seconds, 20, random.Random(1))
    assert len(found) == count
    assert found == sorted(found)
    assert 0 < found[0] and found[-1] < seconds
