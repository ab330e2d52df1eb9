"""When a session is overdue."""

from __future__ import annotations

from ws_service.hub.codes import CONNECTION_EXPIRED, NO_PONG, STALE
from ws_service.hub.limits import Limits
from ws_service.hub.session_timers import SessionTimers


def make(*, answers_pings: bool = True) -> SessionTimers:
    return SessionTimers(Limits(), 100.0, answers_pings=answers_pings)


def test_a_connection_without_a_command_is_stale_after_10_seconds() -> None:
    timers = make()
    assert timers.overdue(109.9, 0) is None and timers.overdue(110, 0) == STALE
    timers.connecting()
    assert timers.overdue(200, 0) is None
    timers.refused(200)
    assert timers.overdue(209.9, 0) is None and timers.overdue(210, 0) == STALE


def test_pings_every_25_seconds_and_8_for_the_pong() -> None:
    timers = make()
    timers.connecting()
    timers.connected(100, 0.6)
    assert not timers.is_ping_due(114.9) and timers.is_ping_due(115) and not timers.is_ping_due(115)
    assert timers.overdue(122.9, 0) is None and timers.overdue(123, 0) == NO_PONG
    timers.pong()
    assert timers.overdue(139, 0) is None and not timers.is_ping_due(139.9) and timers.is_ping_due(140)


def test_what_only_receives_is_not_pinged() -> None:
    timers = make(answers_pings=False)
    timers.connecting()
    timers.connected(100, 1)
    assert timers.ping == 0 and not timers.is_ping_due(1e9)


def test_a_token_has_25_seconds_of_grace() -> None:
    timers = make()
    timers.connecting()
    timers.expires_at = 1000
    assert timers.overdue(101, 1024.9) is None and timers.overdue(101, 1025) == CONNECTION_EXPIRED
