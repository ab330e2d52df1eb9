"""What waits for the client of an event stream: bounded in bytes, and left out by the topic's policy. Pure.

What is queued in one turn of the loop is written together, and is no sign of a client that does not read. So the
policies apply only while a write is under way that the client holds up.
"""

from __future__ import annotations

from ws_service.hub.outbox import COST, Drop, Outbox, ignore
from ws_service.hub.topics import SlowPolicy

_CHUNK = 64 << 10
"""Bytes that are taken at a time, at least one event."""


class StreamQueue:
    """A queue of events. limit: bytes that wait at most, with ``COST`` for each event. drop: as of ``Outbox``.

    is_held_up: whether a write is under way that the client has not taken yet.
    """

    def __init__(self, limit: int, drop: Drop = ignore) -> None:
        self._limit = limit
        self._ready: list[bytes] = []
        self._size = 0  # of those that are ready
        self._waiting = Outbox(limit, drop)
        self.is_held_up = False

    def __len__(self) -> int:
        return len(self._ready) + len(self._waiting)

    def add(self, event: bytes) -> bool:
        """Queue what must not be left out. Returns False where it does not fit."""
        return self._add_ready(event) or self._waiting.add(event)

    def publish(self, topic: str, event: bytes, policy: SlowPolicy) -> bool:
        """Queue a publication. Returns False where the client is too slow to be kept."""
        return self._add_ready(event) or self._waiting.publish(topic, event, policy)

    def take(self) -> bytes:
        """Take the oldest events off the queue; empty where there are none."""
        if self._ready:
            taken, self._ready, self._size = self._ready, [], 0
            return b"".join(taken)
        taken, size = [], 0
        while size < _CHUNK and (one := self._waiting.take(1)):
            taken += one
            size += len(one[0])
        return b"".join(taken)

    def clear(self) -> None:
        """Forget all."""
        self._ready, self._size = [], 0
        self._waiting.clear()

    def _add_ready(self, event: bytes) -> bool:
        if self.is_held_up or len(self._waiting) or self._size + len(event) + COST > self._limit:
            return False
        self._ready.append(event)
        self._size += len(event) + COST
        return True
