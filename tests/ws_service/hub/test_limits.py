"""The bounds of one client."""

from __future__ import annotations

from ws_service.hub.limits import DEFAULTS, Limits


def test_the_defaults_are_those_of_centrifugo() -> None:
    assert Limits() == DEFAULTS
    assert (DEFAULTS.ping, DEFAULTS.pong, DEFAULTS.subscriptions, DEFAULTS.recovered) == (25, 8, 128, 300)
    assert (DEFAULTS.message, DEFAULTS.queue) == (65536, 1048576)


def test_a_client_may_make_all_its_subscriptions_at_once_and_be_refused_each() -> None:
    assert DEFAULTS.commands * 10 > DEFAULTS.subscriptions < DEFAULTS.errors
