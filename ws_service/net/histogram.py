"""How long things took, in buckets: plain numbers, because a histogram is filled for each request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

HTTP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds; those that OpenTelemetry's conventions have for ``http.server.request.duration``."""


class Histogram:
    """How many values there were up to each bound, and their sum.

    bounds: the upper bound of each bucket, in ascending order; larger values are counted too.
    """

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values there were in each bucket; the last one has those above the highest bound."""
        return tuple(self._counts)

    @property
    def buckets(self) -> list[tuple[str, int]]:
        """Each bound as Prometheus has it in the label ``le``, and how many values were not larger."""
        return list(zip((*map(str, self._bounds), "+Inf"), accumulate(self._counts), strict=True))
