"""What subscribers get when the server, or the connection to it, fails: each publication, or ``Lost``. Never a gap."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.processes import free_port
from tests.redis_server import RedisServer, redis_server
from tests.system.hub.relay import running_relay
from tests.ws_service.hub.brokers.conftest import MakeBrokerAt
from tests.ws_service.hub.brokers.contract import KEEP, Inbox, numbered
from tests.ws_service.hub.brokers.publishing import LONG, publish, publish_when_it_can, subscribe_when_it_can, until
from ws_service.hub.broker import BrokerError, Control, Event, Keep, Lost, Published
from ws_service.hub.brokers.redis import RedisBroker
from ws_service.hub.publication import History, Position, Publication

pytestmark = pytest.mark.system


async def test_a_cut_connection_loses_nothing(server: RedisServer, broker_at: MakeBrokerAt) -> None:
    inbox = await broker_at(server.url)
    await inbox.broker.subscribe("prices")
    async with Redis.from_url(server.url) as client:
        for number in range(300):
            if number % 50 == 25:
                await client.client_kill_filter(_type="pubsub")
            await publish(inbox, number)
    assert numbered(await until(inbox, 299)) == list(range(300))


async def test_a_cut_connection_is_told_where_there_is_no_history(server: RedisServer, broker_at: MakeBrokerAt) -> None:
    inbox = await broker_at(server.url)
    await inbox.broker.subscribe("prices")
    await publish(inbox, 1, keep=Keep())
    assert numbered([await inbox.next()]) == [1]
    async with Redis.from_url(server.url) as client:
        await client.client_kill_filter(_type="pubsub")
    assert await inbox.next() == Lost("prices")
    await publish(inbox, 2, keep=Keep())
    assert numbered([await inbox.next()]) == [2]


async def test_a_cut_connection_in_which_the_history_was_outrun_is_told(
    server: RedisServer, broker_at: MakeBrokerAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ws_service.hub.brokers.redis_subscriber.random.uniform", lambda low, high: 0.3)
    inbox = await broker_at(server.url)
    await inbox.broker.subscribe("prices")
    await publish(inbox, 1, keep=KEEP)
    assert numbered([await inbox.next()]) == [1]
    async with Redis.from_url(server.url) as client:
        await client.client_kill_filter(_type="pubsub")
    await publish(inbox, *range(2, 20), keep=KEEP)
    assert await inbox.next() == Lost("prices")
    await publish(inbox, 20, keep=KEEP)
    assert numbered([await inbox.next()]) == [20]


async def test_a_fault_in_reading_what_was_missed_is_told_as_often_as_it_happens(
    server: RedisServer,
    broker_at: MakeBrokerAt,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    inbox = await broker_at(server.url)
    read = inbox.broker._subscriber._read_missed

    async def fail(topic: str, since: Position | None) -> History | None:
        if topic == "prices":
            raise TypeError
        return await read(topic, since)

    await inbox.broker.subscribe("prices")
    await publish(inbox, 0, keep=KEEP)
    assert numbered([await inbox.next()]) == [0]
    monkeypatch.setattr(inbox.broker._subscriber, "_read_missed", fail)
    async with Redis.from_url(server.url) as client:
        for number in range(1, 6):  # more often than there are tasks that read
            await client.client_kill_filter(_type="pubsub")
            assert await inbox.next() == Lost("prices")
            await publish(inbox, number, keep=KEEP)
            assert numbered([await inbox.next()]) == [number]
    assert caplog.text.count("told as lost") == 5


async def test_orders_that_were_given_during_a_cut_arrive(server: RedisServer, broker_at: MakeBrokerAt) -> None:
    one, other = await broker_at(server.url), await broker_at(server.url)
    async with Redis.from_url(server.url) as client:
        for number in range(20):
            await client.client_kill_filter(_type="pubsub")
            await one.broker.control(Control(None, str(number), None, 3503, "force disconnect"))
    for inbox in (one, other):
        assert [order.client for order in await inbox.take(20) if isinstance(order, Control)] == [
            str(number) for number in range(20)
        ]


async def test_a_server_that_lost_its_data_is_told_with_the_next_publication(
    server: RedisServer, broker_at: MakeBrokerAt
) -> None:
    inbox = await broker_at(server.url)
    await inbox.broker.subscribe("prices")
    before = await publish(inbox, 1, 2)
    async with Redis.from_url(server.url) as client:
        await client.flushall()
    after = await publish(inbox, 3)
    assert before is not None and after is not None and after.epoch != before.epoch
    assert [type(event) for event in await inbox.take(4)] == [Published, Published, Lost, Published]


async def test_a_killed_server_fails_clearly_and_comes_back(own_server: RedisServer, broker_at: MakeBrokerAt) -> None:
    inbox = await broker_at(own_server.url)
    await inbox.broker.subscribe("prices")
    await publish(inbox, 1)
    assert numbered([await inbox.next()]) == [1]
    own_server.kill()
    with pytest.raises(BrokerError):
        await publish(inbox, 2)
    with pytest.raises(BrokerError):
        await inbox.broker.history("prices", LONG)
    with pytest.raises(BrokerError):
        await inbox.broker.presence("prices")
    own_server.start()
    await publish_when_it_can(inbox, 3)
    assert await inbox.next() == Lost("prices")
    await publish(inbox, 4)
    assert numbered(await until(inbox, 4)) in ([4], [3, 4])


async def test_no_topic_is_subscribed_to_without_a_server(own_server: RedisServer, broker_at: MakeBrokerAt) -> None:
    inbox = await broker_at(own_server.url)
    await inbox.broker.subscribe("prices")
    own_server.kill()
    with pytest.raises(BrokerError):
        await asyncio.wait_for(_subscribe_again_and_again(inbox, "news"), 10)
    await inbox.broker.unsubscribe("prices")
    own_server.start()
    await publish_when_it_can(inbox, 1)
    await subscribe_when_it_can(inbox, "weather")
    assert await inbox.broker.topics() == {"weather": 1}


async def _subscribe_again_and_again(inbox: Inbox, topic: str) -> None:
    while True:  # the end of the connection may not have arrived yet
        await inbox.broker.subscribe(topic)
        await inbox.broker.unsubscribe(topic)


async def test_a_restart_from_an_older_copy_is_told(tmp_path: Path, broker_at: MakeBrokerAt) -> None:
    """The offsets after the copy are given a second time: without a new epoch a subscriber would skip them."""
    with redis_server("valkey", tmp_path) as server:
        inbox = await broker_at(server.url)
        await inbox.broker.subscribe("prices")
        await publish(inbox, 1, 2)
        async with Redis.from_url(server.url) as client:
            await client.save()
        before = await publish(inbox, 3, 4)
        assert numbered(await inbox.take(4)) == [1, 2, 3, 4]
        server.kill()
        server.start()
        await publish_when_it_can(inbox, 5)
        assert await inbox.next() == Lost("prices")
        history = await inbox.broker.history("prices", LONG, limit=-1)
        assert before is not None and history.position == (history.position.epoch, 3) != before
        assert history.position.epoch != before.epoch
        assert [one.data for one in history.publications] == [b"1", b"2", b"5"]


async def test_a_server_that_hangs_fails_in_time_and_loses_nothing_silently(
    own_server: RedisServer, broker_at: MakeBrokerAt
) -> None:
    inbox = await broker_at(own_server.url, timeout=0.3)
    await inbox.broker.subscribe("prices")
    await publish(inbox, 1)
    assert numbered([await inbox.next()]) == [1]
    lag = await inbox.broker.lag()
    assert inbox.broker.is_connected and lag is not None and 0 < lag < 0.5
    own_server.pause()
    try:
        assert await inbox.broker.lag() is None
        async with asyncio.timeout(5):
            with pytest.raises(BrokerError):
                await publish(inbox, 2)
            with pytest.raises(BrokerError):
                await inbox.broker.subscribe("news")
    finally:
        own_server.go_on()
    await publish_when_it_can(inbox, 3)
    first = await inbox.next()
    if first != Lost("prices"):  # it may be told when the server needs long to answer again
        events = [first, *(await until(inbox, 3) if numbered([first]) == [2] else [])]
        assert numbered(events) in ([3], [2, 3])  # the failed one may have happened


async def test_a_reader_that_is_too_slow_for_the_server_loses_nothing(
    own_server: RedisServer, broker_at: MakeBrokerAt, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cuts the connection when more waits for it than it allows (client-output-buffer-limit)."""
    monkeypatch.setattr("ws_service.hub.brokers.redis.MAX_MISSED_BYTES", 100 << 20)
    inbox = await broker_at(own_server.url)
    await inbox.broker.subscribe("prices")
    await publish(inbox, 0)
    assert numbered([await inbox.next()]) == [0]
    async with Redis.from_url(own_server.url) as client:
        await client.config_set("client-output-buffer-limit", "pubsub 100kb 50kb 1")

    async def publish_much() -> None:
        broker = RedisBroker(own_server.url)
        for number in range(1, 1000):
            await broker.publish("prices", Publication(b"%d" % number + b" " * 15_000), LONG)
        await broker.close()

    publisher = threading.Thread(target=asyncio.run, args=(publish_much(),), name="publisher")
    publisher.start()
    publisher.join()  # meanwhile nothing is read here
    assert numbered(await inbox.take(999)) == list(range(1, 1000))
    assert "no connection" in caplog.text


