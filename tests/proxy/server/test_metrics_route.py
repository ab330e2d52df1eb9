"""The text for Prometheus: every metric of the registry, and other callbacks run while it is written."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.parser import text_string_to_metric_families

from proxy.http1.headers import Head
from proxy.server.metrics_route import MetricsRoute


async def test_the_loop_goes_on_between_two_metrics() -> None:
    registry = CollectorRegistry()
    for number in range(5):
        Gauge(f"g{number}", "A gauge.", registry=registry).set(number)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.get_running_loop().create_task(count_turns(), name="others")
    response = await MetricsRoute(registry).metrics(Head("GET", "/metrics", (1, 1)))()
    others.cancel()
    assert turns >= 5
    assert (response.status, response.kind) == (200, b"text/plain; version=0.0.4; charset=utf-8")
    told = {family.name: family.samples[0].value for family in text_string_to_metric_families(response.body.decode())}
    assert told["process_open_fds"] > 0
    assert [told[f"g{number}"] for number in range(5)] == [0, 1, 2, 3, 4]
