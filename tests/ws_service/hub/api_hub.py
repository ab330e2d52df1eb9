"""A hub for the tests of the API: a real broker in memory, and no clients of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ws_service.hub.broker import Broker, Control, Event
from ws_service.hub.brokers.memory import MemoryBroker
from ws_service.hub.counts import Counts
from ws_service.hub.publication import ClientInfo, Position
from ws_service.hub.topics import Namespaces


class ApiHub:
    """What the API asks; ``events`` has what the broker has told."""

    def __init__(self, namespaces: Namespaces | None = None, broker: Broker | None = None) -> None:
        self.broker: Broker = broker or MemoryBroker()
        self.namespaces = namespaces or Namespaces()
        self.clients = 3
        self.users = 2
        self.topics: Mapping[str, int] = {}
        self.events: list[Event] = []
        self.counts = Counts()

    async def start(self) -> ApiHub:
        await self.broker.start(self.events.append)
        return self

    async def publish(self, *arguments: Any) -> Position | None:
        return await self.broker.publish(*arguments)

    @property
    def orders(self) -> list[Control]:
        return [event for event in self.events if isinstance(event, Control)]

    async def join(self, topic: str, client: str, user: str = "") -> None:
        await self.broker.join(topic, ClientInfo(client, user), is_told=False)
