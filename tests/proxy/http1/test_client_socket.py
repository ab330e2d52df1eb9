"""A client's socket: lent, taken, closed; what comes too early is held, and what waits is counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from proxy.http1.client_socket import BufferedBytes, ClientSocket, Pause
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
    own = ClientSocket(handler.lease_buffer, send_timeout=1, limit=1000)
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
    is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Buffered:
    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def count(self, reason: str, size: int) -> None:
        self.sizes.setdefault(reason, size)

    def release(self, reason: str) -> None:
        self.sizes.pop(reason, None)

    def release_all(self) -> None:
        self.sizes.clear()


def socket_on(wire: Wire, buffered: Buffered) -> ClientSocket:
    received = ClientSocket(cast(Any, None), send_timeout=1, limit=10)
    received.transport, received.buffered = cast(Any, wire), cast(Any, buffered)
    return received


def test_reading_is_paused_while_as_much_is_held_as_may_be_and_that_is_counted() -> None:
    wire, buffered = Wire(), Buffered()
    received = socket_on(wire, buffered)
    received.hold(b"x" * 9)
    assert (wire.is_reading, buffered.sizes) == (True, {})
    received.hold(b"xy")
    received.hold(b"z")
    assert (wire.is_reading, buffered.sizes) == (False, {"unread": 11})
    received.used(2)
    assert (wire.is_reading, len(received.held)) == (False, 10)
    received.used(1)
    assert (wire.is_reading, buffered.sizes, bytes(received.held)) == (True, {}, b"x" * 6 + b"xyz")


def test_it_goes_on_when_nothing_is_against_it_any_more() -> None:
    wire, buffered = Wire(), Buffered()
    received = socket_on(wire, buffered)
    received.pause(Pause.LENT)
    assert (wire.is_reading, buffered.sizes) == (False, {})
    received.pause(Pause.BODY)
    received.resume(Pause.LENT)
    received.resume()
    assert not wire.is_reading
    assert buffered.sizes["unread"] > 20
    received.resume(Pause.BODY)
    assert (wire.is_reading, buffered.sizes) == (True, {})


def test_what_is_thrown_away_is_read() -> None:
    wire, buffered = Wire(), Buffered()
    received = socket_on(wire, buffered)
    received.hold(b"x" * 10)
    received.discard()
    assert (wire.is_reading, buffered.sizes, received.held) == (True, {}, b"")


def test_a_socket_that_is_gone_is_not_touched() -> None:
    wire, buffered = Wire(), Buffered()
    received = socket_on(wire, buffered)
    received.release()
    received.pause(Pause.BODY)
    received.resume(Pause.BODY)
    assert (wire.is_reading, buffered.sizes) == (True, {})


# -- what is counted


class Writer:
    cut = 0

    def took_too_long(self) -> None:
        self.cut += 1


async def test_what_waits_is_counted_and_released_by_reason() -> None:
    handler, writer = Handler(100), Writer()
    buffered = BufferedBytes(handler.lease_buffer, cast(Any, writer))
    buffered.count("one", 10)
    buffered.count("one", 50)
    buffered.count("other", 5)
    assert handler.counter.total == 15
    buffered.release("one")
    buffered.release("one")
    assert handler.counter.total == 5
    buffered.count("one", 50)
    buffered.release_all()
    assert (handler.counter.total, writer.cut) == (0, 0)


async def test_a_connection_is_cut_when_its_client_has_too_many() -> None:
    handler, writer = Handler(100), Writer()
    buffered = BufferedBytes(handler.lease_buffer, cast(Any, writer))
    buffered.count("one", 101)
    assert writer.cut == 0, "not in the middle of a write"
    await asyncio.sleep(0)
    assert (handler.counter.total, writer.cut) == (0, 1)
