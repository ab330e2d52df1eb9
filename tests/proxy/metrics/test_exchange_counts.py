"""Counts of exchanges: right, and few whatever clients, upstreams and the configuration write."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import Outcome
from proxy.exchange.record import Exchange
from proxy.metrics.exchange_counts import MAX_REQUEST_SERIES, MAX_ROUTES, ExchangeCounts


def exchange(**fields: Any) -> Exchange:
    record = Exchange(id="e1", when=0.0, began=100.0)
    values = {
        "method": "GET",
        "status": 200,
        "upstream": "dash",
        "route": "http",
        "outcome": Outcome.SERVED,
        "ended": 100.25,
        "responded": 100.125,
    }
    for name, value in (values | fields).items():
        setattr(record, name, value)
    return record


def observed(*exchanges: Exchange) -> ExchangeCounts:
    counts = ExchangeCounts()
    for one in exchanges:
        counts.observe(one)
    return counts


def test_a_request_is_counted_by_upstream_route_method_and_code() -> None:
    counts = observed(exchange(), exchange(), exchange(status=503), exchange(method="POST", upstream="ws"))
    assert dict(counts.requests) == {
        ("dash", "http", "GET", "200"): 2,
        ("dash", "http", "GET", "503"): 1,
        ("ws", "http", "POST", "200"): 1,
    }


def test_its_duration_and_its_first_byte_are_measured_apart() -> None:
    ((labels, durations, first_bytes),) = observed(exchange(), exchange(responded=None)).routes
    assert labels == ("dash", "http")
    assert (durations.count, durations.sum) == (2, 0.5)
    assert (first_bytes.count, first_bytes.sum) == (1, 0.125)


def test_what_the_gateway_answers_itself_has_no_upstream() -> None:
    counts = observed(exchange(upstream="", route="", method="-", status=400))
    assert dict(counts.requests) == {("-", "-", "_OTHER", "400"): 1}


@pytest.mark.parametrize(("kind", "mode"), [("is_tunnel", "tunnel"), ("is_handed_off", "handoff")])
def test_a_websocket_is_counted_when_it_opens_and_when_it_closes_and_is_no_request(kind: str, mode: str) -> None:
    counts = observed(exchange(upstream="ws", ended=None, **{kind: True}))
    assert counts.opened == {("ws", mode): 1}
    assert counts.open_tunnels() == ({"ws": 1} if mode == "tunnel" else {})
    counts.observe(exchange(upstream="ws", status=101, outcome=Outcome.CLIENT_CLOSED, **{kind: True}))
    assert counts.closed == {("ws", mode, "client_closed"): 1}
    assert counts.open_tunnels() == ({"ws": 0} if mode == "tunnel" else {})
    assert not list(counts.requests)


def test_a_handshake_that_the_app_refuses_after_the_hand_off_is_a_request_too() -> None:
    counts = observed(exchange(upstream="ws", status=403, is_handed_off=True))
    assert counts.closed == {("ws", "handoff", "refused"): 1}
    assert dict(counts.requests) == {("ws", "http", "GET", "403"): 1}


def test_a_hold_is_counted_once_by_what_became_of_it() -> None:
    tunnel = exchange(upstream="ws", is_tunnel=True, held=1.0, ended=None)
    counts = observed(exchange(held=0.5), exchange(held=9.0, outcome=Outcome.UPSTREAM_UNREACHABLE), tunnel)
    counts.observe(exchange(upstream="ws", is_tunnel=True, held=1.0, status=101, outcome=Outcome.CLIENT_CLOSED))
    assert counts.holds == {("dash", "resumed"): 1, ("dash", "timed_out"): 1, ("ws", "resumed"): 1}


def test_the_limit_that_ended_it_is_counted() -> None:
    assert observed(exchange(limit="body", status=413), exchange()).limit_hits == {"body": 1}


def test_records_are_kept_for_a_batch_and_counted_before_the_counts_are_read() -> None:
    counts = ExchangeCounts()
    for _ in range(300):
        counts.observe(exchange())
        assert len(counts._ended) < 256
    assert dict(counts.requests) == {("dash", "http", "GET", "200"): 300}
    assert counts._ended == []


def test_bytes_are_added_up() -> None:
    counts = observed(exchange(received=1, sent=2), exchange(received=10, sent=20, is_tunnel=True, status=101))
    assert (counts.received, counts.sent) == (11, 22)


def test_hostile_input_makes_few_series_and_every_request_is_still_counted() -> None:
    """Methods, codes and clients without end, more routes than any configuration needs, names that change."""
    counts = ExchangeCounts()
    total = 60_000
    for n in range(total):
        counts.observe(
            exchange(
                method=("GET", "POST", f"M{n}")[n % 3],
                status=n % 1000,
                route=f"routes[{n % 997}]",
                upstream=f"u{n % 101}",
                client=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
                target=f"/{n}",
                held=1.0 if n % 2 else None,
                is_tunnel=n % 7 == 0,
                outcome=list(Outcome)[n % len(Outcome)],
            )
        )
    requests = dict(counts.requests)
    assert len(requests) <= MAX_REQUEST_SERIES + 75, "beyond the limit only the code is told apart"
    assert len(counts._known) <= MAX_REQUEST_SERIES
    assert len(counts.routes) <= MAX_ROUTES + 1
    assert len(counts.holds) <= 33 * 6
    assert len(counts.closed) <= 33 * len(Outcome)
    assert sum(requests.values()) == sum(durations.count for _, durations, _ in counts.routes)
    websockets_that_opened = sum(1 for n in range(total) if n % 7 == 0 and n % 1000 == 101)
    assert sum(requests.values()) == total - websockets_that_opened
