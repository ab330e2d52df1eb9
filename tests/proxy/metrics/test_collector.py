"""What Prometheus is told of the gateway, and that the documents tell the same."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from proxy.exchange.record import Exchange
from proxy.metrics.collector import GatewayCollector, make_registry
from proxy.metrics.exchange_counts import ExchangeCounts
from proxy.metrics.last_reload import LastReload
from proxy.metrics.parts import Parts
from proxy.net.client_limits import ClientLimits
from proxy.net.connection_limiter import ConnectionLimiter
from tests.processes import ROOT, free_port
from tests.proxy.listening import HANDSHAKE, SWITCH, Listening, listening
from tests.proxy.origin import answering, origin
from ws_service.net.loop_lag import LoopLag

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def parts_of(rig: Listening) -> Parts:
    counts, limits = ExchangeCounts(), ClientLimits()
    limiter = ConnectionLimiter(limits, rig.runtime.settings, 1024)
    return Parts(counts, LoopLag(), LastReload(lambda: 7.0), rig.gateway, rig.lifecycle, limits, limiter)


@asynccontextmanager
async def measured(url: str, **values: Any) -> AsyncIterator[tuple[Listening, CollectorRegistry]]:
    """A gateway whose exchanges are counted."""
    async with listening(url, **values) as rig:
        parts = parts_of(rig)
        record = rig.observe

        def observe(exchange: Exchange) -> None:
            parts.counts.observe(exchange)
            record(exchange)

        rig.observe = observe  # type: ignore[method-assign]
        yield rig, make_registry(parts)


async def test_requests_and_their_bytes_are_told() -> None:
    async with origin(answering(OK)) as server, measured(server.url) as (rig, registry):
        await rig.ask(GET)
        await rig.ended()
        labels = {"upstream": "dash", "route": "http"}
        requests = registry.get_sample_value("dashws_http_requests_total", labels | {"method": "GET", "code": "200"})
        assert requests == 1
        for name in ("request_duration", "response_first_byte"):
            assert registry.get_sample_value(f"dashws_http_{name}_seconds_count", labels) == 1
            at_most = registry.get_sample_value(f"dashws_http_{name}_seconds_bucket", labels | {"le": "10.0"})
            assert at_most == 1
        assert registry.get_sample_value("dashws_bytes_total", {"direction": "sent"}) == 2
        assert registry.get_sample_value("dashws_http_requests_in_flight") == 0


async def test_bytes_of_a_tunnel_are_told_while_it_is_open_and_not_twice_at_its_end() -> None:
    async with origin(answering(SWITCH + b"hello")) as server, measured(server.url) as (rig, registry):

        def told() -> list[float | None]:
            names = ("dashws_websocket_open", "dashws_websocket_opened_total")
            labels = {"upstream": "ws", "path_mode": "tunnel"}
            sent = registry.get_sample_value("dashws_bytes_total", {"direction": "sent"})
            in_flight = registry.get_sample_value("dashws_http_requests_in_flight")
            return [*(registry.get_sample_value(name, labels) for name in names), sent, in_flight]

        async with rig.client() as client:
            await client.send(HANDSHAKE)
            await client.read_head()
            assert await client.read(5) == b"hello"
            assert told() == [1, 1, 5, 0]
        await rig.ended()
        assert told() == [0, 1, 5, 0]


async def test_an_upstream_that_is_unreachable_is_down_and_what_waits_for_it_is_told() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with measured(url) as (rig, registry), rig.client() as client:
        where = {"upstream": "dash", "address": url}
        assert registry.get_sample_value("dashws_upstream_up", where) == 1, "it is not known to be down"
        await client.send(GET)
        await rig.waits()
        assert registry.get_sample_value("dashws_upstream_up", where) == 0
        assert registry.get_sample_value("dashws_upstream_requests_waiting", {"upstream": "dash"}) == 1
        assert registry.get_sample_value("dashws_http_requests_in_flight") == 1


async def test_what_other_parts_know_is_read_when_it_is_asked_for() -> None:
    async with listening() as rig:
        parts = parts_of(rig)
        registry = make_registry(parts)
        assert registry.get_sample_value("dashws_limit_hits_total", {"limit": "connections"}) == 0
        parts.limiter.count_pause()
        parts.counts.limit_hits["body"] += 2
        assert registry.get_sample_value("dashws_limit_hits_total", {"limit": "connections"}) == 1
        assert registry.get_sample_value("dashws_limit_hits_total", {"limit": "body"}) == 2
        assert registry.get_sample_value("dashws_config_last_reload_successful") == 1
        assert registry.get_sample_value("dashws_config_last_reload_success_timestamp_seconds") == 7
        parts.last_reload.failed()
        assert registry.get_sample_value("dashws_config_last_reload_successful") == 0
        assert registry.get_sample_value("dashws_ready") == 1


@pytest.fixture
async def metrics() -> dict[str, set[str]]:
    """The labels of each metric, by the name that it has in Prometheus."""
    async with listening() as rig:
        families = list(GatewayCollector(parts_of(rig)).collect())
    return {
        family.name + "_total" * (family.type == "counter"): set(getattr(family, "_labelnames", ()))
        for family in families
    }


async def test_the_document_has_every_metric_with_its_labels(metrics: dict[str, set[str]]) -> None:
    text = (ROOT / "docs/metrics.md").read_text("utf-8").partition("\n## The service")[0]
    rows = re.findall(r"^\| `(dashws_\w+)` \|(.*?)\|", text, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == metrics
