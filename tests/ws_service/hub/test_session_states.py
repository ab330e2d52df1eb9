"""The tables of states."""

from __future__ import annotations

import pytest

from ws_service.hub.session_states import SESSION, SUBSCRIPTION, SessionState, SubscriptionState


@pytest.mark.parametrize(("table", "states"), [(SESSION, SessionState), (SUBSCRIPTION, SubscriptionState)])
def test_every_state_has_a_row_and_every_row_but_the_end_can_end(table: dict, states: type) -> None:  # type: ignore[type-arg]
    assert set(table) == set(states)
    for state, row in table.items():
        assert (row.get("end") is not None) == bool(row), state


def test_what_has_ended_stays_ended() -> None:
    assert SESSION[SessionState.ENDED] == SUBSCRIPTION[SubscriptionState.ENDED] == {}
