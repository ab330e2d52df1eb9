"""The order of measurements, and what is made of repetitions."""

import pytest

from benchmarks.rounds import Summary, interleave, quantile, ratio, summarise


def test_every_proxy_is_measured_once_per_round_and_each_round_begins_with_another() -> None:
    assert interleave(["a", "b", "c"], 4) == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_no_subject_means_no_rounds() -> None:
    assert interleave([], 2) == [[], []]


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(100)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1)) == (50, 99, 99)
    assert quantile([7.0], 0.99) == 7


def test_a_summary_is_the_median_and_the_ends() -> None:
    assert summarise([3.0, 1.0, 9.0]) == Summary(3, 1, 9)


def test_a_ratio_compares_what_met_the_same_machine() -> None:
    """The second round was twice as slow for both; the medians' ratio would be the same here, the spread not."""
    assert ratio([2.0, 4.0, 2.0], [1.0, 2.0, 1.0]) == Summary(2, 2, 2)


def test_a_ratio_with_a_lost_round_compares_medians() -> None:
    assert ratio([2.0, 4.0], [1.0, 1.0, 1.0]) == Summary(3, 3, 3)


@pytest.mark.parametrize("values", [([], [1.0]), ([1.0], []), ([1.0], [0.0])])
def test_nothing_is_compared_with_nothing(values: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        ratio(*values)


@pytest.mark.parametrize("function", [summarise, lambda values: quantile(values, 0.5)])
def test_no_values_have_no_summary(function: object) -> None:
    with pytest.raises(ValueError, match="no values"):
        function([])  # type: ignore[operator]
