"""The counters of the metrics, as the status needs them."""

from __future__ import annotations

from proxy.exchange.record import Exchange
from proxy.status.counted import BOUNDS, route_totals, sum_of
from proxy.status.samples import Totals
from tests.proxy.status.stand_ins import answered, make_parts


async def test_requests_are_added_up_by_route_whatever_their_method_and_code() -> None:
    parts = make_parts()
    answered(parts, 3)
    answered(parts, 2, status=404, took=0.3)
    answered(parts, 1, status=502, took=20)
    answered(parts, 1, status=499, route="routes[0]")
    totals = route_totals(parts.counts)
    first = totals["dash", "http"]
    assert (first.requests, first.refused, first.failed) == (6, 2, 1)
    assert len(first.first_byte) == len(BOUNDS) + 1
    assert first.first_byte[2] == 3  # up to 25 ms
    assert first.first_byte[-1] == 1
    assert totals["dash", "routes[0]"].refused == 1
    assert sum_of(totals.values()).requests == 7


async def test_a_request_without_an_answer_has_no_time_to_first_byte() -> None:
    parts = make_parts()
    parts.counts.observe(Exchange("id", 0.0, 1.0, status=503, ended=2.0))
    ((route, totals),) = route_totals(parts.counts).items()
    assert route == ("-", "-")
    assert (totals.failed, sum(totals.first_byte)) == (1, 0)


async def test_nothing_is_counted_at_the_start() -> None:
    parts = make_parts()
    assert route_totals(parts.counts) == {}
    assert sum_of([]) == Totals()
