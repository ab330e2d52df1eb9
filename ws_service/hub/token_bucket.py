"""How often something may be done: a token bucket that needs one float (generic cell rate algorithm, ITU-T I.371)."""

from __future__ import annotations


class TokenBucket:
    """A bucket that is full at first."""

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at = 0.0  # the moment at which it is full again

    def take(self, count: int, rate: float, burst: float, now: float) -> bool:
        """Take tokens if there are enough. rate: tokens that are added each second. burst: tokens in a full bucket.

        now: seconds of a monotonic clock. A rate of 0 allows nothing.
        """
        if rate <= 0:
            return False
        full_at = max(self._full_at, now) + count / rate
        if full_at - now > burst / rate + 1e-9:
            return False
        self._full_at = full_at
        return True
