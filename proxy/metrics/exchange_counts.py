"""Counts of exchanges, filled from their records when they end: plain numbers of our own, read at each scrape.

The counters of prometheus-client take a lock and a dictionary of labels for each
count, which would cost several times as much as all of this (decision 025).
"""

from __future__ import annotations

from collections import Counter

from proxy.exchange.record import Exchange
from proxy.metrics.labels import NONE, OTHER, cause_label, code_label, hold_label, method_label
from ws_service.net.histogram import HTTP_BUCKETS, Histogram

MAX_ROUTES = 64
"""Pairs of upstream and route with series of their own; the rest is one more pair. Each has two histograms."""

MAX_REQUEST_SERIES = 2000
"""Series of ``dashws_http_requests_total``; beyond that only the code is told apart."""

MAX_UPSTREAMS = 32
"""Upstreams with series of their own in the counts of WebSockets and holds. A reload may bring others each time."""

_BATCH = 64
"""Times that go into a histogram together, or fewer when it is read. One by one each takes 0.6 µs more: what counts is
not in the processor's caches then (measured)."""

TUNNEL, HANDOFF = "tunnel", "handoff"
"""How a WebSocket goes: through this process, or not."""


class _Route:
    """The times of one pair of upstream and route: in histograms, and in lists what goes there with the next batch."""

    __slots__ = ("_durations", "_first_bytes", "labels", "new_durations", "new_first_bytes")

    def __init__(self, labels: tuple[str, str]) -> None:
        self.labels = labels
        self.new_durations: list[float] = []
        self.new_first_bytes: list[float] = []
        self._durations = Histogram(HTTP_BUCKETS)
        self._first_bytes = Histogram(HTTP_BUCKETS)

    def settle(self) -> tuple[Histogram, Histogram]:
        """Put what is in the lists into the histograms, and return these: of durations, and of times to first bytes."""
        for times, histogram in ((self.new_durations, self._durations), (self.new_first_bytes, self._first_bytes)):
            for time in times:
                histogram.add(time)
            times.clear()
        return self._durations, self._first_bytes


class _Series:
    """The count of one series of requests, and the times of its route."""

    __slots__ = ("count", "route")

    def __init__(self, route: _Route) -> None:
        self.count = 0
        self.route = route


class ExchangeCounts:
    """What has become of all exchanges since the start of the process.

    ``opened``: WebSockets by (upstream, path mode). ``closed``: those that have ended, by (upstream, path mode, cause).
    ``holds``: requests that had to wait for an upstream, by (upstream, result). ``limit_hits``: exchanges by the limit
    that ended them. ``received``, ``sent``: bytes from and to clients, of exchanges that have ended.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._known: dict[tuple[str, str, str, int], _Series] = {}  # by what is in the record; no longer than the other
        self._routes: dict[tuple[str, str], _Route] = {}
        self._upstreams: set[str] = set()
        self.opened: Counter[tuple[str, str]] = Counter()
        self.closed: Counter[tuple[str, str, str]] = Counter()
        self.holds: Counter[tuple[str, str]] = Counter()
        self.limit_hits: Counter[str] = Counter()
        self.received = self.sent = 0

    def observe(self, x: Exchange) -> None:
        """Count a WebSocket that has opened, or an exchange that has ended."""
        if x.ended is None:
            self._websocket_opened(x)
            return
        self.received += x.received
        self.sent += x.sent
        if x.is_tunnel or x.is_handed_off:
            self.closed[self._upstream(x), _mode(x), cause_label(x.outcome)] += 1
            if x.status == 101:
                return  # one that the app has refused is a request with a response
        series = self._known.get((x.upstream, x.route, x.method, x.status)) or self._series_of(x)
        series.count += 1
        route = series.route
        if x.responded is not None:
            route.new_first_bytes.append(x.responded - x.began)
        route.new_durations.append(x.ended - x.began)
        if len(route.new_durations) >= _BATCH:
            route.settle()
        if x.held is not None:
            self.holds[self._upstream(x), hold_label(x.outcome, has_opened=False)] += 1
        if x.limit:
            self.limit_hits[x.limit] += 1

    @property
    def requests(self) -> list[tuple[tuple[str, str, str, str], int]]:
        """Each upstream, route, method and code, and how many requests have ended with them."""
        return [(labels, series.count) for labels, series in self._series.items()]

    @property
    def routes(self) -> list[tuple[tuple[str, str], Histogram, Histogram]]:
        """Each upstream and route, with the durations of its requests and the times to their first byte, in seconds."""
        return [(route.labels, *route.settle()) for route in self._routes.values()]

    def open_tunnels(self) -> dict[str, int]:
        """Return how many tunnels are open, by upstream."""
        is_open: Counter[str] = Counter()
        for (upstream, mode), count in self.opened.items():
            if mode == TUNNEL:
                is_open[upstream] += count
        for (upstream, mode, _), count in self.closed.items():
            if mode == TUNNEL:
                is_open[upstream] -= count
        return dict(is_open)

    # -- inside

    def _websocket_opened(self, x: Exchange) -> None:
        upstream = self._upstream(x)
        self.opened[upstream, _mode(x)] += 1
        if x.held is not None:
            self.holds[upstream, hold_label(x.outcome, has_opened=True)] += 1

    def _upstream(self, x: Exchange) -> str:
        name = x.upstream or NONE
        if name not in self._upstreams:
            if len(self._upstreams) >= MAX_UPSTREAMS:
                return OTHER
            self._upstreams.add(name)
        return name

    def _series_of(self, x: Exchange) -> _Series:
        """Return the series of an exchange; a new one as long as there may be more."""
        route = self._route_of(x.upstream or NONE, x.route or NONE)
        method, code = method_label(x.method), code_label(x.status)
        labels = (*route.labels, method, code)
        series = self._series.get(labels)
        if series is None:
            if len(self._series) >= MAX_REQUEST_SERIES:
                labels = (OTHER, OTHER, OTHER, code)
            series = self._series.setdefault(labels, _Series(route))
        if method == x.method and code == str(x.status) and len(self._known) < MAX_REQUEST_SERIES:
            self._known[x.upstream, x.route, x.method, x.status] = series
        return series

    def _route_of(self, upstream: str, name: str) -> _Route:
        labels = (upstream, name)
        if labels not in self._routes and len(self._routes) >= MAX_ROUTES:
            labels = (OTHER, OTHER)
        return self._routes.setdefault(labels, _Route(labels))


def _mode(x: Exchange) -> str:
    return HANDOFF if x.is_handed_off else TUNNEL
