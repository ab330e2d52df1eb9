"""The last minutes of the process in points, one a second: rates from counters, latencies from histograms.

Pure: what is counted is counted elsewhere, and the time is in each sample.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import islice
from math import ceil

INTERVAL = 1.0
"""Seconds between two samples."""

KEPT = 300
"""Points that are kept: five minutes. Precedent: HAProxy's rates are of one second, Traefik's page shows none."""

WINDOW = 10
"""Samples over which a latency is computed: at a few requests a second, one second's are too few for a percentile."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted of some requests since the start of the process.

    refused, failed: those answered with 4xx, with 5xx. first_byte: how many there were in each bucket of the histogram
    of the time to the first byte of the response; the last bucket has those above the highest bound.
    """

    requests: int = 0
    refused: int = 0
    failed: int = 0
    first_byte: tuple[int, ...] = ()

    def plus(self, other: Totals) -> Totals:
        """Return the sum of both."""
        return Totals(
            self.requests + other.requests,
            self.refused + other.refused,
            self.failed + other.failed,
            _added(self.first_byte, other.first_byte, 1),
        )

    def since(self, before: Totals) -> Totals:
        """Return what was counted since an earlier moment."""
        return Totals(
            self.requests - before.requests,
            self.refused - before.refused,
            self.failed - before.failed,
            _added(self.first_byte, before.first_byte, -1),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters, and what there is, at one moment.

    at: seconds of a monotonic clock. received, sent: bytes, since the start. tunnelled, handed_off: open WebSockets.
    waiting: requests that wait for an upstream. lag: seconds by which the event loop was late at the most, since the
    sample before.
    """

    at: float
    totals: Totals
    received: int = 0
    sent: int = 0
    in_flight: int = 0
    waiting: int = 0
    connections: int = 0
    tunnelled: int = 0
    handed_off: int = 0
    lag: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """One second of the history: rates are for each second, latencies are seconds and of the last ``WINDOW`` samples.

    A latency is None where no request was answered in that time.
    """

    requests: float
    refused: float
    failed: float
    p50: float | None
    p95: float | None
    p99: float | None
    received: float
    sent: float
    in_flight: int
    waiting: int
    connections: int
    tunnelled: int
    handed_off: int
    lag: float


NAMES = tuple(field.name for field in fields(Point))


class History:
    """A ring of points, made of samples as they come.

    bounds: the upper bounds of the histogram's buckets, in seconds, ascending.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._samples: deque[Sample] = deque(maxlen=WINDOW + 1)
        self._points: deque[Point] = deque(maxlen=KEPT)

    def add(self, sample: Sample) -> None:
        """Take a sample; from the second one on each makes a point."""
        if self._samples:
            self._points.append(self._point(self._samples[-1], sample))
        self._samples.append(sample)

    def columns(self) -> dict[str, list[float | int | None]]:
        """Return the points, oldest first, as one list for each of their values."""
        return {name: [getattr(point, name) for point in self._points] for name in NAMES}

    @property
    def late(self) -> float:
        """By how many seconds the event loop was late at the most, in the last minute."""
        return max((point.lag for point in islice(reversed(self._points), 60)), default=0.0)

    @property
    def latest(self) -> Point | None:
        """The newest point; None while there is none."""
        return self._points[-1] if self._points else None

    # -- inside

    def _point(self, before: Sample, now: Sample) -> Point:
        seconds = max(now.at - before.at, 1e-3)
        counted = now.totals.since(before.totals)
        recent = now.totals.since(self._samples[0].totals).first_byte
        p50, p95, p99 = (quantile(recent, self._bounds, share) for share in (0.5, 0.95, 0.99))

        def rate(count: int) -> float:
            return round(count / seconds, 2)

        return Point(
            rate(counted.requests),
            rate(counted.refused),
            rate(counted.failed),
            p50,
            p95,
            p99,
            rate(now.received - before.received),
            rate(now.sent - before.sent),
            now.in_flight,
            now.waiting,
            now.connections,
            now.tunnelled,
            now.handed_off,
            round(now.lag, 5),
        )


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """Return the value, in seconds, below which a share of what a histogram has counted lies; None if it is empty.

    counts: of each bucket, and after those of everything above the last bound. Inside a bucket it is interpolated, as
    Prometheus does (histogram_quantile), but not in the first one: how far below its bound a value lies is not known,
    so the bound is returned, which is true as "at most". Above the last bound it is that bound: "at least".
    """
    wanted = max(1, ceil(share * sum(counts)))
    seen = 0
    for index, bound in enumerate(bounds):
        count = counts[index] if index < len(counts) else 0
        if count and seen + count >= wanted:
            lower = bounds[index - 1] if index else bound
            return round(lower + (bound - lower) * (wanted - seen) / count, 5)
        seen += count
    return bounds[-1] if sum(counts) else None


def _added(left: Sequence[int], right: Sequence[int], sign: int) -> tuple[int, ...]:
    """Add or subtract buckets; a side that has none yet has counted nothing."""
    size = max(len(left), len(right))
    padded = ((*side, *(0,) * (size - len(side))) for side in (left, right))
    return tuple(a + sign * b for a, b in zip(*padded, strict=True))
