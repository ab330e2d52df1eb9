"""The messages that wait for one client which does not read as fast as it is sent to.

Bounded in bytes. What happens beyond the bound is the topic's policy; replies, and whatever else is for this client
alone, are never left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from ws_service.hub.topics import SlowPolicy

LIMIT = 1 << 20
"""Bytes that wait for one client at most. Precedents: Centrifugo, AnyCable and uWebSockets 1 MiB."""

COST = 96
"""Bytes that a waiting message takes beside its own: its place in the queue. So empty messages are bounded too."""

MOST = 16
"""Messages in one frame. Precedent: Centrifugo 16."""


Drop = Callable[[str, SlowPolicy], None]
"""Told of a publication that is left out."""


def ignore(topic: str, policy: SlowPolicy) -> None:
    """Count nothing."""


class _Waiting(NamedTuple):
    message: bytes
    topic: str | None
    """Of a publication that may be left out; None for what may not."""


class Outbox:
    """A queue of messages. limit: bytes, with ``COST`` for each message.

    drop: told of each publication that the policies leave out, with its topic.
    """

    __slots__ = ("_drop", "_droppable", "_latest", "_limit", "_number", "_waiting", "size")

    def __init__(self, limit: int = LIMIT, drop: Drop = ignore) -> None:
        self._limit = limit
        self._drop = drop
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._latest: dict[str, int] = {}  # of topics that conflate: the place of the one that waits
        self._droppable: OrderedDict[int, None] = OrderedDict()  # places of those that make room for others
        self._number = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, message: bytes) -> bool:
        """Queue what must not be left out. Returns False where it does not fit: the client is too slow."""
        return self._make_room(len(message) + COST) and self._put(_Waiting(message, None))

    def publish(self, topic: str, message: bytes, policy: SlowPolicy) -> bool:
        """Queue a publication. Returns False where the client is too slow to be kept.

        LATEST takes the place of the same topic's waiting one. It goes to the end all the same, for a reply about the
        topic may have been queued in between.
        """
        if policy is SlowPolicy.LATEST and (place := self._latest.pop(topic, None)) is not None:
            self._remove(place)
            self._drop(topic, policy)
        if not self._make_room(len(message) + COST):
            if policy is not SlowPolicy.DROP_OLDEST:
                return False
            self._drop(topic, policy)
            return True
        number = self._number
        self._put(_Waiting(message, topic))
        if policy is SlowPolicy.LATEST:
            self._latest[topic] = number
        elif policy is SlowPolicy.DROP_OLDEST:
            self._droppable[number] = None
        return True

    def take(self, most: int = MOST) -> list[bytes]:
        """Take the oldest messages off the queue, at most so many."""
        return [self._remove(place) for place in list(islice(self._waiting, most))]

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._latest.clear()
        self._droppable.clear()
        self.size = 0

    # -- inside

    def _make_room(self, size: int) -> bool:
        while self.size + size > self._limit and self._droppable:
            oldest = next(iter(self._droppable))
            self._drop(self._waiting[oldest].topic or "", SlowPolicy.DROP_OLDEST)
            self._remove(oldest)
        return self.size + size <= self._limit

    def _put(self, one: _Waiting) -> bool:
        self._waiting[self._number] = one
        self._number += 1
        self.size += len(one.message) + COST
        return True

    def _remove(self, place: int) -> bytes:
        message, topic = self._waiting.pop(place)
        self.size -= len(message) + COST
        self._droppable.pop(place, None)
        if topic is not None and self._latest.get(topic) == place:
            del self._latest[topic]
        return message
