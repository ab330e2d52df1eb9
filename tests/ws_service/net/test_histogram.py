"""A histogram counts values as Prometheus reads them: cumulative buckets, upper bounds inclusive."""

from __future__ import annotations

from ws_service.net.histogram import HTTP_BUCKETS, Histogram


def test_a_value_is_counted_in_the_bucket_of_its_bound_and_in_all_larger_ones() -> None:
    one = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 7.0):
        one.add(value)
    assert one.buckets == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert (one.counts, one.count, one.sum) == ((2, 1, 1), 4, 10.0)


def test_the_buckets_of_http_are_those_of_opentelemetry() -> None:
    assert HTTP_BUCKETS == (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
