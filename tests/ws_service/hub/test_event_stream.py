"""One stream: what it begins with, what its events tell, a client that does not read, and every way that it ends."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.ws_service.hub.stand_ins import turns
from tests.ws_service.hub.streams import Page, StreamHub, running_hub
from tests.ws_service.hub.test_client import Gated
from ws_service.hub import event_stream as module
from ws_service.hub.broker import BrokerError, Control, Lost
from ws_service.hub.codes import UNSUBSCRIBED_BY_SERVER
from ws_service.hub.event_stream import RETRY, retry_line
from ws_service.hub.limits import Limits
from ws_service.hub.publication import Position
from ws_service.hub.sse import EventStreams
from ws_service.hub.stream_query import read_event_id, write_event_id
from ws_service.hub.topics import Namespaces, SlowPolicy, TopicOptions


@pytest_asyncio.fixture
async def broker() -> Gated:
    return Gated()


@pytest_asyncio.fixture
async def hub(broker: Gated) -> AsyncIterator[StreamHub]:
    async with running_hub(broker, Limits(queue=10_000)) as hub:
        yield hub
    assert not hub.clients and not hub.topics
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.fixture
def streams(hub: StreamHub) -> EventStreams:
    return EventStreams(hub)


def ids(page: Page) -> list[dict[str, Position]]:
    return [read_event_id(found) for found in re.findall(r"^id: (.*)$", page.body.decode(), re.MULTILINE)]


def data(page: Page) -> list[Any]:
    return [json.loads(found) for found in re.findall(r"^data: (.*)$", page.body.decode(), re.MULTILINE)]


async def left(page: Page, hub: StreamHub) -> None:
    page.leave()
    await page.end()


# -- beginnings


async def test_a_late_page_gets_the_newest_value_at_once(hub: StreamHub, streams: EventStreams) -> None:
    await hub.publish_data("a", b'{"x":1}')
    await hub.publish_data("a", b'{"x":2}')
    page = Page().open(streams, channels="a", raw="1")
    await page.until(b'data: {"x":2}')
    assert data(page) == [{"x": 2}]
    await left(page, hub)


async def test_centrifugos_form_tells_of_the_connection_and_the_subscription(
    hub: StreamHub, streams: EventStreams
) -> None:
    await hub.publish_data("a", b'{"x":1}')
    page = Page().open(streams, cf_connect='{"subs":{"a":{}}}')
    await page.until(b'"pub"')
    connect, subscribe, publication = data(page)
    assert set(connect) == {"connect"} and "ping" not in connect["connect"]
    assert (subscribe["channel"], subscribe["subscribe"]["recoverable"]) == ("a", True)
    assert "publications" not in subscribe["subscribe"]
    assert publication == {"channel": "a", "pub": {"data": {"x": 1}, "offset": 1}}
    await hub.publish_data("a", b'{"x":2}')
    await page.until(b'{"x":2}')
    assert data(page)[-1] == {"channel": "a", "pub": {"data": {"x": 2}, "offset": 2}}
    await left(page, hub)


async def test_topics_of_the_connections_token_need_not_be_named(hub: StreamHub, streams: EventStreams) -> None:
    await hub.publish_data("a", b"1")
    page = Page().open(streams, token="ada+a+b", raw="1")
    await page.until(b"data: 1")
    assert hub.topics == {"a": 1, "b": 1}
    await left(page, hub)


async def test_a_topic_of_the_token_that_is_named_too_is_subscribed_to_once(
    hub: StreamHub, streams: EventStreams
) -> None:
    page = Page().open(streams, token="ada+a", channels="a,b")
    await page.until(b"subscribe")
    assert hub.topics == {"a": 1, "b": 1}
    await left(page, hub)


async def test_a_token_of_a_topic_gives_the_right(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, cf_connect='{"subs":{"secret":{"token":"ok"}}}')
    await page.until(b"subscribe")
    await left(page, hub)


async def test_a_broker_that_fails_has_the_client_come_back(
    hub: StreamHub, streams: EventStreams, broker: Gated
) -> None:
    broker.failure = BrokerError("away")
    page = await Page().open(streams, channels="a", raw="1").end()
    assert (page.status, page.is_complete) == (200, True)
    assert re.fullmatch(rb"retry: \d+\n\n: a: internal server error; come back\n\n", page.body)


async def test_a_broker_that_does_not_answer_has_the_client_come_back(
    hub: StreamHub, streams: EventStreams, broker: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT", 0.01)
    broker.gate.clear()
    page = await Page().open(streams, channels="a").end()
    assert b": the broker does not answer; come back" in page.body


async def test_what_is_published_while_a_stream_begins_comes_in_order(
    hub: StreamHub, streams: EventStreams, broker: Gated
) -> None:
    position = await hub.publish_data("stream:a", b"1")
    assert position is not None
    last = write_event_id([("stream:a", position)]).decode()
    broker.gate.clear()
    page = Page().open(streams, channels="stream:a", raw="1", headers={"last-event-id": last})
    await turns(10)
    broker.gate.set()
    for number in range(2, 20):
        await hub.publish_data("stream:a", b"%d" % number)
        await turns(1)
    await page.until(b"data: 19")
    assert data(page) == list(range(2, 20))
    await left(page, hub)


def test_clients_come_back_at_different_times() -> None:
    found = {int(re.fullmatch(rb"retry: (\d+)\n\n", retry_line())[1]) for _ in range(100)}  # type: ignore[index]
    assert len(found) > 50
    assert RETRY[0] * 1000 <= min(found) and max(found) <= RETRY[1] * 1000


# -- coming back


async def test_a_client_that_comes_back_gets_what_it_has_missed(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="stream:a,stream:b", raw="1")
    await page.until(b"id: ")
    await hub.publish_data("stream:a", b"1")
    await hub.publish_data("stream:b", b"2")
    await page.until(b"data: 2")
    await left(page, hub)
    last = write_event_id(ids(page)[-1].items()).decode()
    for number in (3, 4):
        await hub.publish_data("stream:a", b"%d" % number)
    page = Page().open(streams, channels="stream:a,stream:b", raw="1", headers={"last-event-id": last})
    await page.until(b"data: 4")
    assert data(page) == [3, 4]
    await left(page, hub)


async def test_a_client_that_has_received_nothing_yet_has_a_position_all_the_same(
    hub: StreamHub, streams: EventStreams
) -> None:
    await hub.publish_data("stream:a", b"1")
    page = Page().open(streams, channels="stream:a", raw="1")
    await page.until(b"id: ")
    await left(page, hub)
    assert ids(page)[-1]["stream:a"].offset == 1
    assert data(page) == []


async def test_the_position_of_the_connections_own_topics_is_told_too(hub: StreamHub, streams: EventStreams) -> None:
    await hub.publish_data("stream:a", b"1")
    page = Page().open(streams, cf_connect='{"token":"ada+stream:a"}')
    await page.until(b'"connect"')
    await left(page, hub)
    last = write_event_id(ids(page)[-1].items()).decode()
    await hub.publish_data("stream:a", b"2")
    page = Page().open(streams, cf_connect='{"token":"ada+stream:a"}', headers={"last-event-id": last})
    await page.until(b'"connect"')
    assert data(page)[0]["connect"]["subs"]["stream:a"]["publications"] == [{"data": 2, "offset": 2}]
    assert ids(page)[-1]["stream:a"].offset == 2
    await left(page, hub)


async def test_a_client_whose_history_is_gone_is_told_of_a_gap(hub: StreamHub, streams: EventStreams) -> None:
    await hub.publish_data("stream:a", b"1")
    last = write_event_id([("stream:a", Position("another", 7))]).decode()
    page = Page().open(streams, channels="stream:a", raw="1", headers={"last-event-id": last})
    await page.until(b'event: gap\ndata: {"channel":"stream:a"}\n\n')
    await left(page, hub)


async def test_a_stream_of_many_topics_has_no_positions(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels=",".join(f"t{n}" for n in range(17)), raw="1")
    await turns(100)
    await hub.publish_data("t16", b"1")
    await page.until(b"data: 1")
    assert not page.body.rpartition(b"\n\n")[0].rpartition(b"\n\n")[2].startswith(b"id:")
    await left(page, hub)


async def test_a_topic_without_history_has_no_position(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="bare:a", raw="1")
    await turns(10)
    await page.until(b"retry")
    await hub.publish_data("bare:a", b"1")
    await page.until(b"data: 1")
    assert b"id:" not in page.body
    await left(page, hub)


# -- silence and slowness


async def test_a_silent_stream_has_comments(
    hub: StreamHub, streams: EventStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.SILENCE < 30
    monkeypatch.setattr(module, "SILENCE", 0.01)
    page = Page().open(streams, channels="a", raw="1")
    await page.until(b"\n\n:\n\n:\n\n")
    await left(page, hub)


async def test_a_burst_reaches_a_client_that_reads_whole(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="a", raw="1")
    await page.until(b"id: ")
    for number in range(50):
        await hub.publish_data("a", b"%d" % number)
    await page.until(b"data: 49\n")
    assert data(page) == list(range(50))
    await left(page, hub)


async def test_of_a_client_that_does_not_read_only_the_newest_is_kept(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="a,b", raw="1")
    await page.until(b"id: ")
    page.gate.clear()
    await hub.publish_data("a", b"0")
    await turns(10)  # it is written, and held up
    for number in range(1, 1000):
        await hub.publish_data("a", b"%d" % number)
    await turns(10)
    await hub.publish_data("b", b'"b"')
    page.gate.set()
    await page.until(b'data: "b"')
    assert data(page) == [0, 999, "b"]
    assert hub.counts.of("a").dropped == {SlowPolicy.LATEST: 998}
    assert hub.counts.of("a").delivered == 1001
    await left(page, hub)


async def test_a_client_that_does_not_read_is_cut_where_the_topic_says_so(
    hub: StreamHub, streams: EventStreams
) -> None:
    hub.namespaces = Namespaces(default=TopicOptions(slow=SlowPolicy.DISCONNECT))
    page = Page().open(streams, channels="a", raw="1")
    await page.until(b"id: ")
    page.gate.clear()
    for _ in range(30):
        await hub.publish_data("a", b'"%b"' % (b"x" * 1000))
        await asyncio.sleep(0)
    await page.end()
    assert page.is_aborted
    assert hub.counts.of("a").dropped == {SlowPolicy.DISCONNECT: 1} and hub.counts.disconnects == {"3008": 1}


async def test_a_client_that_takes_nothing_is_cut(
    hub: StreamHub, streams: EventStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALLED", 0.01)
    page = Page().open(streams, channels="a", raw="1")
    await page.until(b"id: ")
    page.gate.clear()
    await hub.publish_data("a", b"1")
    await page.end()
    assert page.is_aborted


# -- ends


async def test_a_subscription_that_has_lost_something_ends_the_stream(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="stream:a,b", raw="1")
    await page.until(b"id: ")
    hub.receive(Lost("stream:a"))
    await page.end()
    assert page.is_complete
    assert page.events[-1].startswith('event: unsubscribe\ndata: {"channel":"stream:a","unsubscribe":{"code":2500')


async def test_a_stream_whose_last_topic_was_taken_back_ends(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="a,b", headers={"x-user": "ada"})
    await page.until(b'"channel":"b"')
    order = UNSUBSCRIBED_BY_SERVER
    hub.receive(Control("ada", None, "a", order.code, order.reason))
    await page.until(b'"unsubscribe"')
    assert not page.task.done()
    hub.receive(Control("ada", None, "b", order.code, order.reason))
    await page.end()
    assert page.is_complete


async def test_a_user_that_is_disconnected_is_told(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="a", raw="1", headers={"x-user": "ada"})
    await page.until(b"id: ")
    hub.receive(Control("ada", None, None, 3503, "force disconnect"))
    await page.end()
    assert page.events[-1] == 'event: disconnect\ndata: {"disconnect":{"code":3503,"reason":"force disconnect"}}'
    assert hub.counts.disconnects == {"3503": 1}


async def test_others_that_come_and_go_are_told_in_centrifugos_form(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="seen:a")
    raw = Page().open(streams, channels="seen:a", raw="1")
    await page.until(b"retry")
    await raw.until(b"retry")
    other = Page().open(streams, channels="seen:a")
    await other.until(b"subscribe")
    await left(other, hub)
    await page.until(b'"leave"')
    assert b'"join"' in page.body
    assert b"join" not in raw.body and b"leave" not in raw.body
    await left(page, hub)
    await left(raw, hub)


async def test_a_stream_that_is_cancelled_at_any_await_gives_everything_back(hub: StreamHub, broker: Gated) -> None:
    """Each turn of the loop is one await of the stream, or none."""
    for awaits in range(40):
        streams = EventStreams(hub)
        page = Page().open(streams, channels="seen:a,stream:b", raw="1")
        for turn in range(awaits):
            if turn == 20:
                await hub.publish_data("seen:a", b"1")
            await asyncio.sleep(0)
        page.task.cancel()
        await asyncio.wait([page.task])
        assert not len(streams)
        await turns(20)
        assert not hub.clients and not hub.topics, f"cancelled after {awaits} turns"
        assert not await broker.presence("seen:a")
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not [name for name in names if "event stream" in name or "hub client" in name]


async def test_a_client_that_leaves_at_any_time_leaves_nothing(hub: StreamHub, broker: Gated) -> None:
    for awaits in range(40):
        streams = EventStreams(hub)
        page = Page().open(streams, channels="seen:a,stream:b", raw="1")
        for _ in range(awaits):
            await asyncio.sleep(0)
        page.leave()
        await page.end()
        await turns(20)
        assert not hub.clients and not hub.topics
        assert not await broker.presence("seen:a")