async def test_what_is_missed_is_bounded_and_told(
    server: RedisServer, broker_at: MakeBrokerAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ws_service.hub.brokers.redis.MAX_MISSED", 50)
    inbox, other = await broker_at(server.url), await broker_at(server.url)
    await inbox.broker.subscribe("prices")
    await publish(inbox, 0)
    assert numbered([await inbox.next()]) == [0]
    await inbox.broker.unsubscribe("prices")
    await publish(other, *range(1, 200))
    await inbox.broker.subscribe("prices")
    inbox.broker._subscriber.expect("prices", Position((await other.broker.history("prices", LONG)).position.epoch, 1))  # type: ignore[attr-defined]
    await publish(other, 200)
    assert [await inbox.next(), *numbered([await inbox.next()])][0] == Lost("prices")


async def test_a_service_starts_before_its_server(tmp_path: Path, broker_at: MakeBrokerAt) -> None:
    server = RedisServer("valkey", tmp_path)
    inbox = await broker_at(server.url)
    with pytest.raises(BrokerError, match="no connection to redis:"):
        await inbox.broker.subscribe("prices")
    server.start()
    try:
        await publish_when_it_can(inbox, 1)
        await subscribe_when_it_can(inbox, "prices")
        await publish(inbox, 2)
        assert numbered([await inbox.next()]) == [2]
    finally:
        server.stop()


async def test_a_password_is_in_no_line_of_the_log(
    tmp_path: Path, broker_at: MakeBrokerAt, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with redis_server("valkey", tmp_path, "--requirepass", "right") as server:
        wrong = await broker_at(server.url.replace("://", "://ada:s3cret@"))
        right = await broker_at(server.url.replace("://", "://:right@"))
        with pytest.raises(BrokerError) as refused:
            await publish(wrong, 1)
        await publish(right, 1)
    await broker_at(f"redis://ada:s3cret@127.0.0.1:{free_port()}/0")
    assert "no connection to redis://127.0.0.1" in caplog.text
    assert "s3cret" not in caplog.text + str(refused.value) + repr(refused.value.__cause__)


async def test_a_message_of_another_program_disturbs_none(
    server: RedisServer, broker_at: MakeBrokerAt, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = await broker_at(server.url)
    await inbox.broker.subscribe("prices")
    async with Redis.from_url(server.url) as client:
        await client.publish("dash-ws:0:prices", "hello")
        for _ in range(3):
            await client.publish("dash-ws:0:\0control", "p0 \n\n[]")
    await publish(inbox, 1)
    assert numbered([await inbox.next()]) == [1]
    assert [each.message.partition(":")[0] for each in caplog.records] == [
        "a message of another program",
        "an order of another program",
    ]


async def test_an_epoch_of_another_program_is_an_error_of_the_broker(
    server: RedisServer, broker_at: MakeBrokerAt
) -> None:
    inbox = await broker_at(server.url)
    await publish(inbox, 1)
    async with Redis.from_url(server.url) as client:
        await client.hset("dash-ws:{prices}:meta", "e", b"\xff")  # type: ignore[misc]
    with pytest.raises(BrokerError, match="Redis: "):
        await publish(inbox, 2)


async def test_a_subscription_that_is_cancelled_leaves_nothing(server: RedisServer, broker_at: MakeBrokerAt) -> None:
    inbox = await broker_at(server.url)
    for turns in range(6):
        task = asyncio.get_running_loop().create_task(inbox.broker.subscribe("prices"), name="subscribe")  # type: ignore[arg-type]
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await inbox.broker.unsubscribe("prices")
        assert await inbox.broker.topics() == {}
    await inbox.broker.subscribe("prices")
    await publish(inbox, 1)
    assert numbered([await inbox.next()]) == [1]


async def test_a_replica_that_takes_over_is_told(tmp_path: Path, broker_at: MakeBrokerAt) -> None:
    for name in ("primary", "replica"):
        (tmp_path / name).mkdir()
    with (
        redis_server("valkey", tmp_path / "primary", "--repl-diskless-sync-delay", "0") as primary,
        redis_server("valkey", tmp_path / "replica", "--replicaof", f"127.0.0.1 {primary.port}") as replica,
        running_relay(primary.port) as address,
    ):
        inbox = await broker_at(f"redis://127.0.0.1:{address.port}/0")
        await inbox.broker.subscribe("prices")
        before = await publish(inbox, 1, 2)
        assert numbered(await inbox.take(2)) == [1, 2]
        async with Redis.from_url(primary.url, socket_timeout=15) as client:
            await client.set("a", "b")  # WAIT is about what this connection has written
            assert await client.wait(1, 10_000) == 1
        primary.kill()
        async with Redis.from_url(replica.url) as client:
            await client.replicaof("NO", "ONE")
        address.lead_to(replica.port)
        assert await inbox.next() == Lost("prices")
        after = await publish(inbox, 3)
        assert numbered([await inbox.next()]) == [3]
        assert before is not None and after is not None
        assert (after.epoch != before.epoch, after.offset) == (True, 3)
        history = await inbox.broker.history("prices", LONG, limit=-1)
        assert [one.data for one in history.publications] == [b"1", b"2", b"3"]


class Publisher:
    """Publishes numbers to a topic, one after the other, and goes on where that fails."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._task = asyncio.get_running_loop().create_task(self._publish(), name="publisher")

    async def _publish(self) -> None:
        while True:
            with suppress(BrokerError):
                await publish(self._inbox, 0)
            await asyncio.sleep(0.002)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def assert_no_gap_is_silent(events: list[Event]) -> Position:
    """Check that each publication follows the one before it, or ``Lost``; return the place of the last one."""
    reached: Position | None = None
    for event in events:
        if isinstance(event, Published):
            place = Position(event.epoch, event.publication.offset)
            assert reached in (None, Position(place.epoch, place.offset - 1)), (reached, place)
        reached = place if isinstance(event, Published) else None
    assert reached is not None
    return reached


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_fails_at_random_no_gap_is_silent(
    own_server: RedisServer, broker_at: MakeBrokerAt, seed: int
) -> None:
    chance = random.Random(seed)
    inbox, other = await broker_at(own_server.url, timeout=0.5), await broker_at(own_server.url, timeout=0.5)
    await inbox.broker.subscribe("prices")
    publisher = Publisher(other)
    for _ in range(12):
        await asyncio.sleep(chance.uniform(0, 0.1))
        what = chance.choice(["cut", "cut", "forget", "save", "restart", "hang"])
        if what == "restart":
            own_server.kill()
            own_server.start()
        elif what == "hang":
            own_server.pause()
            await asyncio.sleep(0.2)
            own_server.go_on()
        else:
            async with Redis.from_url(own_server.url) as client:
                await {"cut": cut, "forget": Redis.flushall, "save": Redis.save}[what](client)
    await publisher.end()
    events: list[Event] = []
    async with asyncio.timeout(15):  # until what is published now is received
        while not (events and isinstance(events[-1], Published) and events[-1].publication.data == b"1"):
            with suppress(BrokerError):
                await publish(inbox, 1)
            events += await so_far(inbox)
    assert_no_gap_is_silent(events)


async def cut(client: Redis) -> None:
    await client.client_kill_filter(_type="pubsub")


async def so_far(inbox: Inbox) -> list[Event]:
    """Return what is told before a short silence."""
    events: list[Event] = []
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.1):
                events.append(await inbox.next())
    return events
