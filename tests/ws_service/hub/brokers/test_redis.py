"""The broker on Redis, against a real Valkey and a real Redis: the contract."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.processes import free_port
from tests.redis_server import RedisServer, redis_server
from tests.ws_service.hub.brokers.conftest import MakeBrokerAt
from tests.ws_service.hub.brokers.contract import (
    ADA,
    KEEP,
    BrokerContract,
    Inbox,
    MakeBroker,
    SharedBrokerContract,
    numbered,
)
from ws_service.hub.brokers.redis import RedisBroker, name_of, plain_url
from ws_service.hub.publication import Publication

pytestmark = pytest.mark.system


class TestRedisBroker(BrokerContract, SharedBrokerContract):
    @pytest.fixture
    def make_broker(self, server: RedisServer, broker_at: MakeBrokerAt) -> MakeBroker:
        async def make() -> Inbox:
            return await broker_at(server.url)

        return make


def test_valkey_is_asked_in_the_words_of_redis() -> None:
    assert plain_url("valkey://host:1/2") == "redis://host:1/2"
    assert plain_url("valkeys://host") == "rediss://host"
    assert plain_url("unix:///run/redis.sock?db=1") == "unix:///run/redis.sock?db=1"


@pytest.mark.parametrize(
    ("url", "is_checked"),
    [
        ("rediss://h", True),
        ("valkeys://h/1?db=1", True),
        ("rediss://h?ssl_check_hostname=false", False),
        ("rediss://h?ssl_cert_reqs=none", None),
        ("redis://h", None),
    ],
)
async def test_the_certificate_of_another_host_is_not_the_servers(url: str, is_checked: bool | None) -> None:
    broker = RedisBroker(url)
    assert broker._client.connection_pool.connection_kwargs.get("ssl_check_hostname") is is_checked


def test_the_name_in_the_log_has_no_password() -> None:
    assert name_of("rediss://ada:s3cret@host:6379/1?password=x") == "rediss://host:6379/1"
    assert name_of("unix://ada@/run/redis.sock?password=x") == "unix:///run/redis.sock"


async def test_a_cluster_takes_every_command(tmp_path: Path, broker_at: MakeBrokerAt) -> None:
    """Of one node: it refuses a script whose keys are not in one slot, or are not all declared."""
    bus = str(free_port())  # by default 10,000 above the server's port, where the system finds ports for connections
    with redis_server("valkey", tmp_path, "--cluster-enabled", "yes", "--cluster-port", bus) as server:
        async with Redis.from_url(server.url, protocol=2) as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            async with asyncio.timeout(10):
                while b"cluster_state:ok" not in await client.execute_command("CLUSTER", "INFO"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        inbox = await broker_at(server.url)
        for topic in ("prices", "}a", "news:b"):
            await inbox.broker.subscribe(topic)
            await inbox.broker.publish(topic, Publication(b"1"), KEEP, "key")
            assert numbered([await inbox.next()]) == [1]
            assert (await inbox.broker.history(topic, KEEP, limit=-1)).publications
            await inbox.broker.join(topic, ADA, is_told=False)
            assert await inbox.broker.presence(topic) == {"1": ADA}
            await inbox.broker.leave(topic, ADA, is_told=False)
        assert await inbox.broker.topics() == {"prices": 1, "}a": 1, "news:b": 1}
