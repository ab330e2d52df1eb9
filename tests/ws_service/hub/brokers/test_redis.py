"""The broker on Redis, against a real Valkey and a real Redis: the contract, and what happens when the server fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from tests.redis_server import KINDS, RedisServer, redis_server
from tests.ws_service.hub.brokers.contract import BrokerContract, Inbox, MakeBroker, SharedBrokerContract
from ws_service.hub.brokers.redis import RedisBroker, name_of, plain_url

pytestmark = pytest.mark.system


@pytest.fixture(scope="module", params=KINDS)
def running_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
async def server(running_server: RedisServer) -> AsyncIterator[RedisServer]:
    yield running_server
    async with Redis.from_url(running_server.url) as client:
        await client.flushall()


@pytest.fixture
async def make_broker(server: RedisServer) -> AsyncIterator[MakeBroker]:
    inboxes: list[Inbox] = []

    async def make() -> Inbox:
        inbox = Inbox(RedisBroker(server.url, timeout=2.0))
        inboxes.append(inbox)
        await inbox.start()
        return inbox

    yield make
    for inbox in inboxes:
        await inbox.broker.close()


class TestRedisBroker(BrokerContract, SharedBrokerContract):
    pass


def test_valkey_is_asked_in_the_words_of_redis() -> None:
    assert plain_url("valkey://host:1/2") == "redis://host:1/2"
    assert plain_url("valkeys://host") == "rediss://host"
    assert plain_url("unix:///run/redis.sock?db=1") == "unix:///run/redis.sock?db=1"


def test_the_name_in_the_log_has_no_password() -> None:
    assert name_of("rediss://ada:s3cret@host:6379/1?password=x") == "rediss://host:6379/1"
    assert name_of("unix://ada@/run/redis.sock?password=x") == "unix:///run/redis.sock"
