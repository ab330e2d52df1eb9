"""Publishing from the event loop of the hub itself: an endpoint of the service's app that calls ``publish``.

A request to the own process could not be answered while the loop waits for the answer. So what is published there is
queued, and published in its order by one task.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple, Protocol

from ws_service.errors import PublishError
from ws_service.hub.broker import BrokerError, Keep
from ws_service.hub.publication import Position, Publication
from ws_service.hub.topics import Namespaces
from ws_service.hub.turns import Pace
from ws_service.logs.limited_log import LimitedLog

MOST_WAITING = 1024
"""Messages that wait for the broker."""

CLOSE = 1.0
"""Seconds at a stop for what waits to be published."""

limited = LimitedLog(logging.getLogger("ws_service.publish"))


class Publishing(Protocol):
    """The hub, as far as it is published to."""

    namespaces: Namespaces

    async def publish(
        self, topic: str, publication: Publication, keep: Keep, idempotency_key: str | None = None
    ) -> Position | None:
        """Publish; see ``Broker.publish``. Raises BrokerError."""


class _Message(NamedTuple):
    topic: str
    data: bytes
    key: str | None


class InProcess:
    """Publishes for the code that runs in the loop in which this is made.

    hub: started already. most: bytes of a publication.
    """

    def __init__(self, hub: Publishing, most: int) -> None:
        self.most = most
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Message] = deque()
        self._task: asyncio.Task[None] | None = None

    def is_here(self) -> bool:
        """Tell whether the caller runs in that loop."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def add(self, topic: str, data: bytes, key: str | None) -> None:
        """Publish soon. data: JSON. key: for idempotency. Raises PublishError where too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            raise PublishError(f"{MOST_WAITING} messages of this process wait for the broker, which does not answer")
        self._waiting.append(_Message(topic, data, key))
        if self._task is None:
            self._task = self._loop.create_task(self._publish_all(), name="publishes what the service's app publishes")

    async def close(self) -> None:
        """Publish what waits, for ``CLOSE`` at most."""
        task = self._task
        if task is not None:
            await asyncio.wait([task], timeout=CLOSE)
            task.cancel()
            await asyncio.wait([task])

    async def _publish_all(self) -> None:
        pace = Pace()  # a broker in memory waits for nothing
        try:
            while self._waiting:
                await pace.keep()
                await self._publish(self._waiting.popleft())
        finally:
            self._task = None

    async def _publish(self, message: _Message) -> None:
        topic = message.topic
        keep = self._hub.namespaces.of(topic).keep
        try:
            await self._hub.publish(topic, Publication(message.data), keep, message.key)
        except BrokerError as error:
            limited.say("broker", logging.WARNING, "a message for %r is not published: %s", topic, error)


current: InProcess | None = None
"""Of the hub that this process serves; None: it serves none."""


def serve(hub: Publishing, most: int) -> None:
    """Publish to a hub of the running loop from now on. most: bytes of a publication."""
    global current
    current = InProcess(hub, most)


async def close() -> None:
    """Publish to it no more."""
    global current
    closed, current = current, None
    if closed is not None:
        await closed.close()
