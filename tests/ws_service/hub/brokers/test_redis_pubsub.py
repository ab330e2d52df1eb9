"""One connection to pub/sub: what it receives, and how it ends. It never goes on as another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.redis_server import RedisServer
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
