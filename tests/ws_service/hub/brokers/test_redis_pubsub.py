"""One connection to pub/sub: what it receives, and how it ends. It never goes on as another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

import ws_service.hub.turns
from tests.redis_server import RedisServer
from tests.ws_service.hub.stand_ins import Bystander
from ws_service.hub.broker import BrokerError
from ws_service.hub.brokers.redis_pubsub import PubSubConnection

pytestmark = pytest.mark.system


class Received:
    """A connection that runs, and what it has called back with."""

    def __init__(self, client: Redis, timeout: float = 2.0) -> None:
        self.messages: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
        self.is_whole = asyncio.Event()
        self.connection = PubSubConnection(client.pubsub(), timeout)

    def run(self, *channels: bytes) -> asyncio.Task[None]:
        running = self.connection.run(channels, self.is_whole.set, lambda *one: self.messages.put_nowait(one))
        return asyncio.get_running_loop().create_task(running, name="connection")


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url, protocol=2) as client:
        yield client


async def test_more_channels_than_one_command_has_are_subscribed_to(client: Redis) -> None:
    received = Received(client)
    running = received.run(*(b"%d" % number for number in range(1200)))
    await received.is_whole.wait()
    assert await client.pubsub_numsub(b"0", b"1199") == [(b"0", 1), (b"1199", 1)]
    await client.publish("1199", "hello")
    assert await received.messages.get() == (b"1199", b"hello")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_connection_that_is_cut_raises_and_fails_what_waits(client: Redis) -> None:
    received = Received(client)
    running = received.run(b"first")
    await received.is_whole.wait()
    await client.client_kill_filter(_type="pubsub")
    with pytest.raises(RedisConnectionError):
        await running
    with pytest.raises(BrokerError):
        await received.connection.ask(b"other", is_wanted=True)


class Flood:
    """A connection with so many messages that nothing waits between them, and then an end."""

    def __init__(self, count: int) -> None:
        self._left = count

    async def subscribe(self, *_: Any, **__: Any) -> None:
        pass

    async def ping(self, *_: Any) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def get_message(self, *_: Any, **__: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise RedisConnectionError("over")
        return {"type": "message", "channel": b"first", "data": b"x"}


async def test_many_messages_let_others_have_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws_service.hub.turns, "SHARE", 0.0)
    messages: list[bytes] = []
    flood: Any = Flood(100)
    async with Bystander() as bystander:
        with pytest.raises(RedisConnectionError):
            await PubSubConnection(flood, 1.0).run([b"first"], lambda: None, lambda _, data: messages.append(data))
    assert len(messages) == 100 and bystander.turns >= 99


async def test_a_silent_connection_is_asked_and_stays(client: Redis) -> None:
    received = Received(client, timeout=0.05)
    running = received.run(b"first")
    await received.is_whole.wait()
    done, _ = await asyncio.wait([running], timeout=0.3)
    assert not done
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_server_that_hangs_ends_it(own_server: RedisServer) -> None:
    async with Redis.from_url(own_server.url, protocol=2) as client:
        received = Received(client, timeout=0.1)
        running = received.run(b"first")
        await received.is_whole.wait()
        own_server.pause()
        try:
            with pytest.raises(RedisConnectionError, match="no answer"):
                await running
        finally:
            own_server.go_on()
