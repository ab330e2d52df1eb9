"""Which address gets what comes: the fewest under way, and those that are equal in turn."""

from __future__ import annotations

from proxy.upstream.balance import least_loaded


def test_the_one_with_the_fewest_under_way_is_chosen_whatever_its_place() -> None:
    loads = {"a": 3, "b": 1, "c": 2}
    assert {least_loaded(list(loads), loads.__getitem__, turn) for turn in range(7)} == {"b"}


def test_of_those_that_are_equal_each_has_its_turn() -> None:
    loads = {"a": 1, "b": 1, "c": 4, "d": 1}
    chosen = [least_loaded(list(loads), loads.__getitem__, turn) for turn in range(8)]
    assert chosen == ["a", "b", "d", "d"] * 2


def test_the_only_one_is_chosen_whatever_it_has() -> None:
    assert least_loaded(["a"], lambda _: 1000, 5) == "a"
