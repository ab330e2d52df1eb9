"""Reads of bounded size on connections on which much comes, and nothing lost on the way there."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from proxy.net.fair_reads import READ_SIZE, large_read, pause_after_large_read

FACTORIES = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class Taker(asyncio.Protocol):
    """Takes everything, and lets other connections have a turn after each large read."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.sizes: list[int] = []
        self.taken = b""
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "pause_reading")
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.sizes.append(len(data))
        self.taken += data
        if len(data) >= large_read(self.transport):
            pause_after_large_read(self.transport, self, len(data))
            self.loop.call_soon(self.transport.resume_reading)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def receive(data: bytes) -> Taker:
    near, far = socket.socketpair()
    near.setblocking(False)
    taker = Taker()
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: taker, near)
    far.setblocking(False)
    await loop.sock_sendall(far, data)
    far.close()
    async with asyncio.timeout(10):
        await taker.ended.wait()
    return taker


@pytest.mark.parametrize("kind", FACTORIES)
def test_after_the_first_large_read_all_reads_are_bounded_and_nothing_is_lost(kind: str) -> None:
    data = bytes(range(256)) * 16384  # 4 MiB
    with asyncio.Runner(loop_factory=FACTORIES[kind]) as runner:
        taker = runner.run(receive(data))
    assert taker.taken == data
    large = [size for size in taker.sizes if size > READ_SIZE]
    assert len(large) <= 1
    assert max(taker.sizes[taker.sizes.index(large[0]) + 1 :] if large else taker.sizes) <= READ_SIZE


@pytest.mark.parametrize("kind", FACTORIES)
def test_small_messages_stay_as_they_are(kind: str) -> None:
    with asyncio.Runner(loop_factory=FACTORIES[kind]) as runner:
        taker = runner.run(receive(b"small"))
    assert (taker.taken, taker.sizes) == (b"small", [5])
