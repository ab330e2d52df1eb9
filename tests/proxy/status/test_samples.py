"""Points of the history: rates from counters, latencies from histograms."""

from __future__ import annotations

import random

import pytest

from proxy.status.samples import KEPT, WINDOW, History, Sample, Totals, quantile

BOUNDS = (0.01, 0.1, 1.0)


def history_of(*samples: Sample) -> History:
    history = History(BOUNDS)
    for sample in samples:
        history.add(sample)
    return history


def test_one_sample_makes_no_point() -> None:
    history = history_of(Sample(0, Totals(7)))
    assert history.latest is None
    assert history.late == 0
    assert set(map(len, history.columns().values())) == {0}


def test_a_rate_is_for_each_second_however_late_the_sample_came() -> None:
    history = history_of(Sample(10, Totals(100, 3, 1), received=50), Sample(12.5, Totals(150, 8, 2), received=300))
    point = history.latest
    assert point is not None
    assert (point.requests, point.refused, point.failed, point.received) == (20, 2, 0.4, 100)


def test_two_samples_of_one_moment_divide_by_no_zero() -> None:
    point = history_of(Sample(5, Totals(1)), Sample(5, Totals(2))).latest
    assert point is not None
    assert point.requests == 1000


def test_a_latency_is_of_the_last_samples_and_not_of_all() -> None:
    history = history_of(Sample(0, Totals(0)))
    history.add(Sample(1, Totals(100, 0, 0, (0, 0, 100, 0))))
    assert history.latest is not None
    assert history.latest.p50 is not None
    assert history.latest.p50 > 0.1
    for at in range(2, WINDOW + 3):
        history.add(Sample(at, Totals(100, 0, 0, (0, 0, 100, 0))))
    assert history.latest.p50 is None


def test_only_the_last_points_are_kept() -> None:
    history = history_of(*(Sample(at, Totals(at * at), lag=at / 10) for at in range(KEPT + 50)))
    columns = history.columns()
    assert set(map(len, columns.values())) == {KEPT}
    assert columns["requests"][-1] == 2 * (KEPT + 49) - 1
    assert history.late == (KEPT + 49) / 10


def test_what_is_late_is_of_the_last_minute() -> None:
    history = history_of(Sample(0, Totals()), Sample(1, Totals(), lag=3.0))
    assert history.late == 3.0
    for at in range(2, 62):
        history.add(Sample(at, Totals(), lag=0.001))
    assert history.late == 0.001


def test_counters_are_added_and_subtracted_with_their_buckets() -> None:
    more = Totals(5, 2, 1, (1, 2, 3, 0)).plus(Totals(1, 0, 1, (0, 1, 0, 0)))
    assert more == Totals(6, 2, 2, (1, 3, 3, 0))
    assert more.since(Totals(5, 2, 1, (1, 2, 3, 0))) == Totals(1, 0, 1, (0, 1, 0, 0))
    assert Totals(1, 0, 0, (1, 0)).since(Totals()) == Totals(1, 0, 0, (1, 0))


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ((), 0.5, None),
        ((0, 0, 0, 0), 0.5, None),
        ((4, 0, 0, 0), 0.99, 0.01),  # at most
        ((0, 0, 0, 4), 0.5, 1.0),  # at least
        ((0, 4, 0, 0), 0.5, 0.055),
        ((0, 1, 0, 0), 0.99, 0.1),
        ((90, 9, 1, 0), 0.5, 0.01),
        ((90, 9, 1, 0), 0.95, 0.06),
        ((90, 9, 1, 0), 1.0, 1.0),
    ],
)
def test_a_quantile_is_interpolated_inside_its_bucket(
    counts: tuple[int, ...], share: float, value: float | None
) -> None:
    assert quantile(counts, BOUNDS, share) == value


def test_a_quantile_lies_in_the_bucket_of_the_value_that_it_stands_for() -> None:
    generator = random.Random(13)
    for _ in range(200):
        values = sorted(generator.uniform(0, 1) for _ in range(generator.randrange(1, 40)))
        counts = [0] * 4
        for value in values:
            counts[next(index for index, bound in enumerate((*BOUNDS, 9)) if value <= bound)] += 1
        share = generator.choice((0.5, 0.95, 0.99))
        real = values[max(1, -(-int(share * 100) * len(values) // 100)) - 1]
        found = quantile(counts, BOUNDS, share)
        assert found is not None
        lower, upper = next((low, high) for low, high in zip((0.0, *BOUNDS), BOUNDS, strict=False) if real <= high)
        assert lower <= found <= upper
