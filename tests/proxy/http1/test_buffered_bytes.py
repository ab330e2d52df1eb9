"""Bytes that wait on a connection are counted once for each reason."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from proxy.http1.buffered_bytes import BufferedBytes
from proxy.net.client_limits import ClientCounter, Lease, Slot


class Handler:
    """Gives leases, as long as there are no more than ``most`` bytes."""

    def __init__(self, most: int) -> None:
        self.counter, self.most = ClientCounter(), most

    def lease_buffer(self, address: str, size: int) -> Lease | None:
        return Slot(self.counter, address, size) if self.counter.total + size <= self.most else None


class Writer:
    cut = 0

    def took_too_long(self) -> None:
        self.cut += 1


async def test_what_waits_is_counted_and_released_by_reason() -> None:
    handler, writer = Handler(100), Writer()
    buffered = BufferedBytes(cast(Any, handler), cast(Any, writer))
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
    buffered = BufferedBytes(cast(Any, handler), cast(Any, writer))
    buffered.count("one", 101)
    assert writer.cut == 0, "not in the middle of a write"
    await asyncio.sleep(0)
    assert (handler.counter.total, writer.cut) == (0, 1)
