"""The metrics of one process of the service, read when they are asked for.

The names of the hub's are those of Centrifugo with another prefix, so that queries translate (centrifugal.dev,
"Observability"). Labels are bounded by the configuration and the protocol.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from ws_service.hub.assembly import Assembled
from ws_service.hub.counts import Counts
from ws_service.hub.topics import SlowPolicy
from ws_service.metrics.socket_rows import kind_of
from ws_service.net.histogram import Histogram
from ws_service.version import version
from ws_service.websocket.resources import Resources

_KINDS = [(endpoint, way) for endpoint in ("app", "hub") for way in ("handoff", "listener")]

Values = Iterable[tuple[dict[str, str], float]]
"""Values with their labels."""


def families(
    resources: Resources, hub: Assembled | None, loop_lags: Histogram, broker_lag: float | None
) -> Iterator[Metric]:
    """Return all metrics but those that every process has.

    loop_lags: of the event loop, in seconds. broker_lag: seconds that the broker took to answer; None: it has not.
    """
    versions = {"version": version(), "python": platform.python_version()}
    yield _gauge("dashws_build_info", "The versions of the service and of Python; always 1.", [(versions, 1)])
    yield _histogram(
        "dashws_event_loop_lag_seconds", "How much later than it is due a callback of the event loop runs.", loop_lags
    )
    yield from _sockets(resources)
    if hub is not None:
        yield from _hub(hub)
        yield from _broker(hub, broker_lag)
        yield from _publications(hub.hub.counts)
        yield from _clients(hub.hub.counts)


def _sockets(resources: Resources) -> Iterator[Metric]:
    is_open: Counter[tuple[str, str]] = Counter()
    for connection, count in Counter(type(each) for each in resources.sockets if each.status == 101).items():
        is_open[kind_of(connection)] += count
    opened = Counter(is_open)
    for connection, count in resources.closed.items():
        opened[kind_of(connection)] += count
    yield _gauge(
        "dashws_service_websocket_open",
        "WebSockets that are open, by what they lead to, and by whether a gateway has handed them over.",
        [({"endpoint": kind[0], "way": kind[1]}, is_open[kind]) for kind in _KINDS],
    )
    yield _counter(
        "dashws_service_websocket_opened",
        "WebSockets that have opened.",
        [({"endpoint": kind[0], "way": kind[1]}, opened[kind]) for kind in _KINDS],
    )


def _hub(hub: Assembled) -> Iterator[Metric]:
    topics = hub.hub.topics
    for name, documentation, value in (
        ("clients", "Clients of the hub: WebSockets and event streams.", hub.hub.clients),
        ("users", "Users of the hub; clients without a name count as one.", hub.hub.users),
        ("subscriptions", "Subscriptions of clients to topics.", sum(topics.values())),
        ("channels", "Topics that have subscriptions.", len(topics)),
        ("event_streams", "Event streams that are open.", len(hub.streams)),
    ):
        yield _gauge(f"dashws_hub_{name}", documentation, [({}, value)])


def _broker(hub: Assembled, lag: float | None) -> Iterator[Metric]:
    is_up = hub.hub.broker.is_connected and lag is not None
    yield _gauge("dashws_hub_broker_up", "1: the broker has answered just now.", [({}, is_up)])
    yield _gauge(
        "dashws_hub_broker_lag_seconds",
        "How long a message to the broker and back takes, through the connection that publications come on; asked when "
        "the metrics are.",
        [] if lag is None else [({}, lag)],
    )


def _publications(counts: Counts) -> Iterator[Metric]:
    namespaces = counts.namespaces.items()
    yield _counter(
        "dashws_hub_messages_published",
        "Publications that the broker has taken from this process, by namespace of the config.",
        [({"namespace": name}, each.published) for name, each in namespaces],
    )
    yield _counter(
        "dashws_hub_messages_delivered",
        "Publications that were given to a client's connection: written, or queued while the client does not read.",
        [({"namespace": name}, each.delivered) for name, each in namespaces],
    )
    yield _counter(
        "dashws_hub_dropped",
        "Publications that a client which does not read has not got; with disconnect, one for each client.",
        [
            ({"namespace": name, "policy": policy.value}, each.dropped[policy])
            for name, each in namespaces
            for policy in SlowPolicy
        ],
    )
    yield _histogram(
        "dashws_hub_broadcast_seconds",
        "From a message of the broker to the last of its topic's subscribers in this process.",
        counts.broadcasts,
    )


def _clients(counts: Counts) -> Iterator[Metric]:
    yield _counter(
        "dashws_hub_recover",
        "Subscriptions that asked for what they have missed; yes: they have all of it.",
        [({"recovered": text}, counts.recoveries[has]) for text, has in (("yes", True), ("no", False))],
    )
    yield _counter(
        "dashws_hub_disconnects",
        "Connections of clients that the hub has closed, by code.",
        [({"code": code}, count) for code, count in sorted(counts.disconnects.items())],
    )
    yield _counter(
        "dashws_hub_api_requests",
        "Requests to the HTTP API, each of a batch alone, by the code of the answer's error, 0 for none.",
        [
            ({"command": command, "code": str(code)}, count)
            for (command, code), count in sorted(counts.api_requests.items())
        ],
    )


def _gauge(name: str, documentation: str, values: Values) -> Metric:
    return _filled(GaugeMetricFamily(name, documentation), name, values)


def _counter(name: str, documentation: str, values: Values) -> Metric:
    return _filled(CounterMetricFamily(name, documentation), f"{name}_total", values)


def _histogram(name: str, documentation: str, one: Histogram) -> Metric:
    family = HistogramMetricFamily(name, documentation)
    family.add_metric([], one.buckets, one.sum)
    return family


def _filled(family: Metric, name: str, values: Values) -> Metric:
    for labels, value in values:
        family.add_sample(name, labels, value)
    return family
