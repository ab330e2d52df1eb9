"""What every broker does. A test module of a broker has a class that inherits ``BrokerContract`` (and
``SharedBrokerContract``, where several processes can use the broker), and a fixture ``make_broker``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from ws_service.hub.broker import Broker, Control, Event, Joined, Keep, Left, Lost, Published
from ws_service.hub.publication import ClientInfo, Position, Publication

KEEP = Keep(10, 60.0)
ADA = ClientInfo("1", "ada", b'{"name":"Ada"}', b'{"seat":1}')
BOB = ClientInfo("2", "bob")

_marks = count(1)


class Inbox:
    """A broker, and what it has told."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    async def start(self) -> None:
        await self.broker.start(self._events.put_nowait)

    async def next(self) -> Event:
        async with asyncio.timeout(5):
            return await self._events.get()

    async def take(self, number: int) -> list[Event]:
        return [await self.next() for _ in range(number)]

    async def so_far(self) -> list[Event]:
        """Return what was told before now: a control order passes through the same connection."""
        mark = Control(None, None, None, 0, f"mark {next(_marks)}")
        await self.broker.control(mark)
        events: list[Event] = []
        while (event := await self.next()) != mark:
            events.append(event)
        return [event for event in events if not _is_mark(event)]


def _is_mark(event: Event) -> bool:
    return isinstance(event, Control) and event.reason.startswith("mark ")


def numbered(events: list[Event]) -> list[int]:
    """Return the data of publications that are numbers. Any other event fails."""
    assert all(isinstance(event, Published) for event in events), events
    return [int(event.publication.data) for event in events if isinstance(event, Published)]


MakeBroker = Callable[[], Awaitable[Inbox]]
"""Gives a started broker; each is a process of its own, as far as the broker can tell."""


