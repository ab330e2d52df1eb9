"""How a gateway sees its clients off, in the test's own loop; the process is in ``tests/system/test_drain.py``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Timeouts
from proxy.errors import Outcome
from proxy.server.drain import GRACE, Drain, moments
from proxy.websocket.frames import close_frame
from tests.proxy.listening import HANDSHAKE, SWITCH, Client, Listening, listening
from tests.proxy.origin import answering, origin, silent

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def drain_of(gateway: Listening) -> Drain:
    """The drain of a gateway that listens, connected as ``server`` does it."""
    drain = Drain(gateway.gateway, gateway.manager, gateway.lifecycle)
    gateway.manager.on_empty = drain.changed
    gateway.lifecycle.on_empty = drain.changed
    gateway.lifecycle.happen("stop")
    return drain


@asynccontextmanager
async def tunnel(gateway: Listening) -> AsyncIterator[Client]:
    async with gateway.client() as client:
        await client.send(HANDSHAKE)
        await client.read_head()
        yield client


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the drain has logged; upstreams that come and go log too."""
    return [record.getMessage() for record in caplog.records if record.module == "drain"]


async def nothing() -> None:
    """No connection is pending."""


def timeouts(drain: float, window: float = 0.0) -> Timeouts:
    return Timeouts.model_validate({"drain": f"{drain}s", "drain_window": f"{window}s"})


@given(st.integers(0, 2000), st.floats(0, 3600))
def test_the_moments_are_in_order_and_each_in_its_own_share_of_the_window(count: int, window: float) -> None:
    told = list(moments(count, window))
    assert len(told) == count
    assert told == sorted(told)
    for number, moment in enumerate(told):
        assert window * number / count <= moment <= window * (number + 1) / count


async def test_an_empty_gateway_is_drained_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")
    async with listening() as gateway:
        async with asyncio.timeout(GRACE):
            assert await drain_of(gateway).run(timeouts(60), nothing()) == "empty"
    assert said(caplog) == []


async def test_tunnels_that_answer_the_close_frame_end_the_drain() -> None:
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway, tunnel(gateway) as client:
        drain = asyncio.get_running_loop().create_task(drain_of(gateway).run(timeouts(60), nothing()), name="drain")
        assert await client.read(4) == close_frame(1012, masked=False)
        client.writer.close()
        assert await drain == "empty"
        assert (await gateway.ended()).outcome is Outcome.DRAINED


async def test_its_progress_is_what_is_left_of_what_there_was() -> None:
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway, tunnel(gateway) as client:
        one = drain_of(gateway)
        assert one.progress() is None
        drain = asyncio.get_running_loop().create_task(one.run(timeouts(60), nothing()), name="drain")
        await client.read(4)
        progress = one.progress()
        assert progress is not None
        assert 55 < progress.pop("seconds") <= 60
        assert progress == {"tunnels": 1, "of_tunnels": 1, "requests": 0, "of_requests": 0, "answers": 0}
        client.writer.close()
        assert await drain == "empty"
        progress = one.progress()
        assert progress is not None
        assert (progress["tunnels"], progress["of_tunnels"]) == (0, 1)


async def test_the_window_is_at_most_half_of_the_time() -> None:
    """A client at the end of the window needs time to say goodbye too."""
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway, tunnel(gateway) as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        drain = loop.create_task(drain_of(gateway).run(timeouts(1.0, window=60), nothing()), name="drain")
        await client.read(4)
        assert loop.time() - began < 0.9
        client.writer.close()
        assert await drain == "empty"


async def test_what_is_left_at_the_deadline_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")
    async with origin(silent) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(GET)
        while not gateway.lifecycle.in_flight:  # noqa: ASYNC110 - it is in flight before anybody could be told
            await asyncio.sleep(0.01)
        drain = drain_of(gateway)
        assert await drain.run(timeouts(0.1), nothing()) == "deadline"
        gateway.lifecycle.happen("deadline")
        await drain.cut()
        assert not gateway.lifecycle.in_flight
        assert await client.read_all() == b""
        assert (await gateway.ended()).outcome is Outcome.STOPPING
    assert said(caplog) == [
        "draining: 0 tunnels and 1 request left, 0 s to the deadline",
        "cutting 0 tunnels and 1 request that did not end in time",
    ]


async def test_an_idle_connection_is_closed_after_the_grace_and_not_before() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway, gateway.client() as client:
        await client.send(GET)
        await client.read(len(OK))
        loop = asyncio.get_running_loop()
        began = loop.time()
        drain = loop.create_task(drain_of(gateway).run(timeouts(60), nothing()), name="drain")
        assert await client.read_all() == b""
        assert GRACE <= loop.time() - began < GRACE + 2
        assert await drain == "empty"


async def test_a_client_that_sends_requests_learns_from_its_next_answer() -> None:
    async with origin(answering(OK)) as server, listening(server.url) as gateway, gateway.client() as client:
        drain = asyncio.get_running_loop().create_task(drain_of(gateway).run(timeouts(60), nothing()), name="drain")
        await client.send(GET)
        assert await client.read_all() == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        assert await drain == "empty"


async def test_a_client_that_reads_slowly_gets_all_of_its_answer() -> None:
    body = b"x" * 8_000_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with (
        origin(answering(answer)) as server,
        listening(server.url, buffer="64MiB") as gateway,
        gateway.client() as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        drain = asyncio.get_running_loop().create_task(drain_of(gateway).run(timeouts(60), nothing()), name="drain")
        await asyncio.sleep(GRACE)  # what must not happen has no event
        assert not drain.done()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.read_all()).endswith(body[:1000])
        assert await drain == "empty"


async def test_cancelling_it_asks_no_client_any_more() -> None:
    async with origin(answering(SWITCH)) as server, listening(server.url) as gateway, tunnel(gateway) as client:
        drain = asyncio.get_running_loop().create_task(
            drain_of(gateway).run(timeouts(600, 300), nothing()), name="drain"
        )
        await asyncio.sleep(0)
        drain.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drain
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not names & {"goodbyes to the tunnels", "progress of the drain"}
        client.writer.close()
        assert (await gateway.ended()).outcome is Outcome.CLIENT_CLOSED


async def test_a_connection_that_is_still_pending_is_served() -> None:
    through = asyncio.Event()

    async def arrivals() -> None:
        await through.wait()

    async with listening() as gateway:
        drain = asyncio.get_running_loop().create_task(drain_of(gateway).run(timeouts(60), arrivals()), name="drain")
        await asyncio.sleep(0.05)  # what must not happen has no event
        assert not drain.done()
        through.set()
        assert await drain == "empty"


async def test_a_connection_that_stays_pending_has_the_grace_and_no_more() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with listening() as gateway:
        assert await drain_of(gateway).run(timeouts(60), asyncio.sleep(60)) == "empty"
    assert GRACE <= loop.time() - began < GRACE + 2
