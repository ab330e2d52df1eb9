"""What is known of an upstream, for the status and for readiness."""

from __future__ import annotations

from proxy.config import Settings, UpstreamAddress
from proxy.status.upstream_state import upstream_state
from proxy.upstream.upstream import Upstream


async def test_an_upstream_is_in_the_state_of_the_address_that_is_best_off() -> None:
    upstream = Upstream("dash", [UpstreamAddress(url=url) for url in ("http://a:1", "http://b:2")], Settings())
    upstream.addresses[0].health.missed("connection refused")
    upstream.addresses[1].sockets = 3
    told = upstream_state(upstream)
    ages = [told.pop("for_seconds"), *(one.pop("for_seconds") for one in told["addresses"])]
    assert all(0 <= age < 60 for age in ages)
    assert told == {
        "state": "unknown",
        "why": "",
        "in_flight": 0,
        "waiting": 0,
        "addresses": [
            {"url": "http://a:1", "state": "unreachable", "why": "connection refused", "in_flight": 0, "sockets": 0},
            {"url": "http://b:2", "state": "unknown", "why": "", "in_flight": 0, "sockets": 3},
        ],
    }
