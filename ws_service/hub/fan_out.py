"""Delivery of each message to all subscribers of its topic, some of them in each turn of the loop.

A message to ten thousand subscribers takes a tenth of a second, and everything else in the process would stand still
for it. So what is due in a turn is bounded, topics take turns, and within a topic the order is kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ws_service.hub.counts import BOUNDS
from ws_service.hub.subscription import Subscription
from ws_service.net.histogram import Histogram

log = logging.getLogger(__name__)

BUDGET = 256
"""Deliveries in one turn of the loop, at about 8 us each, most of it the system call."""

SLICE = 64
"""Deliveries of one topic before another one has its turn."""

MOST_WAITING = 4096
"""Messages that wait for their turn. Beyond it each new one is paid for at once: as many deliveries as it will take."""

MOST_BYTES = 16 << 20
"""Bytes of these messages: beyond them it is the same."""

_PLACE = 8
"""Bytes that one subscriber takes in a message: while clients come and go, each message has a list of its own."""

Give = Callable[[Subscription], None]
"""Gives a message to one subscriber."""


class _Message(NamedTuple):
    """A message that is on its way. subscribers: those that have not been given it. began: of ``time.monotonic``."""

    subscribers: Iterator[Subscription]
    give: Give
    size: int
    began: float


class FanOut:
    """The messages that are on their way to subscribers. durations: counts how long each takes."""

    def __init__(self, durations: Histogram | None = None) -> None:
        self._durations = durations if durations is not None else Histogram(BOUNDS)
        self._queues: OrderedDict[str, deque[_Message]] = OrderedDict()
        self._waiting = self._bytes = 0
        self._left = BUDGET
        self._is_scheduled = self._is_working = self._is_closed = False

    def __len__(self) -> int:
        """How many messages wait, or are on their way."""
        return self._waiting

    def send(self, topic: str, subscribers: Sequence[Subscription], give: Give, size: int = 0) -> None:
        """Give a message to each of some subscribers: now, as far as this turn allows, and the rest in later ones.

        subscribers: as they are now; the sequence must not change afterwards. size: bytes of the message.
        """
        if self._is_closed or not subscribers:
            return
        queue = self._queues.setdefault(topic, deque())
        size += _PLACE * len(subscribers)
        queue.append(_Message(iter(subscribers), give, size, time.monotonic()))
        self._waiting += 1
        self._bytes += size
        if self._waiting > MOST_WAITING or self._bytes > MOST_BYTES:
            self._left = max(self._left, len(subscribers))
        self._work()

    def close(self) -> None:
        """Deliver nothing more."""
        self._is_closed = True
        self._queues.clear()
        self._waiting = self._bytes = 0

    # -- inside

    def _work(self) -> None:
        if self._is_working:  # a subscriber publishes while it takes a message
            return
        self._is_working = True
        try:
            while self._queues and self._left > 0:
                topic, queue = next(iter(self._queues.items()))
                self._queues.move_to_end(topic)
                self._left -= self._deliver(queue, min(SLICE, self._left))
                if not queue:
                    self._queues.pop(topic, None)
        finally:
            self._is_working = False
        if not self._is_scheduled and (self._queues or self._left < BUDGET):
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        self._left = BUDGET
        if self._queues:
            self._work()

    def _deliver(self, queue: deque[_Message], most: int) -> int:
        """Give a topic's messages, the oldest first, to so many subscribers at most. Returns to how many."""
        left = most
        while queue and left > 0:
            message = queue[0]
            left = self._deliver_one(message.subscribers, message.give, left)
            if left > 0 and queue:
                queue.popleft()
                self._waiting -= 1
                self._bytes -= message.size
                self._durations.add(time.monotonic() - message.began)
        return most - left

    @staticmethod
    def _deliver_one(subscribers: Iterator[Subscription], give: Give, most: int) -> int:
        """Give a message to so many at most. Returns how many more there might have been; 0: it may not be finished."""
        for subscriber in subscribers:
            try:
                give(subscriber)
            except Exception:  # a fault of one subscriber must not keep the message from the others
                log.exception("a message could not be delivered to a subscriber; the others get it")
            most -= 1
            if not most:
                break
        return most
