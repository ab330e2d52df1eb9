"""The route ``/metrics``: a registry in Prometheus' text format, one metric in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.http1.headers import Head
from proxy.server.admin import AdminResponse, Make

_TEXT = b"text/plain; version=0.0.4; charset=utf-8"
"""The format that every Prometheus reads. prometheus-client has a constant for it from 0.22 on."""


class MetricsRoute:
    """Answers with the metrics of a registry, and those of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._process = ProcessCollector(registry=None)

    def metrics(self, _: Head) -> Make:
        """Answer with all metrics, as they are when they are written."""
        return self._written

    async def _written(self) -> AdminResponse:
        """Collect and write all metrics.

        A write of all at once would block the loop for 50 ms where there are many. Those of the process are collected
        in a thread: to count 8,000 open files takes 16 ms.
        """
        process = await asyncio.to_thread(lambda: list(self._process.collect()))
        pieces = []
        for metric in chain(self._registry.collect(), process):
            pieces.append(generate_latest(_One(metric)))
            await asyncio.sleep(0)
        return AdminResponse(200, _TEXT, b"".join(pieces))


class _One(Collector):
    """One metric as a collector, which is what prometheus-client writes."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric
