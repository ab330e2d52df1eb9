"""The record of one exchange."""

from __future__ import annotations

import pytest

from proxy.errors import Outcome
from proxy.exchange.record import Exchange


def exchange() -> Exchange:
    return Exchange(id="e1", when=1_700_000_000.0, began=100.0)


def test_an_exchange_that_runs_has_no_duration_yet() -> None:
    assert exchange().duration == 0


def test_a_duration_is_measured_from_the_head_to_the_end() -> None:
    record = exchange()
    record.ended = 102.5
    assert record.duration == 2.5


def test_a_first_byte_is_measured_from_the_head_to_the_response() -> None:
    record = exchange()
    assert record.first_byte is None
    record.responded = 100.25
    assert record.first_byte == 0.25


def test_an_exchange_may_begin_and_end_at_the_clocks_zero() -> None:
    record = Exchange(id="e1", when=0, began=-1.0)
    record.ended = 0.0  # 0 is a time, not "still running"
    assert record.duration == 1


def test_a_record_without_an_outcome_is_a_bug_of_the_gateway() -> None:
    assert exchange().outcome is Outcome.BUG


def test_two_exchanges_are_never_the_same_one() -> None:
    """The set of what is in flight holds them by identity: equal contents must not make one of two."""
    first, second = exchange(), exchange()
    assert first != second
    assert len({first, second}) == 2


def test_an_exchange_stays_in_its_set_while_it_changes() -> None:
    record = exchange()
    flight = {record}
    record.status = 200
    record.ended = 101.0
    assert record in flight


def test_a_misspelt_field_is_an_error_and_not_a_new_field() -> None:
    with pytest.raises(AttributeError):
        exchange().statsu = 200  # type: ignore[attr-defined]
