"""What takes several parts of the gateway to tell."""

from __future__ import annotations

from proxy.exchange.record import Exchange
from tests.proxy.status.stand_ins import make_parts, open_tunnels, tunnels


async def test_open_tunnels_are_no_requests_in_flight() -> None:
    parts = make_parts()
    parts.lifecycle.enter(Exchange("id", 0.0, 1.0))
    open_tunnels(parts, tunnels(3))
    assert parts.requests_in_flight == 1


async def test_bytes_are_those_that_have_passed_until_now() -> None:
    parts = make_parts()
    parts.counts.observe(Exchange("id", 0.0, 1.0, ended=2.0, received=100, sent=200))
    parts.lifecycle.enter(Exchange("id", 0.0, 1.0, received=5, sent=7))
    open_tunnels(parts, tunnels(3))
    assert parts.bytes_passed == (100 + 5 + 3, 200 + 7 + 30)


async def test_limits_that_were_hit_with_and_without_an_exchange_are_added() -> None:
    parts = make_parts()
    parts.limits.hits["connections"] += 2
    parts.counts.observe(Exchange("id", 0.0, 1.0, status=413, ended=2.0, limit="body"))
    assert parts.limit_hits == {"connections": 2, "body": 1}
