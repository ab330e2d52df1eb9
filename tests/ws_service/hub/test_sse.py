"""Event streams as an ASGI server serves them, with the real hub and a broker in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.ws_service.hub.stand_ins import turns
from tests.ws_service.hub.streams import Page, StreamHub, running_hub
from tests.ws_service.websocket.test_listener import listening
from ws_service.hub import event_stream, sse
from ws_service.hub.sse import EventStreams


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[StreamHub]:
    async with running_hub() as hub:
        yield hub
        assert not hub.clients and not hub.topics


@pytest_asyncio.fixture
async def streams(hub: StreamHub) -> AsyncIterator[EventStreams]:
    streams = EventStreams(hub)
    yield streams
    streams.stop()
    await turns(20)
    assert not len(streams)


def message(page: Page) -> str:
    said: str = json.loads(page.body)["message"]
    return said


async def test_a_page_gets_what_is_published(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="a,b", raw="1")
    await page.until(b"retry: ")
    await hub.publish_data("a", b'{"x":1}')
    await hub.publish_data("b", b"2")
    await page.until(b"data: 2\n\n")
    assert page.status == 200
    assert page.fields == {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
    }
    assert [event.splitlines()[-1] for event in page.events if "data:" in event] == ['data: {"x":1}', "data: 2"]
    assert hub.topics == {"a": 1, "b": 1}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_refused(streams: EventStreams, method: str) -> None:
    page = await Page().open(streams, method=method, channels="a").end()
    assert (page.status, page.fields["allow"]) == (405, "GET, HEAD")


async def test_a_head_gets_the_fields_alone(hub: StreamHub, streams: EventStreams) -> None:
    page = await Page().open(streams, method="HEAD", channels="a").end()
    assert (page.status, page.fields["content-type"], page.body, hub.clients) == (200, "text/event-stream", b"", 0)


@pytest.mark.parametrize("query", [{}, {"channels": ""}, {"cf_connect": "[]"}, {"cf_connect": "{}"}])
async def test_a_query_that_asks_for_nothing_is_refused(streams: EventStreams, query: dict[str, str]) -> None:
    page = await Page().open(streams, **query).end()
    assert page.status == 400


async def test_more_topics_than_a_connection_may_have_are_refused(streams: EventStreams) -> None:
    page = await Page().open(streams, channels=",".join(f"t{n}" for n in range(129))).end()
    assert (page.status, message(page)) == (400, "a stream has at most 128 topics.")


async def test_a_topic_without_the_right_is_refused(hub: StreamHub, streams: EventStreams) -> None:
    page = await Page().open(streams, channels="a,secret").end()
    assert (page.status, message(page)) == (403, "secret: permission denied.")
    assert page.is_complete


async def test_a_wrong_token_is_refused(streams: EventStreams) -> None:
    page = await Page().open(streams, channels="a", token="bad").end()
    assert page.status == 401


async def test_an_expired_token_is_refused(streams: EventStreams) -> None:
    page = await Page().open(streams, channels="a", token="ada,0").end()
    assert (page.status, message(page)) == (401, "token expired.")


async def test_one_client_has_a_bounded_number_of_streams(
    streams: EventStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "PER_CLIENT", 2)
    pages = [Page().open(streams, channels="a", address="2001:db8::1") for _ in range(2)]
    for each in pages:
        await each.until(b"retry")
    refused = await Page().open(streams, channels="a", address="2001:db8::2").end()
    assert (refused.status, refused.fields["retry-after"]) == (429, "10")
    other = Page().open(streams, channels="a", address="192.0.2.9")
    await other.until(b"retry")
    pages[0].leave()
    await pages[0].end()
    await Page().open(streams, channels="a", address="2001:db8::2").until(b"retry")


async def test_at_a_stop_streams_end_and_their_clients_are_told_to_come_back(
    hub: StreamHub, streams: EventStreams
) -> None:
    page = Page().open(streams, channels="a")
    await page.until(b"subscribe")
    hub.stop()
    streams.stop()
    await page.end()
    assert page.is_complete
    assert page.events[-1] == 'data: {"disconnect":{"code":3001,"reason":"shutdown"}}'
    late = await Page().open(streams, channels="a").end()
    assert (late.status, late.is_complete) == (200, True)
    assert late.body.startswith(b"retry: ")


async def test_the_hub_gets_the_head_with_which_the_client_came(hub: StreamHub, streams: EventStreams) -> None:
    page = Page().open(streams, channels="a", headers={"x-user": "ada"})
    await page.until(b"retry")
    [handshake] = hub.handshakes
    assert (handshake.address, handshake.path, handshake.query) == ("192.0.2.1", "/x/connection/uni_sse", "channels=a")
    assert hub.users == 1


async def test_a_client_without_an_address_is_one_of_a_unix_socket(streams: EventStreams, hub: StreamHub) -> None:
    page = Page().open(streams, channels="a", address="")
    await page.until(b"retry")
    assert hub.handshakes[0].address == "unix"


# -- on uvicorn's own connection


async def test_a_client_that_takes_nothing_is_cut_and_the_server_says_nothing_of_it(
    hub: StreamHub, streams: EventStreams, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(event_stream, "STALLED", 0.1)
    async with listening(app=streams) as rig:
        client = await rig.dial()
        client.writer.write(b"GET /connection/uni_sse?channels=a&raw=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined] # it is one for both directions
        while len(streams):
            await hub.publish_data("a", b'"%b"' % (b"x" * 200_000))
            await asyncio.sleep(0.01)
    assert caplog.messages == []
    assert not hub.clients


async def test_a_client_that_closes_its_connection_leaves_nothing(
    hub: StreamHub, streams: EventStreams, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(app=streams) as rig:
        client = await rig.dial()
        client.writer.write(b"GET /connection/uni_sse?channels=a&raw=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        client.writer.transport.abort()
        async with asyncio.timeout(5):
            while len(streams):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
    assert caplog.messages == []


async def test_a_response_that_is_refused_leaves_the_connection_for_the_next_request(streams: EventStreams) -> None:
    async with listening(app=streams) as rig:
        client = await rig.dial()
        for _ in range(2):
            client.writer.write(b"GET /connection/uni_sse?channels=secret HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP/1.1 403 " in await client.head()  # after the body of the one before
