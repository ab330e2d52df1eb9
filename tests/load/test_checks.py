"""Figures and bounds."""

from __future__ import annotations

import math

import pytest

from tests.load.checks import Check, all_held, percentile, table


@pytest.mark.parametrize(
    ("figure", "most", "is_held"), [(3, 3, True), (3.01, 3, False), (10**9, None, True), (math.nan, 3, False)]
)
def test_a_bound_is_what_the_figure_may_be_and_no_figure_is_no_success(
    figure: float, most: float | None, is_held: bool
) -> None:
    check = Check("memory", figure, most)
    assert check.is_held is is_held
    assert all_held([check]) is is_held


def test_a_line_says_the_figure_the_bound_and_whether_it_is_held() -> None:
    assert str(Check("growth", 5.25, 4, " MiB", "8 tunnels")) == "FAIL growth: 5.25 MiB (at most 4 MiB); 8 tunnels"
    assert str(Check("GETs", 12345)) == "     GETs: 12,345"


def test_the_table_ends_with_how_many_are_broken() -> None:
    assert table([Check("a", 0, 0), Check("b", 1, 0)]).endswith("1 bounds are BROKEN")
    assert table([Check("a", 0, 0)]).endswith("all bounds are held")


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.99, 99), (1, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), share) == value


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(percentile([], 0.99))
