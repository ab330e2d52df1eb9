"""One upstream: when a connection is kept, who gets a turn, what is known of it, and how it fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.config import Timeouts
from proxy.errors import (
    Exhausted,
    Stopping,
    UpstreamFull,
    UpstreamUnreachable,
)
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.health import State
from proxy.upstream.upstream import Upstream, in_flight
from tests.processes import free_port
from tests.proxy.origin import Script, answering, origin, read_head, silent
from tests.proxy.upstream.test_connection import OK, ask, at, body, upstream, upstream_settings


async def test_a_connection_that_the_upstream_has_closed_already_is_none() -> None:
    """As a program does that is being stopped. What is sent to it is lost, and nobody can tell."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with origin(leave) as server:
        up = upstream(server.url)
        connect = up.addresses[0]._dialer._connect

        async def closed(address: str) -> UpstreamConnection:
            made = await connect(address)
            made.pause_reading()  # so that only the kernel knows
            await server.wait_closed(1)
            while not made.has_ended():  # noqa: ASYNC110 - the kernel has the FIN, or will in a moment
                await asyncio.sleep(0)
            return made

        up.addresses[0]._dialer._connect = closed  # type: ignore[method-assign]
        with pytest.raises(UpstreamUnreachable, match="closed the connection at once"):
            await up.addresses[0].connect(5)
        assert up.health.is_unreachable


# -- names


# -- turns

TIMEOUTS = Timeouts()


def narrow(url: str, *, waiting: int = 10, idle: float = 60) -> Upstream:
    limits = {"in_flight": 1, "waiting": waiting}
    return Upstream("dash", at(url), upstream_settings(idle, limits=limits))


async def test_an_upstream_gets_no_more_than_it_may_have() -> None:
    async with origin(answering(OK, OK)) as server:
        up = narrow(server.url)
        first = await up.acquire(TIMEOUTS)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="second")
        await asyncio.sleep(0)
        assert (up.queue.in_flight, up.queue.waiting) == (1, 1)
        await ask(first)
        await body(first)
        up.release(first)
        second = await waiting
        assert second is first, "and it is used again"
        assert up.try_acquire() is None
        up.discard(second)
        up.discard(second)
        assert up.queue.in_flight == 0


async def test_a_turn_that_does_not_come_is_refused_in_time() -> None:
    async with origin(silent) as server:
        up = narrow(server.url)
        connection = await up.acquire(TIMEOUTS)
        with pytest.raises(UpstreamFull):
            await up.acquire(Timeouts(queue="50ms"))
        up.discard(connection)


async def test_an_attempt_that_fails_gives_its_turn_back() -> None:
    up = narrow(f"http://127.0.0.1:{free_port()}")
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await up.acquire(TIMEOUTS)
    assert up.queue.in_flight == 0
    up.close()
    await up.closed()


async def test_an_attempt_that_is_cancelled_gives_its_turn_back() -> None:
    async with origin(silent) as server:
        up = narrow(server.url)
        attempt = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="attempt")
        await asyncio.sleep(0)
        assert up.queue.in_flight == 1
        attempt.cancel()
        await asyncio.wait([attempt])
        assert up.queue.in_flight == 0


async def test_nothing_overtakes_what_waits_with_an_idle_connection() -> None:
    async with origin(answering(OK, OK), answering(OK)) as server:
        up = narrow(server.url)
        connection = await up.acquire(TIMEOUTS)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS, is_new=True), name="handshake")
        await asyncio.sleep(0)
        await ask(connection)
        await body(connection)
        up.release(connection)
        assert up.idle == 1
        assert up.try_acquire() is None
        up.discard(await waiting)
        at_once = up.try_acquire()
        assert at_once is connection
        up.discard(at_once)


async def test_a_tunnel_is_not_in_flight() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with origin(answering(answer)) as server:
        up = narrow(server.url)
        connection = await up.acquire(TIMEOUTS, is_new=True)
        await ask(connection, may_switch=True)
        transport, _ = connection.owner.detach(connection)
        assert up.queue.in_flight == 0
        transport.abort()


# -- looking at it


@asynccontextmanager
async def looked_at(url: str, **probes: Any) -> AsyncIterator[Upstream]:
    path = probes.pop("path", None)
    up = Upstream("dash", at(url), upstream_settings(health={"interval": "50ms", "dash": path, **probes}))
    up.start()
    try:
        yield up
    finally:
        up.close()
        async with asyncio.timeout(5):
            await up.closed()


async def becomes(up: Upstream, state: State) -> None:
    async with asyncio.timeout(10):
        while up.health.state is not state:  # noqa: ASYNC110 - it tells nobody but the log
            await asyncio.sleep(0.005)


async def test_it_is_seen_to_go_and_to_come_back_without_a_single_request() -> None:
    port = free_port()
    async with origin(silent, port=port) as server, looked_at(server.url) as up:
        await becomes(up, State.UP)
    async with looked_at(f"http://127.0.0.1:{port}") as up:
        await becomes(up, State.UNREACHABLE)
        assert up.health.why == "connection refused"
        async with origin(silent, port=port):
            await becomes(up, State.UP)


