"""What one process of the service knows of itself: its part of the status and of the metrics."""

from __future__ import annotations

import asyncio
import json
import os
import time
from itertools import chain
from typing import Any

from prometheus_client import ProcessCollector

from ws_service.hub.assembly import Assembled
from ws_service.metrics import exposition, socket_rows, status
from ws_service.metrics.families import families
from ws_service.metrics.status import Query
from ws_service.net.loop_lag import LoopLag
from ws_service.websocket.resources import Resources

METRICS = b"metrics"

_PROCESS = ProcessCollector(registry=None)


class ProcessReport:
    """This process.

    hub: of it; None: there is none.

    worker: its number among the processes that share the sockets.
    """

    resources: Resources
    worker = 0

    def __init__(self, hub: Assembled | None) -> None:
        self._hub = hub
        self._loop_lag = LoopLag()
        self._started = time.monotonic()

    def start(self, resources: Resources) -> None:
        """Begin. resources: of the connections of this process."""
        self.resources = resources
        self._loop_lag.start()

    def close(self) -> None:
        """Measure no more. Safe to call twice, and before ``start``."""
        self._loop_lag.stop()

    async def answer(self, question: bytes) -> bytes:
        """Answer a question of a worker: ``METRICS``, or the query of a status."""
        if question == METRICS:
            lag = await self._hub.hub.broker.lag() if self._hub is not None else None
            # In a thread: to count 9,000 open files takes 9 ms.
            of_process = await asyncio.to_thread(lambda: list(_PROCESS.collect()))
            own = families(self.resources, self._hub, self._loop_lag.lags, lag)
            return exposition.encode(self.worker, chain(own, of_process))
        return json.dumps(self.status(status.read_query(question.decode()))).encode()

    def status(self, query: Query) -> dict[str, Any]:
        """Return this process's part of the status, of which ``status.merged`` makes the answer."""
        sockets, now = self.resources.sockets, time.monotonic()
        loop_now = asyncio.get_running_loop().time()
        topics = self._hub.hub.topics if self._hub is not None else {}
        largest = self._hub.hub.largest_topics(query.topics) if self._hub is not None else []
        return {
            "worker": {
                "worker": self.worker,
                "pid": os.getpid(),
                "uptime": round(now - self._started, 3),
                "sockets": len(sockets),
            },
            "hub": self._hub_status(sum(topics.values())),
            "topics": {"total": len(topics), "rows": status.topic_rows(largest, now)},
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
