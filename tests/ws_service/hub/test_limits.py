"""The bounds of one client."""

from __future__ import annotations

from ws_service.config.hub_settings import HubSettings
from ws_service.hub.limits import DEFAULTS, Limits


def test_the_defaults_are_those_of_centrifugo() -> None:
    assert Limits() == DEFAULTS
    assert (DEFAULTS.ping, DEFAULTS.pong, DEFAULTS.subscriptions, DEFAULTS.recovered) == (25, 8, 128, 300)
    assert (DEFAULTS.message, DEFAULTS.queue) == (65536, 1048576)


def test_a_client_may_make_all_its_subscriptions_at_once_and_be_refused_each() -> None:
    assert DEFAULTS.commands * 10 > DEFAULTS.subscriptions < DEFAULTS.errors


def test_the_settings_say_them_and_their_defaults_are_the_same() -> None:
    assert Limits.from_settings(HubSettings()) == DEFAULTS
    settings = HubSettings.model_validate({"ping": "10s", "pong": "3s", "queue": "64KiB", "max_message": "1KiB"})
    assert Limits.from_settings(settings) == Limits(ping=10, pong=3, queue=65536, message=1024)
