"""Publishing numbers, also while the server fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.ws_service.hub.brokers.contract import Inbox
from ws_service.hub.broker import BrokerError, Event, Keep, Published
from ws_service.hub.publication import Position, Publication

LONG = Keep(5000, 60.0)


async def publish(inbox: Inbox, *numbers: int, topic: str = "prices", keep: Keep = LONG) -> Position | None:
    position = None
    for number in numbers:
        position = await inbox.broker.publish(topic, Publication(b"%d" % number), keep)
    return position


async def until(inbox: Inbox, last: int) -> list[Event]:
    """Return what is told up to the publication of a number, which is the last."""
    events: list[Event] = []
    while not (events and isinstance(events[-1], Published) and events[-1].publication.data == b"%d" % last):
        events.append(await inbox.next())
    return events


async def publish_when_it_can(inbox: Inbox, number: int) -> None:
    """Publish, as often as that fails."""
    await _when_it_can(lambda: publish(inbox, number))


async def subscribe_when_it_can(inbox: Inbox, topic: str) -> None:
    """Subscribe, as often as that fails."""
    await _when_it_can(lambda: inbox.broker.subscribe(topic))


async def _when_it_can(ask: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await ask()
            except BrokerError:
                await asyncio.sleep(0.05)
            else:
                return
