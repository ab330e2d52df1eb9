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

_BATCH = 256
"""Exchanges that are counted together, or fewer when the counts are read. One by one each takes 1.5 µs more, and 0.4 µs
where only its times wait: what counts is not in the processor's caches then (measured)."""

TUNNEL, HANDOFF = "tunnel", "handoff"
"""How a WebSocket goes: through this process, or not."""


class _Route:
    """The times of one pair of upstream and route."""

    __slots__ = ("durations", "first_bytes", "labels")

    def __init__(self, labels: tuple[str, str]) -> None:
        self.labels = labels
        self.durations = Histogram(HTTP_BUCKETS)
        self.first_bytes = Histogram(HTTP_BUCKETS)


class _Series:
    """The count of one series of requests, and the times of its route."""

    __slots__ = ("add_duration", "add_first_byte", "count")

    def __init__(self, route: _Route) -> None:
        self.count = 0
        self.add_duration = route.durations.add
        self.add_first_byte = route.first_bytes.add


class ExchangeCounts:
    """What has become of all exchanges since the start of the process.

    ``opened``: WebSockets by (upstream, path mode).
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._known: dict[tuple[str, str, str, int], _Series] = {}  # by what is in the record; no longer than the other
        self._routes: dict[tuple[str, str], _Route] = {}
        self._upstreams: set[str] = set()
        self._ended: list[Exchange] = []  # not counted yet
        self.opened: Counter[tuple[str, str]] = Counter()
        self._closed: Counter[tuple[str, str, str]] = Counter()
        self._holds: Counter[tuple[str, str]] = Counter()
        self._limit_hits: Counter[str] = Counter()
        self._received = self._sent = 0

    def observe(self, exchange: Exchange) -> None:
        """Count a WebSocket that has opened, or note an exchange that has ended, to be counted with others."""
        if exchange.ended is None:
            self._websocket_opened(exchange)
            return
        ended = self._ended
        ended.append(exchange)
        if len(ended) >= _BATCH:
            self._settle()

    @property
    def closed(self) -> Counter[tuple[str, str, str]]:
        """WebSockets that have ended, by (upstream, path mode, cause)."""
        self._settle()
        return self._closed

    @property
    def holds(self) -> Counter[tuple[str, str]]:
        """Requests that had to wait for an upstream, by (upstream, result)."""
        self._settle()
        return self._holds

    @property
    def limit_hits(self) -> Counter[str]:
        """Exchanges by the limit that ended them."""
        self._settle()
        return self._limit_hits

    @property
    def received(self) -> int:
        """Bytes from clients, of exchanges that have ended."""
        self._settle()
        return self._received

    @property
    def sent(self) -> int:
        """Bytes to clients, of exchanges that have ended."""
        self._settle()
        return self._sent

    @property
    def requests(self) -> list[tuple[tuple[str, str, str, str], int]]:
        """Each upstream, route, method and code, and how many requests have ended with them."""
        self._settle()
        return [(labels, series.count) for labels, series in self._series.items()]

    @property
    def routes(self) -> list[tuple[tuple[str, str], Histogram, Histogram]]:
        """Each upstream and route, with the durations of its requests and the times to their first byte, in seconds."""
        self._settle()
        return [(route.labels, route.durations, route.first_bytes) for route in self._routes.values()]

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

    def _settle(self) -> None:
        """Count what has ended."""
        ended, self._ended = self._ended, []
        known = self._known
        for x in ended:
            self._received += x.received
            self._sent += x.sent
            if x.is_tunnel or x.is_handed_off:
                self._closed[self._upstream(x), _mode(x), cause_label(x.outcome)] += 1
                if x.status == 101:
                    continue  # one that the app has refused is a request with a response
            series = known.get((x.upstream, x.route, x.method, x.status)) or self._series_of(x)
            series.count += 1
            series.add_duration(x.duration)
            if x.responded is not None:
                series.add_first_byte(x.responded - x.began)
            if x.held is not None:
                self._holds[self._upstream(x), hold_label(x.outcome, has_opened=False)] += 1
            if x.limit:
                self._limit_hits[x.limit] += 1

    def _websocket_opened(self, x: Exchange) -> None:
        upstream = self._upstream(x)
        self.opened[upstream, _mode(x)] += 1
        if x.held is not None:
            self._holds[upstream, hold_label(x.outcome, has_opened=True)] += 1

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
