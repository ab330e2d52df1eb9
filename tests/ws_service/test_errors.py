"""How mistakes are put together into what the operator reads."""

from __future__ import annotations

from ws_service.errors import ConfigError, Mistake


def test_mistakes_are_told_in_the_order_of_the_file_whatever_order_they_were_found_in() -> None:
    error = ConfigError("config.yaml", [Mistake("late", "b", 9, 1), Mistake("early", "a", 2, 5)])
    assert str(error) == "config.yaml:2:5: a: early\nconfig.yaml:9:1: b: late"


def test_a_mistake_without_a_place_of_its_own_names_the_file_alone() -> None:
    assert str(ConfigError("config.yaml", [Mistake("is empty")])) == "config.yaml: is empty"


def test_a_mistake_with_a_line_and_no_column_names_the_line() -> None:
    assert str(ConfigError("config.yaml", [Mistake("is odd", line=3)])) == "config.yaml:3: is odd"
