"""Takes a sample of the process every second, and keeps what was counted of each route a minute ago."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.metrics.parts import Parts
from proxy.status.counted import BOUNDS, Route, route_totals, sum_of
from proxy.status.samples import INTERVAL, History, Sample, Totals

MARK = 10
"""Samples between two marks, which have the counters of each route."""

_MARKS = 7
"""Marks that are kept: the oldest one is a minute old."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """The counters at one moment, in monotonic seconds."""

    at: float
    by_route: Mapping[Route, Totals]
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Minute:
    """What was counted in the last minute, or since the start.

    seconds: how long that is. by_route: of requests. limits: how often each was hit, those that were.
    """

    seconds: float
    by_route: Mapping[Route, Totals] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)

    def of(self, upstream: str) -> Totals:
        """Return what was counted of one upstream."""
        return sum_of(totals for (name, _), totals in self.by_route.items() if name == upstream)

    @property
    def all(self) -> Totals:
        """What was counted of all requests."""
        return sum_of(self.by_route.values())


class Sampler:
    """Samples from ``start`` to ``stop``. parts: of the gateway, which are read."""

    def __init__(self, parts: Parts) -> None:
        self.history = History(BOUNDS)
        self._parts = parts
        self._marks: deque[_Mark] = deque(maxlen=_MARKS)
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take a sample now, and each second from here on."""
        self._sample()

    def stop(self) -> None:
        """Take no more samples."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def minute(self) -> Minute:
        """Return what was counted in the last minute."""
        now = self._mark()
        if not self._marks:
            return Minute(0.0, now.by_route, now.limits)
        before, none = self._marks[0], Totals()
        by_route = {route: totals.since(before.by_route.get(route, none)) for route, totals in now.by_route.items()}
        hits = {name: count - before.limits.get(name, 0) for name, count in now.limits.items()}
        return Minute(now.at - before.at, by_route, {name: count for name, count in hits.items() if count})

    # -- inside

    def _sample(self) -> None:
        # First: a sample that fails must not be the last one.
        self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._sample)
        mark = self._mark()
        if self._number % MARK == 0:
            self._marks.append(mark)
        self._number += 1
        self.history.add(self._taken(mark))

    def _mark(self) -> _Mark:
        return _Mark(time.monotonic(), route_totals(self._parts.counts), self._parts.limit_hits)

    def _taken(self, mark: _Mark) -> Sample:
        parts, gateway = self._parts, self._parts.gateway
        return Sample(
            mark.at,
            sum_of(mark.by_route.values()),
            *parts.bytes_passed,
            in_flight=parts.requests_in_flight,
            waiting=sum(upstream.queue.waiting for upstream in gateway.runtime.upstreams.values()),
            connections=parts.limits.connections.total,
            tunnelled=len(gateway.websockets.records),
            handed_off=gateway.handoff.live,
            lag=parts.lag.take_longest(),
        )
