"""Names of topics, their namespaces and their users."""

from __future__ import annotations

import pytest

from ws_service.config.hub_settings import HubSettings
from ws_service.hub.broker import Keep
from ws_service.hub.topics import (
    DEFAULT,
    Allowed,
    Namespaces,
    Recovery,
    SlowPolicy,
    TopicOptions,
    is_valid,
    namespace_of,
    users_of,
)


@pytest.mark.parametrize(
    ("topic", "namespace"),
    [("prices", ""), ("prices:AAPL", "prices"), ("a:b:c", "a"), (":x", ""), ("user:#ada", "user")],
)
def test_the_namespace_is_what_is_before_the_first_colon(topic: str, namespace: str) -> None:
    assert namespace_of(topic) == namespace


@pytest.mark.parametrize(
    ("topic", "users"),
    [("prices", None), ("user:#ada", {"ada"}), ("chat:x#ada,bob", {"ada", "bob"}), ("user:#", {""})],
)
def test_what_is_after_the_boundary_are_the_users_that_may_read_it(topic: str, users: set[str] | None) -> None:
    assert users_of(topic) == users


@pytest.mark.parametrize("topic", ["", "a" * 256, "a\nb", "a\0", None, 7, b"a", "\ud800"])
def test_what_is_no_name_is_refused(topic: object) -> None:
    assert not is_valid(topic)


def test_names_may_have_spaces_and_other_letters() -> None:
    assert is_valid("Größe: alle Werke") and is_valid("a" * 255)


def test_a_namespace_without_options_has_the_defaults() -> None:
    prices = TopicOptions(presence=True)
    namespaces = Namespaces({"prices": prices})
    assert namespaces.of("prices:AAPL") is prices
    assert namespaces.of("job:7") is DEFAULT
    assert namespaces.of("prices") is DEFAULT


def test_the_settings_say_the_options_and_a_namespace_takes_what_it_does_not_say_from_the_default() -> None:
    settings = HubSettings.model_validate(
        {
            "default": {"history": 7, "slow": "disconnect"},
            "namespaces": {"prices": {"ttl": "1h", "recovery": "stream", "publish": "users"}},
        }
    )
    namespaces = Namespaces.from_settings(settings)
    assert namespaces.of("anything") == TopicOptions(keep=Keep(7, 300.0), slow=SlowPolicy.DISCONNECT)
    assert namespaces.of("prices:AAPL") == TopicOptions(
        keep=Keep(7, 3600.0), recovery=Recovery.STREAM, publish=Allowed.USERS, slow=SlowPolicy.DISCONNECT
    )


def test_the_defaults_of_the_settings_are_those_of_the_topics() -> None:
    assert Namespaces.from_settings(HubSettings()).of("x") == DEFAULT


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({}, SlowPolicy.LATEST),
        ({"recovery": "stream"}, SlowPolicy.DISCONNECT),
        ({"recovery": "stream", "slow": "latest"}, SlowPolicy.LATEST),
        ({"slow": "drop-oldest"}, SlowPolicy.DROP_OLDEST),
    ],
)
def test_a_client_that_is_slow_loses_nothing_of_a_stream_unless_the_settings_say_so(
    settings: dict[str, str], policy: SlowPolicy
) -> None:
    hub = HubSettings.model_validate({"namespaces": {"a": settings}})
    assert Namespaces.from_settings(hub).of("a:b").slow is policy
