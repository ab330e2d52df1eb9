"""What is known of an upstream, and what changes it: a machine without a network, its clock in the test's hand."""

from __future__ import annotations

import logging

import pytest

from proxy.upstream.health import TRANSITIONS, Health, State


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def health(*, fails: int = 2, passes: int = 1, clock: Clock | None = None) -> Health:
    return Health("dash", fails=fails, passes=passes, clock=clock or Clock())


def test_at_first_nothing_is_known_and_requests_may_try() -> None:
    one = health()
    assert (one.state, one.is_unreachable, one.why) == (State.UNKNOWN, False, "")


def test_what_one_request_meets_counts_at_once() -> None:
    one = health(fails=9, passes=9)
    one.reached()
    assert one.state is State.UP
    one.missed("connection refused")
    assert (one.state, one.is_unreachable, one.why) == (State.UNREACHABLE, True, "connection refused")
    one.reached()
    assert (one.state, one.why) == (State.UP, "")


def test_of_one_that_is_up_several_probes_must_fail_in_a_row() -> None:
    one = health(fails=3)
    one.reached()
    for _ in range(2):
        one.failed("refused")
    one.passed()
    for _ in range(2):
        one.failed("refused")
    assert one.state is State.UP
    one.failed("refused")
    assert one.state is State.UNREACHABLE


def test_of_one_that_is_unknown_the_first_probe_counts() -> None:
    one, other = health(fails=3), health(passes=3)
    one.failed("refused")
    other.passed()
    assert (one.state, other.state) == (State.UNREACHABLE, State.UP)


def test_several_probes_must_pass_where_the_config_asks_for_it() -> None:
    one = health(passes=2)
    one.missed("refused")
    one.passed()
    one.failed("refused again")
    one.passed()
    assert (one.state, one.why) == (State.UNREACHABLE, "refused again")
    one.passed()
    assert one.state is State.UP


def test_one_that_answers_badly_is_degraded_and_not_unreachable() -> None:
    one = health(fails=2)
    one.reached()
    one.answered_badly("/health answered 404")
    assert one.state is State.UP
    one.answered_badly("/health answered 404")
    assert (one.state, one.is_unreachable, one.why) == (State.DEGRADED, False, "/health answered 404")
    one.reached()
    assert one.state is State.DEGRADED, "that requests reach it does not make it well"
    one.passed()
    assert one.state is State.UP


def test_one_that_was_unreachable_and_answers_badly_is_there() -> None:
    """A path that is wrong in the config must not keep a working upstream out."""
    one = health(passes=5)
    one.missed("refused")
    one.answered_badly("/helth answered 404")
    assert one.state is State.DEGRADED


def test_each_change_is_one_line_that_says_why_and_how_long(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    one = health(clock=clock)
    with caplog.at_level(logging.INFO, "proxy"):
        one.reached()
        clock.now += 60
        for _ in range(3):
            one.missed("connection refused")
        clock.now += 5.25
        one.reached()
        one.reached()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "the upstream dash is up"),
        ("WARNING", "the upstream dash is unreachable, after 60.0 s up: connection refused"),
        ("INFO", "the upstream dash is up, after 5.2 s unreachable"),
    ]
    assert one.since == clock.now


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {after for row in TRANSITIONS.values() for after in row.values()}
    assert reached == set(State) - {State.UNKNOWN}
    assert all(TRANSITIONS.values())


def test_each_change_is_told_with_the_state_before_it() -> None:
    one = health(fails=1)
    told: list[tuple[State, State]] = []
    one.on_change = lambda before: told.append((before, one.state))
    one.passed()
    one.passed()
    one.failed("refused")
    one.failed("refused")
    one.reached()
    assert told == [
        (State.UNKNOWN, State.UP),
        (State.UP, State.UNREACHABLE),
        (State.UNREACHABLE, State.UP),
    ]
