"""Stand-ins of the hub's neighbours, for tests of one part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ws_service.hub.access import Grant
from ws_service.hub.codes import EndCode
from ws_service.hub.encoded import Encoded
from ws_service.hub.publication import ClientInfo
from ws_service.hub.subscription import Subscription
from ws_service.hub.topics import TopicOptions


class ScriptedBroker:
    """A broker that writes down what it is asked, waits where it is told to, and fails once where it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.failures: dict[str, Exception] = {}

    async def start(self, receive: Any) -> None:
        self.tell = receive

    async def close(self) -> None:
        self.asked.append("close")

    async def subscribe(self, topic: str) -> None:
        await self._ask(f"subscribe {topic}")

    async def unsubscribe(self, topic: str) -> None:
        await self._ask(f"unsubscribe {topic}")

    async def publish(self, *_: object) -> Any:
        raise NotImplementedError

    async def history(self, *_: object, **__: object) -> Any:
        raise NotImplementedError

    async def join(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        raise NotImplementedError

    async def leave(self, topic: str, info: ClientInfo, *, is_told: bool) -> None:
        await self._ask(f"leave {topic} {info.client}")

    async def presence(self, topic: str) -> Mapping[str, ClientInfo]:
        raise NotImplementedError

    async def topics(self) -> Mapping[str, int]:
        raise NotImplementedError

    async def control(self, order: object) -> None:
        raise NotImplementedError

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.gates:
            await self.gates[what].wait()
        if what in self.failures:
            raise self.failures.pop(what)


class Connection:
    """A client's connection that writes down what it is to send."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.delivered: list[Encoded] = []
        self.closed_with: tuple[int, str] | None = None

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def deliver(self, message: Encoded) -> None:
        self.delivered.append(message)

    def close(self, code: int, reason: str) -> None:
        self.closed_with = code, reason

    def pause_reading(self) -> None:
        raise NotImplementedError

    def resume_reading(self) -> None:
        raise NotImplementedError


class StandInClient:
    """A client that writes down what it is told."""

    def __init__(self, id: str, user: str = "") -> None:
        self.id, self.user = id, user
        self.told: list[object] = []
        self.task: asyncio.Task[None] | None = None

    def is_of(self, user: str) -> bool:
        return user == self.user

    def closed(self) -> None:
        self.told.append("closed")

    def end(self, end: EndCode) -> None:
        self.told.append(end)

    def end_subscription(self, topic: str, end: EndCode) -> None:
        self.told.append((topic, end))

    def tick(self, now: float, wall: float) -> None:
        self.told.append(now)


def subscription(topic: str, client: Any = None) -> Any:
    """Return a subscription that is live, of a client of its own where none is given."""
    made = Subscription(topic, TopicOptions(), Grant())
    made.client = client or StandInClient("c1")  # type: ignore[assignment]
    made.connection = Connection()
    made.go_live(0)
    return made


class Bystander:
    """A task beside what is tested, which counts the turns of the loop that it gets."""

    def __init__(self) -> None:
        self.turns = 0

    async def __aenter__(self) -> Bystander:
        self._task = asyncio.get_running_loop().create_task(self._count(), name="bystander")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _count(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


async def turns(count: int = 10) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)
