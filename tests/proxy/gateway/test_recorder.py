"""The record of an exchange: its id, its clocks, and whether it is in flight."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.recorder import Recorder
from proxy.http1.headers import Head
from tests.proxy.listening import listening
from tests.proxy.origin import origin, read_head

HEAD = Head("GET", "/", (1, 1), ((b"Host", b"x"), (b"User-Agent", b"a"), (b"Cookie", b"c")))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_each_exchange_has_an_id_of_its_own_and_the_upstream_gets_it() -> None:
    heads = []

    async def record(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await read_head(reader))
            writer.write(OK)

    async with origin(record) as server, listening(server.url) as gateway:
        for _ in range(2):
            await gateway.ask(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n\r\n")
        ids = [x.id for x in gateway.exchanges]
        assert len(set(ids)) == 2
        for id_, head in zip(ids, heads, strict=True):
            assert b"X-Request-ID: " + id_.encode() + b"\r\n" in head
            assert b"mine" not in head


def test_an_exchange_is_in_flight_from_its_opening_to_its_end_and_observed_once() -> None:
    lifecycle, seen = Lifecycle[Exchange](), list[Exchange]()
    recorder = Recorder(lifecycle, seen.append)
    exchange = recorder.open("203.0.113.7", HEAD)
    assert lifecycle.in_flight == {exchange}
    assert (seen, exchange.ended) == ([], None)
    recorder.close(exchange)
    assert not lifecycle.in_flight
    assert seen == [exchange]
    assert exchange.duration >= 0
    assert exchange.fields is None, "an observer may keep the record, and not the head"


def test_a_record_begins_with_the_first_byte_of_the_head_on_both_clocks() -> None:
    recorder = Recorder(Lifecycle(), lambda _: None)
    began = time.monotonic() - 5
    exchange = recorder.open("203.0.113.7", HEAD, began)
    assert exchange.began == pytest.approx(began, abs=0.001)
    assert exchange.when == pytest.approx(time.time() - 5, abs=1)


def test_a_handed_off_exchange_is_observed_as_it_opens_and_its_end_is_the_services_to_tell() -> None:
    lifecycle, seen = Lifecycle[Exchange](), list[Exchange]()
    recorder = Recorder(lifecycle, seen.append)
    exchange = recorder.open("203.0.113.7", HEAD)
    exchange.is_handed_off = True
    recorder.websocket_opened(exchange)
    recorder.close(exchange)
    assert seen == [exchange]
    assert exchange.ended is None and exchange.opened is not None
    assert not lifecycle.in_flight


def test_of_a_websocket_that_opens_only_the_fields_are_kept_that_the_log_prints() -> None:
    """10,000 of them would hold the heads of 10,000 handshakes, which may have 64 KiB each."""
    recorder = Recorder(Lifecycle(), lambda _: None)
    head = Head(
        "GET", "/", (1, 1), (*HEAD.headers, (b"traceparent", b"a"), (b"Traceparent", b"b"), (b"Referer", b"r" * 9000))
    )
    exchange = recorder.open("203.0.113.7", head)
    recorder.websocket_opened(exchange)
    assert exchange.fields == {b"user-agent": [b"a"], b"referer": [b"r" * 1024], b"traceparent": [b"a", b"a"]}