@pytest.mark.parametrize(("status", "state"), [("200 OK", State.UP), ("302 Found", State.UP)])
async def test_a_path_that_answers_is_well(status: str, state: State) -> None:
    async with origin(answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        async with looked_at(server.url, path="/health") as up:
            await becomes(up, state)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "/helth answered 404"),
        (silent, "/helth did not answer within 0.1 s"),
        (answering(b"SSH-2.0\r\n"), "The upstream dash sent something that is not HTTP"),
    ],
)
async def test_a_path_that_is_wrong_takes_no_upstream_out(script: Script, why: str) -> None:
    async with origin(script) as server, looked_at(server.url, path="/helth", timeout="100ms") as up:
        await becomes(up, State.DEGRADED)
        assert up.health.why.startswith(why)
        up.discard(await up.acquire(TIMEOUTS))  # requests go on


async def test_a_port_that_closes_what_it_takes_is_unreachable() -> None:
    """As Docker's proxy does for a container that is down; only a path can tell."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.close()

    async with origin(closing) as server, looked_at(server.url, path="/health") as up:
        await becomes(up, State.UNREACHABLE)
        assert up.health.why == "it closes connections without an answer"


async def test_a_probe_says_who_it_is_and_ends_its_connection() -> None:
    heads = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)
        await reader.read()

    async with origin(script) as server, looked_at(server.url, path="/health?deep=1", interval="60s"):
        await server.wait_closed(1)
        host = server.url.partition("://")[2]
        assert heads == [
            f"GET /health?deep=1 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: dash-ws-proxy\r\n"
            "Connection: close\r\n\r\n".encode()
        ]


async def test_a_closed_upstream_lets_nothing_wait() -> None:
    up = upstream(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UpstreamUnreachable):
        await up.addresses[0].connect(5)
    up.close()
    with pytest.raises(Stopping):
        await up.wait_for_return(10)
    await up.closed()


async def test_a_fault_in_a_check_leaves_nothing_that_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a check without a timeout of its own."""
    up = upstream(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UpstreamUnreachable):
        await up.acquire(TIMEOUTS)

    async def fail(seconds: float) -> UpstreamConnection:
        raise ZeroDivisionError

    monkeypatch.setattr(up.addresses[0]._dialer, "dial", fail)
    async with asyncio.timeout(5):
        with pytest.raises(UpstreamUnreachable):
            await up.acquire(TIMEOUTS)
    up.close()
    await up.closed()


async def test_without_a_thread_to_look_a_name_up_the_gateway_is_exhausted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container that may have no more processes. It says nothing about the upstream, and passes."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    up = upstream("http://localhost:9")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(Exhausted) as caught:
            await up.acquire(TIMEOUTS)
    assert "no thread for the look-up of its name can be started" in caught.value.detail
    assert not up.health.is_unreachable
    up.close()
    await up.closed()


# -- several addresses


async def test_its_state_is_that_of_the_address_that_is_best_off() -> None:
    async with origin(answering(OK)) as server:
        up = Upstream("dash", at(f"http://127.0.0.1:{free_port()}", server.url), upstream_settings())
        with pytest.raises(UpstreamUnreachable):
            await up.addresses[0].connect(5)
        (await up.addresses[1].connect(5)).abort()
        assert up.health.state is State.UP
        up.addresses[1].health.missed("gone")
        assert up.health.state is State.UNREACHABLE


def with_two(*urls: str, idle: float = 60, **settings: Any) -> Upstream:
    return Upstream("dash", at(*urls), upstream_settings(idle, **settings))


async def test_what_comes_goes_to_the_address_with_the_fewest_in_flight() -> None:
    async with origin(silent) as one, origin(silent) as other:
        up = with_two(one.url, other.url)
        first = [await up.acquire(TIMEOUTS) for _ in range(6)]
        assert [address.slots.taken for address in up.addresses] == [3, 3]
        for connection in first:
            if connection.owner is up.addresses[0]:
                up.discard(connection)
        later = [await up.acquire(TIMEOUTS) for _ in range(3)]
        assert {connection.owner for connection in later} == {up.addresses[0]}
        for connection in (*first, *later):
            up.discard(connection)
        assert up.queue.in_flight == 0


