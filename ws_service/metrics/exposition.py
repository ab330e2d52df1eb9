"""The metrics of all workers as one text for Prometheus: each sample has the number of its worker.

A label and no sums: of a worker that is replaced or killed the counters begin at zero again, and Prometheus takes that
for what it is only where each worker has a series of its own. A sum would run backwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

WORKER = "worker"
"""The label."""


def encode(worker: int, families: Iterable[Metric]) -> bytes:
    """Return the metrics of one process, to be sent to another one."""
    found = [
        [each.name, each.documentation, each.type, [[name, labels, value] for name, labels, value, *_ in each.samples]]
        for each in families
    ]
    return json.dumps({WORKER: worker, "families": found}).encode()


def exposition(parts: Iterable[bytes], missing: Iterable[int], accept: str) -> tuple[bytes, str]:
    """Return the text of the metrics of all workers, and its media type.

    parts: of ``encode``. missing: numbers of workers that have not answered. accept: of the request.
    """
    write, content_type = choose_encoder(accept)
    return write(_Workers(sorted(map(json.loads, parts), key=_number), missing)), content_type


def _number(part: dict[str, Any]) -> int:
    return int(part[WORKER])


class _Workers(Collector):
    """All workers, as a registry is to an encoder."""

    def __init__(self, parts: list[dict[str, Any]], missing: Iterable[int]) -> None:
        self._parts = parts
        self._missing = missing

    def collect(self) -> Iterator[Metric]:
        """Return the metrics of all workers, each metric once."""
        up = Metric("dashws_service_worker_up", "1: the worker has answered; 0: not within a second.", "gauge")
        for number, is_up in [(_number(part), 1) for part in self._parts] + [(each, 0) for each in self._missing]:
            up.add_sample(up.name, {WORKER: str(number)}, is_up)
        yield up
        metrics: dict[str, Metric] = {}
        for part in self._parts:
            for name, documentation, kind, samples in part["families"]:
                metric = metrics.setdefault(name, Metric(name, documentation, kind))
                for sample, labels, value in samples:
                    metric.add_sample(sample, {**labels, WORKER: str(part[WORKER])}, value)
        yield from metrics.values()
