"""Peers that have vanished while data is in flight to them: one rule for all connections of both programs.

Idle connections cost a comparison: TCP is not asked about one to which
nothing was written since all of it was acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from ws_service.net.keepalive import has_vanished
from ws_service.net.periodic_sweep import Pass, PeriodicSweep

PERIOD = 3.0
"""Seconds between two sweeps."""


class Connected(Protocol):
    """This process's end of a connection."""

    is_acknowledged: bool
    """Whether the peer had acknowledged everything at a sweep, which sets this, and nothing was written since."""

    @property
    def transport(self) -> asyncio.Transport | None:
        """Its transport; None when it is gone."""

    def vanish(self) -> None:
        """End it: its peer does not answer any more."""


class DeadPeers:
    """Ends connections whose peer has vanished. ends: called at each sweep, returns what is to be swept."""

    def __init__(self, ends: Callable[[], Iterable[Connected]]) -> None:
        self._ends = ends
        self._sweep = PeriodicSweep(self._pass)

    def start(self) -> None:
        """Sweep from now on, while there are ends."""
        self._sweep.start(PERIOD)

    def stop(self) -> None:
        """Sweep no more until ``start``."""
        self._sweep.stop()

    def _pass(self, _: float) -> Pass:
        ends = list(self._ends())
        for end in ends:
            transport = end.transport
            if end.is_acknowledged or transport is None or transport.is_closing():
                continue
            verdict = has_vanished(transport)
            if verdict:
                end.vanish()
            elif verdict is None and not transport.get_write_buffer_size():
                end.is_acknowledged = True
            yield
        return PERIOD if ends else None
