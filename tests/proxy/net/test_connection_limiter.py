"""How many connections there may be, in all and of one client."""

from __future__ import annotations

import pytest

from proxy.config import Settings
from proxy.net.client_limits import Admitted, ClientLimits, Rejected
from proxy.net.connection_limiter import ConnectionLimiter, capacity, capacity_notice


def test_a_trusted_proxy_has_no_limit_of_connections_and_a_reload_counts_at_once() -> None:
    client_limits = ClientLimits()
    settings = Settings.model_validate({"limits": {"connections_per_client": 1}, "trusted_proxies": ["10.0.0.0/8"]})
    limiter = ConnectionLimiter(client_limits, settings, 1024)
    for address in ("10.0.0.7", "10.0.0.7", "203.0.113.7"):
        assert isinstance(limiter.admit(address, 0.0), Admitted)
    assert isinstance(limiter.admit("203.0.113.7", 0.0), Rejected)
    limiter.reconfigure(Settings.model_validate({"limits": {"connections_per_client": 2, "connections": 4}}))
    assert isinstance(limiter.admit("203.0.113.7", 0.0), Admitted)
    assert isinstance(limiter.admit("10.0.0.7", 0.0), Rejected)
    assert limiter.capacity_notice == "room for 4 connections (gateway.limits.connections)"
    assert limiter.is_full
    assert limiter.connections.total == 4


# -- how many in all


@pytest.mark.parametrize(
    ("wished", "files", "most", "why"),
    [
        (None, 20000, 9968, "room for 9968 connections: 20000 files may be open, and each connection may take two"),
        (500, 20000, 500, "room for 500 connections (gateway.limits.connections)"),
        (9968, 20000, 9968, "room for 9968 connections (gateway.limits.connections)"),
        (5000, 1024, 5000, "room for 5000 connections (gateway.limits.connections), of which 480 may have an upstream"),
        (None, 64, 24, "room for 24 connections: 64 files may be open"),
        (None, 1, 1, "room for 1 connections"),
    ],
)
def test_how_many_connections_there_may_be_and_why(wished: int | None, files: int, most: int, why: str) -> None:
    number, sentence = capacity(wished, files), capacity_notice(wished, files)
    assert number == most
    assert sentence.startswith(why)
