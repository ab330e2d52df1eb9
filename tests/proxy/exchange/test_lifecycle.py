"""The life of the process: which states follow which, and who must leave before the last one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.exchange.lifecycle import TRANSITIONS, Lifecycle, State

EVENTS = sorted({event for row in TRANSITIONS.values() for event in row})


def test_the_table_has_a_row_for_every_state() -> None:
    assert set(TRANSITIONS) == set(State)


def test_every_state_can_be_reached_from_the_first() -> None:
    reached, fresh = set(), {State.STARTING}
    while fresh:
        reached |= fresh
        fresh = {after for state in fresh for after in TRANSITIONS[state].values()} - reached
    assert reached == set(State)


def test_only_the_last_state_has_no_next_one() -> None:
    assert [state for state, row in TRANSITIONS.items() if not row] == [State.STOPPED]


def test_a_process_starts_serves_drains_and_stops() -> None:
    life: Lifecycle[str] = Lifecycle()
    assert (life.state, life.is_ready) == (State.STARTING, False)
    life.happen("listening")
    assert (life.state, life.is_ready) == (State.READY, True)
    life.happen("stop")
    assert (life.state, life.is_ready) == (State.DRAINING, False)
    life.happen("empty")
    assert (life.state, life.is_ready) == (State.STOPPED, False)


@pytest.mark.parametrize("event", ["deadline", "second signal"])
def test_a_drain_ends_at_its_deadline_and_at_a_second_signal_too(event: str) -> None:
    life: Lifecycle[str] = Lifecycle()
    for each in ("listening", "stop", event):
        life.happen(each)
    assert life.state is State.STOPPED


def test_a_notice_before_the_drain_is_not_ready_and_asks_no_client_to_leave() -> None:
    life: Lifecycle[str] = Lifecycle()
    seen = []
    for event in ("listening", "notice", "stop", "empty"):
        life.happen(event)
        seen.append((life.state, life.is_ready, life.is_ending))
    assert seen == [
        (State.READY, True, False),
        (State.NOTICE, False, False),
        (State.DRAINING, False, True),
        (State.STOPPED, False, True),
    ]


def test_a_second_signal_ends_the_notice() -> None:
    life: Lifecycle[str] = Lifecycle()
    for event in ("listening", "notice", "second signal"):
        life.happen(event)
    assert life.state is State.STOPPED


def test_a_process_that_never_listened_has_nothing_to_drain() -> None:
    life: Lifecycle[str] = Lifecycle()
    life.happen("stop")
    assert life.state is State.STOPPED


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_cannot_happen_is_an_error_and_changes_nothing(state: State, event: str) -> None:
    life: Lifecycle[str] = Lifecycle()
    life.state = state
    if event in TRANSITIONS[state]:
        life.happen(event)
        assert life.state is TRANSITIONS[state][event]
    else:
        with pytest.raises(KeyError):
            life.happen(event)
        assert life.state is state


def test_the_last_one_that_leaves_ends_the_drain() -> None:
    told: list[str] = []
    life: Lifecycle[str] = Lifecycle()
    life.on_empty = lambda: told.append("empty")
    life.happen("listening")
    life.enter("a")
    life.enter("b")
    life.happen("stop")
    life.leave("a")
    assert told == []
    life.leave("b")
    assert told == ["empty"]


def test_an_empty_process_that_still_serves_tells_nothing() -> None:
    told: list[str] = []
    life: Lifecycle[str] = Lifecycle()
    life.on_empty = lambda: told.append("empty")
    life.happen("listening")
    life.enter("a")
    life.leave("a")
    assert told == []


def test_leaving_twice_is_leaving_once() -> None:
    life: Lifecycle[str] = Lifecycle()
    life.enter("a")
    life.enter("b")
    life.leave("a")
    life.leave("a")
    assert life.in_flight == {"b"}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5))))
def test_a_drain_is_never_told_to_end_while_one_is_in_flight(steps: list[tuple[bool, int]]) -> None:
    crowds: list[int] = []
    life: Lifecycle[int] = Lifecycle()
    life.on_empty = lambda: crowds.append(len(life.in_flight))
    life.happen("listening")
    for number in range(6):
        life.enter(number)
    life.happen("stop")
    present = set(range(6))
    for comes, number in steps:
        (life.enter if comes else life.leave)(number)
        (present.add if comes else present.discard)(number)
        assert life.in_flight == present
    assert set(crowds) <= {0}
