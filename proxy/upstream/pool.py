"""The idle connections to one upstream: kept for a while; the stale check before each use."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from proxy.upstream.connection import UpstreamConnection
from ws_service.net.periodic_sweep import Pass, PeriodicSweep

MAX_IDLE = 256
"""Idle connections kept for each upstream; they are closed after ``upstream_idle`` anyway."""


class Pool:
    """Idle connections. idle_timeout: seconds that one is kept; 0 keeps none."""

    def __init__(self, idle_timeout: float) -> None:
        self._idle: deque[UpstreamConnection] = deque()
        self._idle_timeout = idle_timeout
        self._sweep = PeriodicSweep(self._close_old)

    def __len__(self) -> int:
        return len(self._idle)

    def reconfigure(self, idle_timeout: float) -> None:
        """Keep connections for another time, also those that are here."""
        self._idle_timeout = idle_timeout

    def take(self) -> UpstreamConnection | None:
        """Return the youngest connection on which nothing has arrived, and no end; None where there is none."""
        oldest = time.monotonic() - self._idle_timeout
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and not connection.has_gone_stale():
                return connection
            connection.abort()
        return None

    def keep(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next exchange, or close it unless one may follow."""
        if not connection.is_reusable:
            connection.abort()
            return
        connection.rest()
        if connection.has_tls:
            # Not before TLS has given out what it still holds: of that, the kernel knows nothing.
            asyncio.get_running_loop().call_soon(self._add, connection)
        else:
            self._add(connection)

    def close(self) -> None:
        """Close every connection, and keep none any more."""
        self._idle_timeout = 0
        self._sweep.stop()
        while self._idle:
            self._idle.pop().abort()

    # -- inside

    def _add(self, connection: UpstreamConnection) -> None:
        if len(self._idle) >= MAX_IDLE or not self._idle_timeout:
            connection.abort()
            return
        self._idle.append(connection)
        self._sweep.start(self._idle_timeout)

    def _close_old(self, _: float) -> Pass:
        oldest = time.monotonic() - self._idle_timeout
        while self._idle and (self._idle[0].idle_since <= oldest or self._idle[0].is_closing):
            self._idle.popleft().abort()
            yield
        return self._idle_timeout if self._idle else None
