"""How late the event loop is: a callback that is due every half second measures how much later it runs."""

from __future__ import annotations

import asyncio
import time

from ws_service.net.histogram import Histogram

_PERIOD = 0.5
"""Seconds. What blocks the loop for longer is always seen, what blocks it for a tenth of that once in ten times; over
five minutes the quantiles are right. A wake-up of an idle process takes 0.1 ms of CPU (measured)."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. Timers of uvloop are precise to a millisecond, so less than that is no lag."""


class LoopLag:
    """Measures the lag of the running loop from ``start`` to ``stop``. ``lags``: what was measured, in seconds."""

    def __init__(self) -> None:
        self.lags = Histogram(_BUCKETS)
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._longest = 0.0

    def start(self) -> None:
        """Measure from now on."""
        self._due = time.monotonic() + _PERIOD
        self._timer = asyncio.get_running_loop().call_later(_PERIOD, self._measure)

    def stop(self) -> None:
        """Measure no more. Safe to call again, and before ``start``."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take_longest(self) -> float:
        """Return the longest lag since this was called before, in seconds."""
        longest, self._longest = self._longest, 0.0
        return longest

    def _measure(self) -> None:
        lag = max(0.0, time.monotonic() - self._due)
        self.lags.add(lag)
        self._longest = max(self._longest, lag)
        self.start()
