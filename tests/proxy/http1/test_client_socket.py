"""A client's socket: lent, taken, closed; what comes too early is held, and what waits is counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from proxy.http1.client_socket import ClientSocket, Pause
from proxy.net.client_limits import ClientCounter, Lease, Slot


class Handler:
    """Gives leases, as long as there are no more than ``most`` bytes."""

    def __init__(self, most: int = 1_000_000) -> None:
        self.counter, self.most = ClientCounter(), most

    def lease_buffer(self, address: str, size: int) -> Lease | None:
        return Slot(self.counter, address, size) if self.counter.total + size <= self.most else None


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ClientSocket, Handler, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    handler = Handler()
    own = ClientSocket(handler.lease_buffer, timeout=1, limit=1000)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, here)
    own.open(cast(Any, transport), "192.0.2.1")
    try:
        with there:
            yield own, handler, there
    finally:
        transport.abort()


async def test_one_that_is_lent_has_its_descriptor_and_what_was_read_too_early() -> None:
    async with connected() as (own, _, _):
        own.hold(b"early")
        assert own.transport is not None
        assert own.lend() == (own.transport.get_extra_info("socket").fileno(), b"early")
        assert not own.transport.is_reading()


async def test_one_that_is_taken_is_gone_and_what_waited_is_not_counted_any_more() -> None:
    async with connected() as (own, handler, _):
        own.set_slow(True)
        own.hold(b"x" * 1000)
        assert handler.counter.total > 1000
        transport, held = own.take()
        assert (len(held), handler.counter.total, own.is_gone) == (1000, 0, True)
        assert not transport.is_reading()
        for again in (own.take, own.lend):
            with pytest.raises(ConnectionResetError):
                again()


async def test_the_end_of_sending_is_told_and_what_came_too_early_thrown_away() -> None:
    async with connected() as (own, _, there):
        own.hold(b"early")
        own.end_sending()
        there.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(there, 1) == b""
        assert (own.held, own.is_gone) == (b"", False)


async def test_one_that_is_closed_is_gone() -> None:
    async with connected() as (own, _, _):
        assert (own.is_gone, own.is_flushing, own.has_tls) == (False, False, False)
        own.close()
        assert own.is_gone


# -- what comes too early


class Wire:
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        self.is_reading, self.is_aborted, self.sent = True, False, b""

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def write(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        self.is_aborted = True

    def get_write_buffer_size(self) -> int:
        return 10

    def get_extra_info(self, name: str) -> Any:
        return None if name == "sslcontext" else self

    def setsockopt(self, *_: object) -> None:
        """Be the socket too."""


def socket_on(wire: Wire, handler: Handler | None = None) -> ClientSocket:
    own = ClientSocket((handler or Handler()).lease_buffer, timeout=1, limit=10)
    own.transport = cast(Any, wire)
    return own


def sizes(own: ClientSocket) -> dict[str, int]:
    return {reason: cast(Any, lease)._count for reason, lease in own.leases.items()}


def test_reading_is_paused_while_as_much_is_held_as_may_be_and_that_is_counted() -> None:
    wire = Wire()
    received = socket_on(wire)
    received.hold(b"x" * 9)
    assert (wire.is_reading, sizes(received)) == (True, {})
    received.hold(b"xy")
    received.hold(b"z")
    assert (wire.is_reading, sizes(received)) == (False, {"unread": 11})
    received.used(2)
    assert (wire.is_reading, len(received.held)) == (False, 10)
    received.used(1)
    assert (wire.is_reading, sizes(received), bytes(received.held)) == (True, {}, b"x" * 6 + b"xyz")


def test_it_goes_on_when_nothing_is_against_it_any_more() -> None:
    wire = Wire()
    received = socket_on(wire)
    received.pause(Pause.LENT)
    assert (wire.is_reading, sizes(received)) == (False, {})
    received.pause(Pause.BODY)
    received.resume(Pause.LENT)
    received.resume()
    assert not wire.is_reading
    assert sizes(received)["unread"] > 20
    received.resume(Pause.BODY)
    assert (wire.is_reading, sizes(received)) == (True, {})


def test_what_is_thrown_away_is_read() -> None:
    wire = Wire()
    received = socket_on(wire)
    received.hold(b"x" * 10)
    cast(Any, wire).can_write_eof = lambda: False
    received.end_sending()
    assert (wire.is_reading, sizes(received), received.held) == (True, {}, b"")


def test_a_socket_that_is_gone_is_not_touched() -> None:
    wire = Wire()
    received = socket_on(wire)
    received.release()
    received.pause(Pause.BODY)
    received.resume(Pause.BODY)
    assert (wire.is_reading, sizes(received)) == (True, {})


# -- what is counted


async def test_what_waits_is_counted_and_released_by_reason() -> None:
    wire, handler = Wire(), Handler(100)
    own = socket_on(wire, handler)
    own.count("one", 10)
    own.count("one", 50)
    own.count("other", 5)
    assert handler.counter.total == 15
    own.uncount("one")
    own.uncount("one")
    assert handler.counter.total == 5
    own.count("one", 50)
    own.release()
    assert (handler.counter.total, wire.is_aborted) == (0, False)


async def test_a_connection_is_cut_when_its_client_has_too_many() -> None:
    wire, handler = Wire(), Handler(100)
    own = socket_on(wire, handler)
    own.count("one", 101)
    assert not wire.is_aborted, "not in the middle of a write"
    await asyncio.sleep(0)
    assert (handler.counter.total, wire.is_aborted) == (0, True)


# -- writing


def test_bytes_are_sent_and_counted_and_after_the_end_they_go_nowhere() -> None:
    wire = Wire()
    own = socket_on(wire)
    own.write(b"abc")
    own.release()
    own.write(b"def")
    assert (wire.sent, own.written, own.taken()) == (b"abc", 3, None)


async def test_a_slow_client_is_waited_for() -> None:
    own = socket_on(Wire())
    await own.drain()
    own.set_slow(True)
    waiting = asyncio.get_running_loop().create_task(own.drain(), name="drain")
    await asyncio.sleep(0)
    assert not waiting.done()
    own.set_slow(False)
    await waiting


async def test_a_client_that_leaves_is_not_waited_for() -> None:
    own = socket_on(Wire())
    own.set_slow(True)
    waiting = asyncio.get_running_loop().create_task(own.drain(), name="drain")
    await asyncio.sleep(0)
    own.release()
    with pytest.raises(ConnectionResetError):
        await waiting


def test_a_client_that_takes_too_long_is_cut_with_a_reset() -> None:
    wire = Wire()
    own = socket_on(wire)
    own.took_too_long()
    assert own.was_too_slow
    assert wire.is_aborted
