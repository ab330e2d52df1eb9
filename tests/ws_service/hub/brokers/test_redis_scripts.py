"""The scripts in a real server: epochs, and data that another one has left."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.redis_server import RedisServer
from ws_service.hub.brokers.redis_scripts import HISTORY, PUBLISH

pytestmark = pytest.mark.system

KEYS = ["{a}:meta", "{a}:stream", "{a}:once"]


class Scripts:
    def __init__(self, client: Redis) -> None:
        self.client = client
        self._publish, self._history = client.register_script(PUBLISH), client.register_script(HISTORY)

    async def publish(self, epoch: str) -> tuple[bytes, int]:
        epoch_then, offset = await self._publish(keys=KEYS, args=["channel", "\n1", 10, 60_000, epoch, 60, 0])
        return epoch_then, offset

    async def history(self, epoch: str) -> tuple[bytes, int, list[bytes]]:
        then, offset, entries = await self._history(keys=KEYS[:2], args=[epoch, 60, "XRANGE", "-", "+", -1])
        return then, offset, [entry for entry, _ in entries]


@pytest.fixture
async def scripts(server: RedisServer) -> AsyncIterator[Scripts]:
    async with Redis.from_url(server.url, protocol=2) as client:
        yield Scripts(client)


async def test_an_epoch_stays_as_long_as_the_server_runs(scripts: Scripts) -> None:
    assert await scripts.publish("one") == (b"one", 1)
    assert await scripts.publish("two") == (b"one", 2)
    assert await scripts.history("three") == (b"one", 2, [b"1-0", b"2-0"])


async def test_another_run_of_the_server_is_another_epoch_and_keeps_the_publications(scripts: Scripts) -> None:
    await scripts.publish("one")
    await scripts.client.hset(KEYS[0], "r", "0" * 40)  # type: ignore[misc]
    assert await scripts.history("two") == (b"two", 1, [b"1-0"])
    assert await scripts.publish("three") == (b"two", 2)


async def test_an_epoch_that_the_server_has_evicted_ends_the_history(scripts: Scripts) -> None:
    await scripts.publish("one")
    await scripts.client.delete(KEYS[0])
    assert await scripts.publish("two") == (b"two", 1)
    assert await scripts.history("three") == (b"two", 1, [b"1-0"])


async def test_a_stream_that_is_ahead_of_its_offset_begins_anew(scripts: Scripts) -> None:
    await scripts.publish("one")
    await scripts.client.xadd(KEYS[1], {"d": "\n2"}, id="9-0")
    assert await scripts.publish("two") == (b"one", 2)
    assert await scripts.history("three") == (b"one", 2, [b"2-0"])
