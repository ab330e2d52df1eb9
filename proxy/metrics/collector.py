"""All metrics of the gateway, collected when Prometheus asks: the counts of exchanges, and what each part knows anyway.

docs/metrics.md has each metric for operators; a test compares it, and the dashboard, with what is here.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.config import Limits
from proxy.metrics.exchange_counts import HANDOFF, TUNNEL
from proxy.metrics.parts import Parts
from proxy.upstream.health import State
from ws_service.net.histogram import Histogram
from ws_service.version import version

_LIMITS = [name for name in Limits.model_fields if name != "fields"]
"""The settings that can be hit; too many ``fields`` are counted as ``header``, because the status is the same."""


def make_registry(parts: Parts) -> CollectorRegistry:
    """Return a registry of its own with the gateway's metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GatewayCollector(parts))
    return registry


class GatewayCollector(Collector):
    """Reads the parts of the gateway; collecting changes and tries nothing."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._version = version()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its present values."""
        yield from self._requests()
        yield from self._websockets()
        yield from self._upstreams()
        yield from self._limits()
        yield from self._process()

    # -- inside

    def _requests(self) -> Iterator[Metric]:
        parts, counts = self._parts, self._parts.counts
        yield _counter(
            "dashws_http_requests",
            "Requests that have ended. A WebSocket that opens is counted in dashws_websocket_opened_total instead.",
            ("upstream", "route", "method", "code"),
            counts.requests,
        )
        routes = counts.routes
        yield _histogram(
            "dashws_http_request_duration_seconds",
            "From the first byte of a request's head to the end of its response.",
            ("upstream", "route"),
            [(labels, durations) for labels, durations, _ in routes],
        )
        yield _histogram(
            "dashws_http_response_first_byte_seconds",
            "From the first byte of a request's head to the first byte of its response.",
            ("upstream", "route"),
            [(labels, first_bytes) for labels, _, first_bytes in routes],
        )
        yield _gauge(
            "dashws_http_requests_in_flight",
            "Requests that have not ended; open WebSockets are not counted.",
            parts.requests_in_flight,
        )
        received, sent = parts.bytes_passed
        yield _counter(
            "dashws_bytes",
            "Bytes of bodies and of WebSockets, from clients (received) and to them (sent). Those of a socket that was"
            " handed over are known when it ends.",
            ("direction",),
            [(("received",), received), (("sent",), sent)],
        )
        yield _counter(
            "dashws_holds",
            "Requests and handshakes that waited for an upstream that was unreachable, by what became of them.",
            ("upstream", "result"),
            counts.holds.items(),
        )

    def _websockets(self) -> Iterator[Metric]:
        counts, handoff = self._parts.counts, self._parts.gateway.handoff
        is_open = [((upstream, TUNNEL), count) for upstream, count in counts.open_tunnels().items()]
        if handoff.is_on:
            is_open.append((("ws", HANDOFF), handoff.live))
        labels = ("upstream", "path_mode")
        yield _gauge_of(
            "dashws_websocket_open",
            "WebSockets that are open: through this process (tunnel), or at the service (handoff), where those that an "
            "earlier process has handed over are counted too.",
            labels,
            is_open,
        )
        yield _counter(
            "dashws_websocket_opened",
            "WebSockets that have opened. One that is handed over is counted before its app has answered.",
            labels,
            counts.opened.items(),
        )
        yield _counter(
            "dashws_websocket_closed",
            "WebSockets that have ended, by the outcome in the access log; refused: it was handed over, and its app has"
            " not accepted it.",
            (*labels, "cause"),
            counts.closed.items(),
        )
        yield _counter(
            "dashws_handoffs",
            "WebSockets for ws that were handed over to the service, or why they went through a tunnel.",
            ("result",),
            [
                (("handed_over",), handoff.handed_over),
                *(((cause.replace(" ", "_"),), count) for cause, count in handoff.fallbacks.items()),
            ],
        )

    def _upstreams(self) -> Iterator[Metric]:
        upstreams = self._parts.gateway.runtime.upstreams
        addresses = [((name, one.url), one) for name, upstream in upstreams.items() for one in upstream.addresses]
        labels = ("upstream", "address")
        yield _gauge_of(
            "dashws_upstream_up",
            "1: the address takes connections, as far as is known. 0: it is unreachable.",
            labels,
            [(key, not one.health.is_unreachable) for key, one in addresses],
        )
        yield _gauge_of(
            "dashws_upstream_degraded",
            "1: the address takes connections, and its health path fails.",
            labels,
            [(key, one.health.state is State.DEGRADED) for key, one in addresses],
        )
        yield _gauge_of(
            "dashws_upstream_requests_in_flight",
            "Requests that the address has.",
            labels,
            [(key, one.slots.taken) for key, one in addresses],
        )
        yield _gauge_of(
            "dashws_upstream_requests_waiting",
            "Requests that wait for the upstream, because it has as many as it may have, or is unreachable.",
            ("upstream",),
            [((name,), upstream.queue.waiting) for name, upstream in upstreams.items()],
        )

    def _limits(self) -> Iterator[Metric]:
        parts = self._parts
        hits = parts.limit_hits
        yield _counter(
            "dashws_limit_hits",
            "How often a limit of gateway.limits was exceeded: by a request, a handshake or a connection.",
            ("limit",),
            [((name,), hits[name]) for name in _LIMITS],
        )
        limits = parts.limits
        yield _gauge("dashws_connections_open", "Connections of clients.", limits.connections.total)
        yield _gauge(
            "dashws_connections_capacity",
            "Connections of clients that there may be at a time (gateway.limits.connections, or what the limit of open "
            "files leaves).",
            parts.limiter.capacity,
        )
        yield _gauge(
            "dashws_uploads_in_flight",
            "Request bodies that are being sent to an upstream while they arrive.",
            parts.gateway.uploads.total,
        )
        yield _gauge(
            "dashws_buffered_bytes", "Bytes that wait on connections of clients that are stuck.", limits.buffered.total
        )

    def _process(self) -> Iterator[Metric]:
        parts = self._parts
        yield _gauge("dashws_ready", "1: new clients may come (/readyz answers 200).", parts.lifecycle.is_ready)
        yield _gauge(
            "dashws_config_last_reload_successful",
            "1: the configuration that was read last is in force; that of the start counts too. 0: it was refused.",
            parts.last_reload.is_successful,
        )
        yield _gauge(
            "dashws_config_last_reload_success_timestamp_seconds",
            "When a configuration was last put in force.",
            parts.last_reload.succeeded_at,
        )
        yield _histogram(
            "dashws_event_loop_lag_seconds",
            "How much later than it is due a callback runs that is due twice a second.",
            (),
            [((), parts.lag.lags)],
        )
        yield _gauge_of(
            "dashws_build_info",
            "The versions of the gateway and of Python; always 1.",
            ("version", "python"),
            [((self._version, platform.python_version()), 1)],
        )


Values = Iterable[tuple[tuple[str, ...], float]]
"""Values by their labels' values."""


def _counter(name: str, documentation: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _gauge_of(name: str, documentation: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, documentation: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for key, one in values:
        family.add_metric(key, one.buckets, one.sum)
    return family
