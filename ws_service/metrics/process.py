"""What one process of the service knows of itself: its part of the status and of the metrics."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from ws_service.hub.assembly import Assembled
from ws_service.metrics import socket_rows, status
from ws_service.metrics.status import MOST, Query
from ws_service.websocket.resources import Resources


class ProcessReport:
    """This process.

    worker: its number among the processes that share the sockets. hub: of it; None: there is none.

    resources: of its connections, given by its server before the first one.
    """

    resources: Resources

    def __init__(self, worker: int, hub: Assembled | None) -> None:
        self.worker = worker
        self._hub = hub
        self._started = time.monotonic()

    def status(self, query: Query) -> dict[str, Any]:
        """Return this process's part of the status, of which ``status.merged`` makes the answer."""
        sockets, now = self.resources.sockets, time.monotonic()
        loop_now = asyncio.get_running_loop().time()
        seen = self._hub.hub.topics_seen() if self._hub is not None else []
        return {
            "worker": {
                "worker": self.worker,
                "pid": os.getpid(),
                "uptime": round(now - self._started, 3),
                "sockets": len(sockets),
            },
            "hub": self._hub_status(sum(each.subscriptions for each in seen)),
            "topics": {"total": len(seen), "rows": status.topic_rows(seen, MOST, now)},
            "sockets": {
                "total": len(sockets),
                "rows": socket_rows.rows(sockets, query.sort, query.sockets, loop_now, self.worker),
            },
        }

    def _hub_status(self, subscriptions: int) -> dict[str, Any] | None:
        if self._hub is None:
            return None
        hub = self._hub.hub
        return {
            "broker": hub.broker.name,
            "is_connected": hub.broker.is_connected,
            "clients": hub.clients,
            "users": hub.users,
            "subscriptions": subscriptions,
            "event_streams": len(self._hub.streams),
        }
