"""Reading and comparing Autobahn's reports."""

from __future__ import annotations

import pytest

from tests.autobahn.verdicts import Report, differences, seen, summary, unsteady


def found(behavior: str = "OK", behavior_close: str = "OK") -> dict[str, object]:
    """What Autobahn writes about one case; the rest of it (times, files) is nobody's verdict."""
    return {"behavior": behavior, "behaviorClose": behavior_close, "duration": 3, "remoteCloseCode": 1000}


def compared(without: Report, through: Report) -> list[str]:
    return [str(difference) for difference in differences(seen([without]), seen([through]))]


def test_two_reports_that_say_the_same_have_no_differences() -> None:
    report = {"1.1.1": found(), "6.4.1": found("NON-STRICT")}
    assert compared(report, {case: {**what, "duration": 900} for case, what in report.items()}) == []


def test_a_verdict_that_changed_is_named_with_both_sides() -> None:
    assert compared({"1.1.1": found()}, {"1.1.1": found("FAILED", "UNCLEAN")}) == [
        "case 1.1.1: OK (close OK) without the gateway, FAILED (close UNCLEAN) with it"
    ]


def test_a_close_that_changed_is_a_difference_although_the_messages_are_well() -> None:
    assert len(compared({"7.1.1": found()}, {"7.1.1": found("OK", "UNCLEAN")})) == 1


def test_an_improvement_is_a_difference_too_because_the_gateway_must_not_be_seen() -> None:
    assert len(compared({"6.4.1": found("NON-STRICT")}, {"6.4.1": found("OK")})) == 1


@pytest.mark.parametrize("reports", [({"1.1.1": found()}, {}), ({}, {"1.1.1": found()})])
def test_a_case_that_was_run_one_way_only_is_a_difference(reports: tuple[Report, Report]) -> None:
    (line,) = compared(*reports)
    assert "not run" in line


def test_cases_come_in_the_order_of_their_numbers_and_not_of_their_letters() -> None:
    cases = seen([{"9.1.1": found(), "10.1.1": found(), "1.2.10": found(), "1.2.9": found()}])
    assert [d.case for d in differences(cases, {})] == ["1.2.9", "1.2.10", "9.1.1", "10.1.1"]


def test_a_case_that_the_endpoint_itself_takes_two_ways_may_go_either_way_through_the_gateway() -> None:
    without = seen([{"3.4": found()}, {"3.4": found("NON-STRICT")}])
    assert unsteady(without) == ["3.4"]
    for through in ([{"3.4": found()}], [{"3.4": found("NON-STRICT")}]):
        assert differences(without, seen(through)) == []
    assert len(differences(without, seen([{"3.4": found()}, {"3.4": found("FAILED")}]))) == 1


def test_a_summary_counts_the_verdicts_the_most_frequent_first() -> None:
    assert summary({"1": found(), "2": found(), "3": found("NON-STRICT")}) == "OK 2, NON-STRICT 1"
