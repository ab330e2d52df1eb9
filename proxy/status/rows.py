"""Rows of the status: upstreams with their addresses, and routes, each with what was counted of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from proxy.config import Route
from proxy.status.sampler import Minute
from proxy.status.samples import Totals, quantile
from proxy.status.upstream_state import upstream_state
from proxy.upstream.upstream import Upstream

_BUILT_IN = {
    "dash socket": "handshakes at …/_dash-ws-callback",
    "hub events": "requests for …/connection/uni_sse",
    "websocket": "all other WebSocket handshakes",
    "http": "all other requests",
    "-": "requests that were refused before",
}
"""The rules that are built in, in the order in which they are tried, and what they take."""


def upstream_rows(upstreams: Iterable[Upstream], minute: Minute, bounds: Sequence[float]) -> list[dict[str, Any]]:
    """Return a row for each upstream. minute: what was counted. bounds: of the histogram's buckets, in seconds."""
    return [
        {
            "name": upstream.name,
            **upstream_state(upstream),
            **_rates(minute.of(upstream.name), minute.seconds, bounds),
        }
        for upstream in upstreams
    ]


def route_rows(
    routes: Sequence[Route], totals: Mapping[tuple[str, str], Totals], minute: Minute, bounds: Sequence[float]
) -> list[dict[str, Any]]:
    """Return a row for each route of the configuration, and for each built-in rule by which a request went.

    totals: what was counted since the start; the other arguments are those of ``upstream_rows``.
    """
    takes = {f"routes[{index}]": takes_of(route) for index, route in enumerate(routes)} | _BUILT_IN
    to = {f"routes[{index}]": route.to for index, route in enumerate(routes)}
    keys = {(to[name], name) for name in to} | set(totals)
    order = {name: index for index, name in enumerate(takes)}
    return [
        {
            "name": name,
            "takes": takes.get(name, "a rule of an earlier configuration"),
            "upstream": upstream,
            "requests": totals.get((upstream, name), Totals()).requests,
            **_rates(minute.by_route.get((upstream, name), Totals()), minute.seconds, bounds),
        }
        for upstream, name in sorted(keys, key=lambda key: (order.get(key[1], len(order)), key))
    ]


def takes_of(route: Route) -> str:
    """Say which requests a route takes."""
    conditions = [f"path {route.path}" if route.path else "", f"host {route.host}" if route.host else ""]
    conditions.append(f"subprotocol {route.subprotocol}" if route.subprotocol else "")
    return ", ".join(filter(None, conditions)) or "everything"


def _rates(totals: Totals, seconds: float, bounds: Sequence[float]) -> dict[str, Any]:
    return {
        "requests_per_second": _rate(totals.requests, seconds),
        "refused_per_second": _rate(totals.refused, seconds),
        "failed_per_second": _rate(totals.failed, seconds),
        "p50": quantile(totals.first_byte, bounds, 0.5),
        "p95": quantile(totals.first_byte, bounds, 0.95),
    }


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 2) if seconds >= 1 else None
