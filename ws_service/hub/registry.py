"""The topics of one process with their subscriptions, and what the broker is told when these come and go.

The broker is asked for a topic once, with its first subscription, and told to end after the last one. What ends is told
later, by one task, because a connection that ends cannot wait.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from ws_service.hub.broker import Broker, BrokerError
from ws_service.hub.publication import ClientInfo
from ws_service.hub.subscription import Subscription
from ws_service.hub.turns import Pace
from ws_service.logs.limited_log import LimitedLog

log = logging.getLogger(__name__)


class Seen(NamedTuple):
    """A topic of this process. publications: since it has had subscriptions. last: when the newest one came, in seconds
    of the clock of ``Registry.publish``; None: there was none."""

    topic: str
    subscriptions: int
    publications: int
    last: float | None


class Registry:
    """Topics and subscriptions. broker: started already whenever a method is called."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._topics: dict[str, _Topic] = {}
        self._due: OrderedDict[str, None] = OrderedDict()  # where something has ended and the broker is not told yet
        self._pace = Pace()  # a broker in memory waits for nothing
        self._limited_log = LimitedLog(log)  # while the broker is unreachable each client that leaves would be a line
        self._telling: asyncio.Task[None] | None = None
        self._is_closed = False

    def counts(self) -> Mapping[str, int]:
        """Return the topics that have subscriptions, with their numbers."""
        return {name: len(topic.subscriptions) for name, topic in self._topics.items() if topic.subscriptions}

    def of(self, name: str) -> tuple[Subscription, ...]:
        """Return the subscriptions of a topic, as they are now; the same tuple until they change."""
        topic = self._topics.get(name)
        return topic.snapshot() if topic is not None else ()

    def publish(self, name: str, now: float) -> tuple[Subscription, ...]:
        """Return the subscriptions of a topic that something is published to. now: seconds of a steady clock."""
        topic = self._topics.get(name)
        if topic is None:
            return ()
        topic.publications += 1
        topic.last = now
        return topic.snapshot()

    def largest(self, count: int) -> list[Seen]:
        """Return the topics with the most subscriptions, and what has been published to them."""
        found = ((len(topic.subscriptions), name) for name, topic in self._topics.items() if topic.subscriptions)
        return [self._seen(name) for _, name in heapq.nlargest(count, found)]

    async def subscribe(self, subscription: Subscription) -> None:
        """Register at once, and wait until the broker tells about the topic.

        Raises BrokerError. Where it raises, or is cancelled, the caller unsubscribes.
        """
        name = subscription.topic
        topic = self._topics.setdefault(name, _Topic())
        topic.add(subscription)
        if topic.is_subscribed and subscription.client.id not in topic.leaving:
            return
        async with topic.lock:
            await self._tell_leaves(name, topic)  # a leave of before must not come after a join
            if not topic.is_subscribed:
                await self._broker.subscribe(name)
                topic.is_subscribed = True

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove at once, and tell the broker later if it was the last one. It may be gone already."""
        topic = self._topics.get(subscription.topic)
        if topic is not None and topic.remove(subscription) and not topic.subscriptions:
            self._tell_later(subscription.topic)

    def leave(self, name: str, info: ClientInfo, *, is_told: bool) -> None:
        """Count a client out later. is_told: whether others get a Left."""
        self._topics.setdefault(name, _Topic()).leaving[info.client] = info, is_told
        self._tell_later(name)

    async def close(self, seconds: float) -> None:
        """Tell the broker what it is not told yet, for so many seconds at most."""
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=seconds)
        self._is_closed = True
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])

    # -- inside

    def _seen(self, name: str) -> Seen:
        topic = self._topics[name]
        return Seen(name, len(topic.subscriptions), topic.publications, topic.last)

    def _tell_later(self, name: str) -> None:
        self._due[name] = None
        if self._telling is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._telling = loop.create_task(self._tell_all(), name="the hub tells the broker what has ended")

    async def _tell_all(self) -> None:
        try:
            while self._due:
                await self._pace.keep()
                name, _ = self._due.popitem(last=False)
                try:
                    await self._tell(name)
                except Exception as error:  # the other topics are told all the same
                    sentence = "the broker could not be told that a topic has no subscriptions: %s"
                    self._limited_log.say("unsubscribe", logging.WARNING, sentence, error)
        finally:
            self._telling = None

    async def _tell(self, name: str) -> None:
        topic = self._topics.get(name)
        if topic is None:
            return
        async with topic.lock:
            await self._tell_leaves(name, topic)
            if topic.subscriptions:  # one came in the meantime
                return
            topic.is_subscribed = False
            try:
                await self._broker.unsubscribe(name)
            finally:
                if topic.is_over:
                    self._topics.pop(name, None)

    async def _tell_leaves(self, name: str, topic: _Topic) -> None:
        """Count out those that have left. Under the lock. A broker that does not answer forgets them by itself."""
        while topic.leaving:
            for client, (info, is_told) in list(topic.leaving.items()):
                try:
                    await self._broker.leave(name, info, is_told=is_told)
                except BrokerError as error:
                    sentence = "a client could not be counted out at the broker: %s"
                    self._limited_log.say("leave", logging.WARNING, sentence, error)
                del topic.leaving[client]
                await self._pace.keep()


class _Topic:
    """The subscriptions of a topic, and the clients that have left and are not counted out yet."""

    __slots__ = ("_snapshot", "is_subscribed", "last", "leaving", "lock", "publications", "subscriptions")

    def __init__(self) -> None:
        self.subscriptions: dict[Subscription, None] = {}
        self.leaving: dict[str, tuple[ClientInfo, bool]] = {}
        self.publications = 0
        self.last: float | None = None
        self._snapshot: tuple[Subscription, ...] | None = None
        self.is_subscribed = False
        """Whether the broker tells about it."""
        self.lock = asyncio.Lock()
        """For telling the broker one thing at a time."""

    def add(self, subscription: Subscription) -> None:
        self.subscriptions[subscription] = self._snapshot = None

    def remove(self, subscription: Subscription) -> bool:
        if subscription not in self.subscriptions:
            return False
        del self.subscriptions[subscription]
        self._snapshot = None
        return True

    def snapshot(self) -> tuple[Subscription, ...]:
        if self._snapshot is None:
            self._snapshot = tuple(self.subscriptions)
        return self._snapshot

    @property
    def is_over(self) -> bool:
        return not self.subscriptions and not self.leaving
