"""The values of labels: few, whatever is written."""

from __future__ import annotations

import re

import pytest

from proxy.errors import Outcome
from proxy.metrics.labels import cause_label, code_label, hold_label, method_label


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("PURGE", "_OTHER"), ("get", "_OTHER"), ("-", "_OTHER")])
def test_an_unknown_method_is_folded(method: str, label: str) -> None:
    assert method_label(method) == label


@pytest.mark.parametrize(
    ("status", "label"),
    [(200, "200"), (499, "499"), (444, "444"), (299, "2xx"), (599, "5xx"), (0, "_OTHER"), (600, "_OTHER")],
)
def test_a_code_that_is_not_registered_is_folded_into_its_class(status: int, label: str) -> None:
    assert code_label(status) == label


def test_all_codes_together_have_few_labels() -> None:
    assert len({code_label(status) for status in range(1000)}) < 75


def test_the_cause_of_a_websockets_end_is_the_outcome_of_the_log_as_a_word() -> None:
    assert cause_label(Outcome.CLIENT_CLOSED) == "client_closed"
    assert cause_label(Outcome.SERVED) == "refused"
    assert all(re.fullmatch("[a-z_]+", cause_label(outcome)) for outcome in Outcome)


def test_a_hold_ends_in_one_of_six_ways() -> None:
    assert hold_label(Outcome.BUG, has_opened=True) == "resumed"
    assert {hold_label(outcome, has_opened=False) for outcome in Outcome} == {
        "client_gone",
        "failed",
        "full",
        "resumed",
        "stopping",
        "timed_out",
    }
