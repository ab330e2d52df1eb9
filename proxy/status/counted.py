"""What has been counted, as the status needs it: the counters of the metrics, by route and in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from proxy.metrics.collector import Parts
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
    first_bytes = {
        labels: tuple(above - below for below, above in pairwise((0, *(count for _, count in histogram.buckets))))
        for labels, _, histogram in counts.routes
    }
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


def bytes_passed(parts: Parts) -> tuple[int, int]:
    """Return the bytes from clients, and to clients, since the start: of bodies, and of tunnels. Those of sockets that
    were handed over do not pass through this process."""
    tunnels, counts = parts.gateway.websockets.records, parts.counts
    running = [exchange for exchange in parts.lifecycle.in_flight if not exchange.is_tunnel]
    return (
        counts.received + sum(x.received for x in running) + sum(tunnel.bytes_from_client for tunnel in tunnels),
        counts.sent + sum(x.sent for x in running) + sum(tunnel.bytes_from_upstream for tunnel in tunnels),
    )


def limit_hits(parts: Parts) -> Mapping[str, int]:
    """Return how often each limit was hit since the start."""
    return parts.limits.hits + parts.counts.limit_hits
