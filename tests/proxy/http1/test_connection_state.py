"""The table of a client's connection; ``tests/test_drawings.py`` has its picture."""

from __future__ import annotations

from proxy.http1.connection_state import TRANSITIONS, State


def test_every_state_can_be_closed_and_none_is_left_after_that() -> None:
    assert all(row["close"] is State.CLOSED for row in TRANSITIONS.values())
    assert set(TRANSITIONS[State.CLOSED]) == {"close"}


def test_only_a_connection_that_serves_can_be_detached_and_only_one_that_does_not_is_refused() -> None:
    assert [state for state, row in TRANSITIONS.items() if "detach" in row] == [State.SERVING]
    assert [state for state, row in TRANSITIONS.items() if "bad request" in row] == [State.IDLE, State.READING]


def test_every_state_is_reached() -> None:
    reached = {after for row in TRANSITIONS.values() for after in row.values()} | {State.IDLE}
    assert reached == set(State)
