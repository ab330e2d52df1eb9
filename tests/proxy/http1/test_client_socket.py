"""A client's socket: lent, taken, closed. What waits in it is in the tests of its directions."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from proxy.http1.client_socket import ClientSocket
from proxy.net.client_limits import ClientCounter, Lease, Slot


class Handler:
    def __init__(self) -> None:
        self.counter = ClientCounter()

    def lease_buffer(self, address: str, size: int) -> Lease | None:
        return Slot(self.counter, address, size)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ClientSocket, Handler, socket.socket]]:
    here, there = socket.socketpair()
    here.setblocking(False)
    handler = Handler()
    own = ClientSocket(cast(Any, handler), send_timeout=1, limit=1000)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, here)
    own.open(cast(Any, transport), "192.0.2.1")
    try:
        with there:
            yield own, handler, there
    finally:
        transport.abort()


async def test_one_that_is_lent_has_its_descriptor_and_what_was_read_too_early() -> None:
    async with connected() as (own, _, _):
        own.input.hold(b"early")
        assert own.transport is not None
        assert own.lend() == (own.transport.get_extra_info("socket").fileno(), b"early")
        assert not own.transport.is_reading()


async def test_one_that_is_taken_is_gone_and_what_waited_is_not_counted_any_more() -> None:
    async with connected() as (own, handler, _):
        own.set_slow(True)
        own.input.hold(b"x" * 1000)
        assert handler.counter.total > 1000
        transport, held = own.take()
        assert (len(held), handler.counter.total, own.is_gone) == (1000, 0, True)
        assert not transport.is_reading()
        for again in (own.take, own.lend):
            with pytest.raises(ConnectionResetError):
                again()


async def test_the_end_of_sending_is_told_and_what_came_too_early_thrown_away() -> None:
    async with connected() as (own, _, there):
        own.input.hold(b"early")
        own.end_sending()
        there.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(there, 1) == b""
        assert (own.input.held, own.is_gone) == (b"", False)


async def test_one_that_is_closed_is_gone() -> None:
    async with connected() as (own, _, _):
        assert (own.is_gone, own.is_flushing, own.has_tls) == (False, False, False)
        own.close()
        assert own.is_gone
