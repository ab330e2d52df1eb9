"""What has been counted, as the status needs it: the counters of the metrics, by route and in all."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.metrics.exchange_counts import ExchangeCounts
from proxy.status.samples import Totals
from ws_service.net.histogram import HTTP_BUCKETS

BOUNDS = HTTP_BUCKETS
"""The upper bounds of the histograms' buckets, in seconds."""

Route = tuple[str, str]
"""The upstream and the rule that a request went by; each is ``-`` for one that was refused before."""


def route_totals(counts: ExchangeCounts) -> dict[Route, Totals]:
    """Return the counters of requests, by route."""
    numbers: dict[Route, list[int]] = {}
    for (upstream, route, _, code), count in counts.requests:
        number = numbers.setdefault((upstream, route), [0, 0, 0])
        number[0] += count
        if code[0] in "45":
            number["45".index(code[0]) + 1] += count
    first_bytes = {labels: histogram.counts for labels, _, histogram in counts.routes}
    return {
        route: Totals(requests, refused, failed, first_bytes.get(route, ()))
        for route, (requests, refused, failed) in numbers.items()
    }


def sum_of(totals: Iterable[Totals]) -> Totals:
    """Return the sum of some counters."""
    total = Totals()
    for each in totals:
        total = total.plus(each)
    return total
