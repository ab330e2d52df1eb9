"""Presence on Redis expires with its process, and is refreshed while that lives."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from tests.redis_server import RedisServer
from tests.ws_service.hub.brokers.conftest import MakeBrokerAt
from tests.ws_service.hub.brokers.contract import ADA, BOB, Inbox

pytestmark = pytest.mark.system


async def present(inbox: Inbox, *clients: str) -> None:
    """Wait until exactly these are present."""
    async with asyncio.timeout(10):
        while set(await inbox.broker.presence("chat")) != set(clients):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_clients_of_a_process_that_is_gone_expire_and_others_stay(
    server: RedisServer, broker_at: MakeBrokerAt
) -> None:
    gone = await broker_at(server.url, presence_ttl=0.3)
    alive = await broker_at(server.url, presence_ttl=0.3)
    await gone.broker.join("chat", ADA, is_told=False)
    await alive.broker.join("chat", BOB, is_told=False)
    await present(alive, "1", "2")
    await gone.broker.close()
    await present(alive, "2")
    for _ in range(10):
        await asyncio.sleep(0.05)  # more than the ttl, in all
        assert set(await alive.broker.presence("chat")) == {"2"}


async def test_presence_comes_back_after_the_server_has_lost_it(server: RedisServer, broker_at: MakeBrokerAt) -> None:
    inbox = await broker_at(server.url, presence_ttl=0.3)
    await inbox.broker.join("chat", ADA, is_told=False)
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        await present(inbox, "1")
        await inbox.broker.leave("chat", ADA, is_told=False)
        await asyncio.sleep(0.2)  # a refresh passes
        assert await inbox.broker.presence("chat") == {}
        assert not [key async for key in client.scan_iter("*chat*")]
