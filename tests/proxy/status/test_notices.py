"""What needs attention, and what to do about it."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.status.notices import Notice, notices

UP = {"name": "dash", "state": "up", "for_seconds": 5.0, "why": "", "in_flight": 0, "waiting": 0, "addresses": []}


def status(**parts: dict[str, Any]) -> dict[str, Any]:
    """Return a status of a gateway that is well, but for some parts."""
    made: dict[str, Any] = {
        "gateway": {"state": "ready", "most_connections": 100, "reload_failed": False},
        "now": {"connections": 3, "late": 0.001},
        "minute": {"requests": 1000, "failed": 0, "limits": {}},
        "handoff": {"absence": ""},
        "upstream": {},
        "drain": None,
        "dash": {"warnings": []},
        "service": {},
    }
    for name, values in parts.items():
        made[name] = (made[name] or {}) | values
    made["upstreams"] = [UP | made["upstream"]]
    made["services"] = [{"url": "http://ws", "problem": ""} | made["service"]]
    return made


def one(**parts: dict[str, Any]) -> Notice:
    (found,) = notices(status(**parts))
    return found


def test_a_gateway_that_is_well_needs_no_attention() -> None:
    assert notices(status()) == []


@pytest.mark.parametrize(
    ("parts", "level", "what", "advice"),
    [
        (
            {"upstream": {"state": "unreachable", "why": "connection refused", "waiting": 12}},
            "error",
            "The upstream dash is unreachable for 5 s: connection refused.",
            "get 503 then; 12 do now.",
        ),
        (
            {"upstream": {"state": "degraded", "why": "GET /health answered 500"}},
            "warning",
            "The upstream dash is degraded for 5 s: GET /health answered 500.",
            "gateway.health.dash",
        ),
        (
            {"upstream": {"waiting": 3, "in_flight": 20}},
            "warning",
            "3 requests wait for dash, which has all it may have (20).",
            "gateway.timeouts.queue",
        ),
        (
            {
                "upstream": {
                    "addresses": [{"state": "unreachable", "url": "http://b"}, {"state": "up", "url": "http://a"}]
                }
            },
            "warning",
            "http://b of dash is unreachable.",
            "the other addresses",
        ),
        (
            {"dash": {"warnings": ["gateway.dash_prefix is /, and Dash's page says /app/; write /app/, or auto"]}},
            "warning",
            "gateway.dash_prefix is /, and Dash's page says /app/.",
            "Write /app/, or auto.",
        ),
        ({"gateway": {"reload_failed": True}}, "error", "The last reload failed.", "The log has each mistake"),
        (
            {"gateway": {"state": "giving notice"}},
            "warning",
            "It is going to stop, and /readyz says so.",
            "served until",
        ),
        (
            {"gateway": {"state": "draining"}, "drain": {"seconds": 7.4}},
            "warning",
            "It is stopping: clients are asked to leave.",
            "in 7 s is cut",
        ),
        ({"now": {"connections": 90}}, "warning", "90 of 100 connections are open.", "gateway.limits.connections"),
        ({"now": {"late": 0.5}}, "warning", "The event loop was late by 0.50 s in the last minute.", "out of CPU"),
        (
            {"minute": {"failed": 4}},
            "warning",
            "4 of 1000 requests of the last minute got a 5xx (0.4 %).",
            "The table of routes",
        ),
        ({"minute": {"failed": 50}}, "error", "50 of 1000 requests of the last minute got a 5xx (5 %).", "access log"),
        ({"minute": {"failed": 1000}}, "error", "1000 of 1000 requests of the last minute got a 5xx (100 %).", "log"),
        (
            {"minute": {"limits": {"websockets_per_client": 2}}},
            "warning",
            "The limit websockets_per_client was hit 2 times in the last minute.",
            "gateway.limits.websockets_per_client",
        ),
        (
            {"handoff": {"absence": "there is no socket file x; is it running?"}},
            "warning",
            "No service takes WebSockets over.",
            "There is no socket file x; is it running? Until then",
        ),
        (
            {"service": {"hub": {"broker": "redis", "is_connected": False}, "missing": []}},
            "error",
            "The hub at http://ws has no connection to its broker (redis).",
            "nothing is published",
        ),
        (
            {"service": {"hub": None, "missing": [1, 3]}},
            "warning",
            "Worker 1, 3 of the service at http://ws is silent.",
            "The service's log",
        ),
    ],
)
def test_each_has_what_was_seen_and_what_to_do(parts: dict[str, Any], level: str, what: str, advice: str) -> None:
    found = one(**parts)
    assert (found.level, found.what) == (level, what)
    assert advice in found.advice


def test_an_upstream_that_is_unreachable_is_told_once_and_not_for_each_address() -> None:
    addresses = [{"state": "unreachable", "url": "http://a"}]
    assert len(notices(status(upstream={"state": "unreachable", "addresses": addresses}))) == 1


def test_errors_come_first() -> None:
    found = notices(status(now={"late": 2.0}, upstream={"state": "unreachable"}, minute={"failed": 1}))
    assert [notice.level for notice in found] == ["error", "warning", "warning"]
