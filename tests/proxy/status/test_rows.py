"""Rows of upstreams and of routes."""

from __future__ import annotations

from proxy.config import Route, Settings, UpstreamAddress
from proxy.status.rows import route_rows, takes_of, upstream_rows
from proxy.status.sampler import Minute
from proxy.status.samples import Totals
from proxy.upstream.upstream import Upstream

BOUNDS = (0.01, 0.1, 1.0)
MINUTE = Minute(60.0, {("dash", "http"): Totals(120, 6, 3, (0, 117, 0, 0)), ("ws", "routes[0]"): Totals(30)})


async def test_an_upstream_has_its_state_its_load_and_its_addresses() -> None:
    addresses = [UpstreamAddress(url=url) for url in ("http://a:1", "http://b:2")]
    upstream = Upstream("dash", addresses, Settings())
    upstream.addresses[0].health.missed("connection refused")
    (row,) = upstream_rows([upstream], MINUTE, BOUNDS)
    assert row.pop("for_seconds") >= 0
    rows = row.pop("addresses")
    assert row == {
        "name": "dash",
        "state": "unknown",
        "why": "",
        "in_flight": 0,
        "waiting": 0,
        "requests_per_second": 2.0,
        "refused_per_second": 0.1,
        "failed_per_second": 0.05,
        "p50": 0.05538,
        "p95": 0.09615,
    }
    assert [(one["url"], one["state"], one["why"]) for one in rows] == [
        ("http://a:1", "unreachable", "connection refused"),
        ("http://b:2", "unknown", ""),
    ]


def test_routes_come_as_they_are_tried_those_of_the_configuration_first() -> None:
    routes = [Route(path="/socket.io/", to="ws"), Route(path="/api", host="app.example", to="dash")]
    totals = {
        ("dash", "http"): Totals(500),
        ("-", "-"): Totals(2),
        ("ws", "websocket"): Totals(1),
        ("ws", "routes[0]"): Totals(90),
        ("dash", "routes[7]"): Totals(1),
    }
    rows = route_rows(routes, totals, MINUTE, BOUNDS)
    assert [(row["name"], row["takes"], row["upstream"], row["requests"]) for row in rows] == [
        ("routes[0]", "path /socket.io/", "ws", 90),
        ("routes[1]", "path /api, host app.example", "dash", 0),
        ("websocket", "all other WebSocket handshakes", "ws", 1),
        ("http", "all other requests", "dash", 500),
        ("-", "requests that were refused before", "-", 2),
        ("routes[7]", "a rule of an earlier configuration", "dash", 1),
    ]
    assert rows[0]["requests_per_second"] == 0.5
    assert rows[1]["requests_per_second"] == 0.0


def test_a_rate_of_less_than_a_second_is_none() -> None:
    (row,) = route_rows([], {("dash", "http"): Totals(5)}, Minute(0.2), BOUNDS)
    assert row["requests_per_second"] is None


def test_a_route_with_no_condition_takes_everything() -> None:
    assert takes_of(Route(path="/", to="ws")) == "path /"
    assert takes_of(Route(subprotocol="graphql-ws", to="ws")) == "subprotocol graphql-ws"
