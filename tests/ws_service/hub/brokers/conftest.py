"""Real servers, and brokers on them, for tests marked ``system``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.redis_server import KINDS, RedisServer, redis_server
from tests.ws_service.hub.brokers.contract import Inbox
from ws_service.hub.brokers.redis import RedisBroker


@pytest.fixture(scope="module", params=KINDS)
def running_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
async def server(running_server: RedisServer) -> AsyncIterator[RedisServer]:
    """A server that is empty, and that a test must not end."""
    yield running_server
    async with Redis.from_url(running_server.url) as client:
        await client.flushall()


@pytest.fixture(params=KINDS)
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may end."""
    with redis_server(request.param, tmp_path) as server:
        yield server


MakeBrokerAt = Callable[..., Awaitable[Inbox]]


@pytest.fixture
async def broker_at() -> AsyncIterator[MakeBrokerAt]:
    """Make brokers at a server: each is a process of its own, as far as the server can tell."""
    inboxes: list[Inbox] = []

    async def make(url: str, timeout: float = 2.0, **options: Any) -> Inbox:
        inboxes.append(inbox := Inbox(RedisBroker(url, timeout=timeout, **options)))
        await inbox.start()
        return inbox

    yield make
    for inbox in inboxes:
        await inbox.broker.close()