class BrokerContract:
    @pytest.fixture
    async def inbox(self, make_broker: MakeBroker) -> Inbox:
        return await make_broker()

    @pytest.fixture
    def broker(self, inbox: Inbox) -> Broker:
        return inbox.broker

    async def test_a_publication_reaches_the_subscriber_with_its_place(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        sent = Publication(b'{"A":1}', info=ADA, tags={"exchange": "x"})
        position = await inbox.broker.publish("prices", sent, KEEP)
        assert position is not None and position.offset == 1 and position.epoch
        assert await inbox.so_far() == [
            Published("prices", Publication(sent.data, 1, ADA, {"exchange": "x"}), position.epoch)
        ]

    async def test_publications_come_in_the_order_of_their_offsets(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        for number in range(1, 21):
            await inbox.broker.publish("prices", Publication(b"%d" % number), KEEP)
        events = await inbox.so_far()
        assert numbered(events) == list(range(1, 21))
        assert [event.publication.offset for event in events if isinstance(event, Published)] == list(range(1, 21))

    async def test_a_topic_without_history_gives_no_place_and_keeps_nothing(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        assert await inbox.broker.publish("prices", Publication(b"1"), Keep()) is None
        assert await inbox.so_far() == [Published("prices", Publication(b"1"))]
        assert await inbox.broker.history("prices", Keep(), limit=-1) == (Position("", 0), ())

    async def test_topics_that_are_not_subscribed_to_are_not_received(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        await inbox.broker.subscribe("news")
        await inbox.broker.unsubscribe("prices")
        await inbox.broker.publish("prices", Publication(b"1"), KEEP)
        await inbox.broker.publish("weather", Publication(b"2"), KEEP)
        await inbox.broker.publish("news", Publication(b"3"), KEEP)
        assert numbered(await inbox.so_far()) == [3]

    async def test_the_history_has_the_newest_publications(self, broker: Broker) -> None:
        for number in range(1, 16):
            await broker.publish("prices", Publication(b"%d" % number, info=BOB, tags={"a": "b"}), KEEP)
        history = await broker.history("prices", KEEP, limit=-1)
        assert history.position.offset == 15
        assert [int(one.data) for one in history.publications] == list(range(6, 16))
        assert history.publications[0] == Publication(b"6", 6, BOB, {"a": "b"})

    async def test_the_history_after_a_place_from_a_place_backward_and_limited(self, broker: Broker) -> None:
        for number in range(1, 8):
            await broker.publish("prices", Publication(b"%d" % number), KEEP)

        async def read(since: int | None, limit: int, is_reversed: bool = False) -> list[int]:
            place = None if since is None else Position("any", since)
            history = await broker.history("prices", KEEP, place, limit, is_reversed=is_reversed)
            assert history.position.offset == 7
            return [one.offset for one in history.publications]

        assert await read(None, 0) == []
        assert await read(None, 2) == [1, 2]
        assert await read(4, -1) == [5, 6, 7]
        assert await read(4, 2) == [5, 6]
        assert await read(7, -1) == []
        assert await read(99, -1) == []
        assert await read(None, 2, True) == [7, 6]
        assert await read(3, -1, True) == [2, 1]
        assert await read(1, -1, True) == []

    async def test_a_topic_that_was_never_published_to_has_an_epoch_that_stays(self, broker: Broker) -> None:
        before = (await broker.history("prices", KEEP)).position
        assert before.offset == 0 and before.epoch
        assert await broker.publish("prices", Publication(b"1"), KEEP) == Position(before.epoch, 1)
        assert (await broker.history("news", KEEP)).position.epoch != before.epoch

    async def test_publications_expire_and_the_place_does_not(self, broker: Broker) -> None:
        keep = Keep(10, 0.05)
        position = await broker.publish("prices", Publication(b"1"), keep)
        await asyncio.sleep(0.06)
        assert await broker.history("prices", keep, limit=-1) == (position, ())

    async def test_an_idempotency_key_publishes_once(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        first = await inbox.broker.publish("prices", Publication(b"1"), KEEP, "key")
        assert await inbox.broker.publish("prices", Publication(b"1"), KEEP, "key") == first
        other = await inbox.broker.publish("prices", Publication(b"2"), KEEP, "another")
        assert other is not None and other.offset == 2
        assert numbered(await inbox.so_far()) == [1, 2]

    async def test_an_idempotency_key_is_of_its_topic(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("news")
        await inbox.broker.publish("prices", Publication(b"1"), KEEP, "key")
        await inbox.broker.publish("news", Publication(b"2"), KEEP, "key")
        assert numbered(await inbox.so_far()) == [2]

    async def test_an_idempotency_key_without_history(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        for _ in range(2):
            assert await inbox.broker.publish("prices", Publication(b"1"), Keep(), "key") is None
        assert numbered(await inbox.so_far()) == [1]

    async def test_publications_at_once_get_one_place_each(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        publish = inbox.broker.publish
        positions = await asyncio.gather(*(publish("prices", Publication(b"%d" % n), KEEP) for n in range(50)))
        assert sorted(one.offset for one in positions if one) == list(range(1, 51))
        events = [event for event in await inbox.so_far() if isinstance(event, Published)]
        assert [event.publication.offset for event in events] == list(range(1, 51))
        assert {int(event.publication.data): event.publication.offset for event in events} == {
            number: one.offset for number, one in enumerate(positions) if one
        }

    async def test_presence_counts_clients(self, broker: Broker) -> None:
        await broker.join("chat", ADA, is_told=False)
        await broker.join("chat", BOB, is_told=False)
        await broker.join("news", BOB, is_told=False)
        assert await broker.presence("chat") == {"1": ADA, "2": BOB}
        await broker.leave("chat", ADA, is_told=False)
        assert await broker.presence("chat") == {"2": BOB}
        assert await broker.presence("empty") == {}

    async def test_who_comes_and_goes_is_told_where_it_shall_be(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("chat")
        await inbox.broker.join("chat", ADA, is_told=True)
        await inbox.broker.join("chat", BOB, is_told=False)
        await inbox.broker.leave("chat", BOB, is_told=False)
        await inbox.broker.leave("chat", ADA, is_told=True)
        assert await inbox.so_far() == [Joined("chat", ADA), Left("chat", ADA)]

    async def test_a_client_that_is_not_there_does_not_leave(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("chat")
        await inbox.broker.leave("chat", ADA, is_told=True)
        assert await inbox.so_far() == []

    async def test_topics_with_subscribers_are_listed(self, broker: Broker) -> None:
        await broker.publish("weather", Publication(b"1"), KEEP)
        await broker.subscribe("prices")
        await broker.subscribe("news:{a}*")
        assert await broker.topics() == {"prices": 1, "news:{a}*": 1}
        await broker.unsubscribe("prices")
        assert await broker.topics() == {"news:{a}*": 1}

    async def test_a_control_order_reaches_this_process(self, inbox: Inbox) -> None:
        order = Control("ada", None, "prices", 2000, "server unsubscribe")
        await inbox.broker.control(order)
        assert await inbox.next() == order

    @pytest.mark.parametrize(
        "topic", ["a{b}c", "}a{", "{", "a\u00e9\u4e16", "x" * 255, "a b%7D", "user:#ada,bob", "*?["]
    )
    async def test_any_name_is_a_topic_of_its_own(self, inbox: Inbox, topic: str) -> None:
        await inbox.broker.subscribe(topic)
        await inbox.broker.publish(topic, Publication(b"1"), KEEP, "key")
        await inbox.broker.publish(topic + "x", Publication(b"2"), KEEP, "key")
        assert numbered(await inbox.so_far()) == [1]
        assert [one.data for one in (await inbox.broker.history(topic, KEEP, limit=-1)).publications] == [b"1"]

    async def test_a_large_publication_passes_whole(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        data = b'"' + b"x" * 1_000_000 + b'\xc3\xa9\\n"'
        await inbox.broker.publish("prices", Publication(data), KEEP)
        (event,) = await inbox.so_far()
        assert isinstance(event, Published) and event.publication.data == data

    async def test_a_shorter_history_keeps_fewer_from_then_on(self, broker: Broker) -> None:
        for number in range(1, 6):
            await broker.publish("prices", Publication(b"%d" % number), KEEP)
        await broker.publish("prices", Publication(b"6"), Keep(2, 60.0))
        history = await broker.history("prices", KEEP, limit=-1)
        assert [one.offset for one in history.publications] == [5, 6]

    async def test_one_subscription_however_often_it_is_asked_for(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        await inbox.broker.subscribe("prices")
        await inbox.broker.publish("prices", Publication(b"1"), KEEP)
        assert numbered(await inbox.so_far()) == [1]
        await inbox.broker.unsubscribe("prices")
        await inbox.broker.unsubscribe("prices")
        await inbox.broker.publish("prices", Publication(b"2"), KEEP)
        assert await inbox.so_far() == []

    async def test_after_the_end_nothing_is_told(self, inbox: Inbox) -> None:
        await inbox.broker.subscribe("prices")
        assert await inbox.so_far() == []
        await inbox.broker.close()
        await inbox.broker.close()

    async def test_nothing_is_lost_in_ordinary_use(self, inbox: Inbox) -> None:
        """Positions are asked for by many, while publications come."""
        await inbox.broker.subscribe("prices")

        async def publish() -> None:
            for number in range(30):
                await inbox.broker.publish("prices", Publication(b"%d" % number), KEEP)

        async def ask() -> None:
            for _ in range(10):
                await inbox.broker.history("prices", KEEP)

        await asyncio.gather(publish(), *(ask() for _ in range(5)))
        events = await inbox.so_far()
        assert not [event for event in events if isinstance(event, Lost)]
        assert numbered(events) == list(range(30))


class SharedBrokerContract:
    """What brokers do that join several processes."""

    async def test_all_processes_get_the_same_order(self, make_broker: MakeBroker) -> None:
        processes = [await make_broker() for _ in range(3)]
        for process in processes:
            await process.broker.subscribe("prices")

        async def publish(inbox: Inbox, first: int) -> None:
            for number in range(first, first + 30):
                await inbox.broker.publish("prices", Publication(b"%d" % number), KEEP)

        await asyncio.gather(*(publish(process, 100 * number) for number, process in enumerate(processes)))
        orders = [numbered(await process.take(90)) for process in processes]
        assert orders[0] == orders[1] == orders[2]
        assert sorted(orders[0]) == [*range(30), *range(100, 130), *range(200, 230)]

    async def test_history_presence_and_idempotency_are_shared(self, make_broker: MakeBroker) -> None:
        one, other = await make_broker(), await make_broker()
        position = await one.broker.publish("chat", Publication(b"1"), KEEP, "key")
        assert await other.broker.publish("chat", Publication(b"1"), KEEP, "key") == position
        assert await other.broker.history("chat", KEEP, limit=-1) == await one.broker.history("chat", KEEP, limit=-1)
        await one.broker.join("chat", ADA, is_told=False)
        await other.broker.join("chat", BOB, is_told=False)
        assert await one.broker.presence("chat") == {"1": ADA, "2": BOB}

    async def test_topics_are_those_of_all_processes(self, make_broker: MakeBroker) -> None:
        one, other = await make_broker(), await make_broker()
        await one.broker.subscribe("a")
        await one.broker.subscribe("b")
        await other.broker.subscribe("b")
        assert await other.broker.topics() == {"a": 1, "b": 2}

    async def test_a_control_order_reaches_every_process(self, make_broker: MakeBroker) -> None:
        one, other = await make_broker(), await make_broker()
        order = Control(None, "client", None, 3503, "force disconnect")
        await one.broker.control(order)
        assert await other.next() == await one.next() == order

    async def test_who_comes_is_told_in_every_process(self, make_broker: MakeBroker) -> None:
        one, other = await make_broker(), await make_broker()
        await other.broker.subscribe("chat")
        await one.broker.join("chat", ADA, is_told=True)
        await one.broker.leave("chat", ADA, is_told=True)
        assert await other.take(2) == [Joined("chat", ADA), Left("chat", ADA)]