async def test_an_unreachable_address_is_left_out_until_a_probe_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where health.interval is 0, which means no probes: otherwise it would be left out for ever."""
    monkeypatch.setattr("proxy.upstream.health_check.LEFT_OUT", 0.05)
    port = free_port()
    async with origin(silent) as server:
        up = with_two(f"http://127.0.0.1:{port}", server.url)
        up.start()
        with pytest.raises(UpstreamUnreachable):
            await up.addresses[0].connect(5)
        for _ in range(4):
            up.discard(await up.acquire(TIMEOUTS))
        assert (server.connections, up.health.state) == (4, State.UP)
        async with origin(silent, port=port) as back, asyncio.timeout(10):
            while up.addresses[0].health.is_unreachable:  # noqa: ASYNC110 - it tells nobody but the log
                await asyncio.sleep(0.01)
            connections = [await up.acquire(TIMEOUTS) for _ in range(2)]
            assert {connection.owner for connection in connections} == set(up.addresses)
            for connection in connections:
                up.discard(connection)
            assert back.connections >= 2, "a probe, and a request"
        up.close()
        await up.closed()


async def test_where_all_are_unreachable_a_request_waits_for_the_checks_of_all() -> None:
    async with origin(silent) as server:
        up = with_two(f"http://127.0.0.1:{free_port()}", server.url)
        for address in up.addresses:
            address.health.missed("gone")
        connection = await up.acquire(TIMEOUTS)
        assert connection.owner is up.addresses[1]
        up.discard(connection)
        up.close()
        await up.closed()


async def test_where_none_is_reached_the_log_has_each_address() -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    up = with_two(*urls)
    for address in up.addresses:
        with pytest.raises(UpstreamUnreachable):
            await address.connect(5)
    with pytest.raises(UpstreamUnreachable) as caught:
        await up.acquire(TIMEOUTS)
    assert all(url in caught.value.detail for url in urls)
    assert not any(url in caught.value.message for url in urls)
    up.close()
    await up.closed()


async def test_what_waits_for_a_slot_goes_to_the_first_address_that_has_one() -> None:
    async with origin(silent) as one, origin(silent) as other:
        up = with_two(one.url, other.url, limits={"in_flight": 1})
        first, second = await up.acquire(TIMEOUTS), await up.acquire(TIMEOUTS)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="third")
        await asyncio.sleep(0)
        assert (up.queue.in_flight, up.queue.waiting) == (2, 1)
        up.discard(second)
        third = await waiting
        assert third.owner is second.owner
        up.discard(first)
        up.discard(third)
        assert (up.queue.in_flight, up.queue.waiting) == (0, 0)


async def test_an_address_that_is_added_takes_what_waits_and_one_that_is_removed_takes_nothing_more() -> None:
    async with origin(silent) as one, origin(silent) as other:
        settings = upstream_settings(limits={"in_flight": 1})
        up = Upstream("dash", at(one.url), settings)
        first = await up.acquire(TIMEOUTS)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="second")
        await asyncio.sleep(0)
        up.reconfigure(at(one.url, other.url), settings, None)
        second = await waiting
        assert second.owner is up.addresses[1]
        up.reconfigure(at(other.url), settings, None)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="third")
        up.discard(first)
        await asyncio.sleep(0)
        assert not waiting.done(), "the slot of an address that is gone is none"
        up.discard(second)
        third = await waiting
        assert third.owner is up.addresses[0]
        up.discard(third)
        assert (up.queue.in_flight, len(up.addresses)) == (0, 1)


async def test_what_waits_for_a_slot_gets_it_from_an_upstream_that_a_reload_has_replaced_too() -> None:
    async with origin(silent) as server:
        up = narrow(server.url)
        first = await up.acquire(TIMEOUTS)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="second")
        await asyncio.sleep(0)
        up.close("The configuration has another address for this upstream now.")
        up.discard(first)
        async with asyncio.timeout(10):
            up.discard(await waiting)
        assert up.queue.in_flight == 0


async def test_an_address_that_answers_badly_is_asked_where_there_is_no_better_one() -> None:
    async with origin(silent) as one, origin(silent) as other:
        up = with_two(one.url, other.url)
        up.addresses[0].health.answered_badly("500")
        connections = [await up.acquire(TIMEOUTS) for _ in range(3)]
        assert {connection.owner for connection in connections} == {up.addresses[1]}
        up.addresses[1].health.missed("gone")
        connections.append(await up.acquire(TIMEOUTS))
        assert connections[-1].owner is up.addresses[0]
        for connection in connections:
            up.discard(connection)


async def test_an_address_that_gave_no_answer_is_asked_last_until_it_was_checked() -> None:
    async with origin(silent) as one, origin(silent) as other:
        up = with_two(one.url, other.url)
        first = await up.acquire(TIMEOUTS)
        first.owner.doubt()
        up.discard(first)
        assert first.owner not in [up.choose(in_flight) for _ in range(3)]
        async with asyncio.timeout(10):
            while not all(address.is_good for address in up.addresses):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        assert {up.choose(in_flight) for _ in range(2)} == set(up.addresses)
        up.close()
        await up.closed()


async def test_an_idle_connection_of_either_address_is_used_again() -> None:
    async with origin(answering(OK, OK, OK)) as one, origin(answering(OK, OK, OK)) as other:
        up = with_two(one.url, other.url)
        connections = [await up.acquire(TIMEOUTS) for _ in range(2)]
        for connection in connections:
            await ask(connection)
            await body(connection)
            up.release(connection)
        assert up.idle == 2
        again = [up.try_acquire() for _ in range(2)]
        assert set(again) == set(connections)
        assert up.try_acquire() is None
        for taken in again:
            assert taken is not None
            up.discard(taken)
