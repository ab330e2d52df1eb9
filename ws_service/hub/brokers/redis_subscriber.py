"""The topics of a process on Redis: received through one connection, which is made again when it is lost.

Pub/sub loses what is sent while a connection is down. So each topic has a ``Continuity``: after an interruption what
was missed is read from the stream, and where that cannot be had, the topic is told as ``Lost``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from ws_service.hub.broker import BrokerError, Event
from ws_service.hub.brokers.continuity import Continuity
from ws_service.hub.brokers.redis_format import CONTROL, Keys, decode_event
from ws_service.hub.brokers.redis_pubsub import PubSubConnection
from ws_service.hub.publication import History, Position
from ws_service.logs.limited_log import LimitedLog

log = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0
"""Seconds before a new try to connect: at most the first, doubled with each failure up to the second, and random below
it, so that many processes do not come at once (AWS Architecture Blog, "Exponential Backoff And Jitter": full)."""

_READS = 4
"""Histories that are read at a time after an interruption."""

_LAG_TIMEOUT = 0.5
"""Seconds for a ping that measures the lag."""

ReadMissed = Callable[[str, Position | None], Awaitable[History | None]]
"""Gives what a topic's history has after a place; None where that is too much. Without a place: where the history is.
Raises BrokerError."""

Receive = Callable[[str, Event], None]
"""Takes an event of a topic."""


class _Topic:
    """One topic. is_confirmed: whether the server has once subscribed to it. askers: calls that wait for that."""

    def __init__(self, name: str) -> None:
        self.continuity = Continuity(name)
        self.is_confirmed = False
        self.askers = 0


class RedisSubscriber:
    """Topics of this process.

    pubsub: makes a connection. keys: names the channels. name: of the server, for the log. timeout: seconds for its
    answers. read_missed: reads histories. receive: gets the events.
    """

    def __init__(
        self,
        pubsub: Callable[[], PubSub],
        keys: Keys,
        name: str,
        timeout: float,
        read_missed: ReadMissed,
        receive: Receive,
    ) -> None:
        self._pubsub, self._keys, self._name, self._timeout = pubsub, keys, name, timeout
        self._read_missed, self._receive = read_missed, receive
        self._topics: dict[str, _Topic] = {}
        self._connection: PubSubConnection | None = None  # once it is subscribed to all of before
        self._gaps: dict[str, _Topic] = {}
        self._has_gaps = asyncio.Event()
        self._has_tried = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._limited_log = LimitedLog(log)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, subscribed to all topics of before."""
        return self._connection is not None

    async def start(self) -> None:
        """Begin, and wait until the first try to connect has ended, either way."""
        self._topics[CONTROL] = _Topic(CONTROL)
        self._topics[CONTROL].is_confirmed = True  # each connection has it
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._stay_connected(), name="hub redis subscriber")]
        for number in range(_READS):
            self._tasks.append(loop.create_task(self._fill_gaps(), name=f"hub redis gaps {number}"))
        await self._has_tried.wait()

    async def close(self) -> None:
        """End the tasks and the connection."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def subscribe(self, topic: str) -> None:
        """Begin to receive a topic's events. Raises BrokerError.

        Where it raises or is cancelled, and no other call has subscribed, the topic is not received.
        """
        entry = self._topics.setdefault(topic, _Topic(topic))
        connection = self._connection
        if entry.is_confirmed and connection is not None:
            return
        entry.askers += 1
        try:
            if connection is None:
                raise BrokerError(f"no connection to {self._name}")
            await connection.ask(self._keys.channel(topic), is_wanted=True)
            entry.is_confirmed = True
        finally:
            entry.askers -= 1
            if not entry.is_confirmed and not entry.askers and self._topics.get(topic) is entry:
                del self._topics[topic]

    async def unsubscribe(self, topic: str) -> None:
        """Receive them no more. Without a connection that is all: the next one is made without the topic."""
        self._topics.pop(topic, None)
        self._gaps.pop(topic, None)
        if self._connection is not None:
            with suppress(BrokerError):
                await self._connection.ask(self._keys.channel(topic), is_wanted=False)

    async def lag(self) -> float | None:
        """Return the seconds of a ping through the connection; None where it has no answer in ``_LAG_TIMEOUT``."""
        if self._connection is None:
            return None
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_LAG_TIMEOUT):
                await self._connection.ping()
        except (BrokerError, TimeoutError):
            return None
        return time.perf_counter() - began

    def expect(self, topic: str, position: Position) -> None:
        """Take a place that a subscriber was given."""
        if topic in self._topics:
            self._topics[topic].continuity.expect(position)

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            try:
                await self._connect()
            except (BrokerError, RedisError, OSError) as error:
                failures = 0 if self._connection is not None else failures + 1
                self._say_lost(error)
            except Exception:
                log.exception("the connection to %s ends by a fault", self._name)
            finally:
                self._interrupt()
            await asyncio.sleep(random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10))))

    async def _connect(self) -> None:
        if self._topics[CONTROL].continuity.position is None:  # before it is subscribed to, so that no order is missed
            history = await self._read_missed(CONTROL, None)
            if history is not None:
                self.expect(CONTROL, history.position)
        connection = PubSubConnection(self._pubsub(), self._timeout)
        before = {topic: entry for topic, entry in self._topics.items() if entry.is_confirmed}

        def use() -> None:
            self._connection = connection
            self._has_tried.set()
            log.info("connected to %s", self._name)
            self._add_gaps(before)

        await connection.run([self._keys.channel(topic) for topic in before], use, self._take)

    def _interrupt(self) -> None:
        self._connection = None
        self._has_tried.set()
        for entry in self._topics.values():
            if entry.is_confirmed:
                entry.continuity.interrupt()

    def _take(self, channel: bytes, message: bytes) -> None:
        """Take a message of the connection."""
        try:
            topic = self._keys.topic(channel)
            entry = self._topics.get(topic)
            event = None if entry is None else decode_event(topic, message)
        except ValueError as error:
            self._limited_log.say("message", logging.WARNING, "a message of another program: %s", error)
            return
        if entry is None or event is None:
            return
        was_refilling = entry.continuity.is_refilling
        self._tell(topic, entry.continuity.receive(event))
        if entry.continuity.is_refilling and not was_refilling:
            self._add_gaps({topic: entry})

    def _add_gaps(self, entries: Mapping[str, _Topic]) -> None:
        for entry in entries.values():
            entry.continuity.interrupt()
        self._gaps.update(entries)
        self._has_gaps.set()

    async def _fill_gaps(self) -> None:
        while True:
            while self._gaps:
                topic = next(iter(self._gaps))
                await self._fill(topic, self._gaps.pop(topic))
            self._has_gaps.clear()
            await self._has_gaps.wait()

    async def _fill(self, topic: str, entry: _Topic) -> None:
        if topic not in self._topics:  # unsubscribed from while there was no connection
            await self.unsubscribe(topic)
        if self._topics.get(topic) is not entry:
            return
        history, position = None, entry.continuity.position
        try:
            history = None if position is None else await self._read_missed(topic, position)
        except BrokerError:
            pass
        except Exception:  # nothing else ends this task, or the gaps of all topics would be silent
            log.exception("a history cannot be read; its topic is told as lost")
        if self._topics.get(topic) is not entry:
            return
        self._tell(topic, entry.continuity.refill(history))
        if entry.continuity.is_refilling:
            self._add_gaps({topic: entry})

    def _tell(self, topic: str, events: list[Event]) -> None:
        for event in events:
            try:
                self._receive(topic, event)
            except Exception:
                log.exception("an event of the broker cannot be delivered")

    def _say_lost(self, error: Exception) -> None:
        self._limited_log.say("lost", logging.WARNING, "no connection to %s, trying again: %s", self._name, error)
