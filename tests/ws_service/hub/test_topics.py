"""Names of topics, their namespaces and their users."""

from __future__ import annotations

import pytest

from ws_service.hub.topics import DEFAULT, Namespaces, TopicOptions, is_valid, namespace_of, users_of


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
