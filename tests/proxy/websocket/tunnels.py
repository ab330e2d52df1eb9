"""A tunnel between two real TCP connections, and the frames that pass through it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.config import Limits, Settings
from proxy.net.client_limits import ClientCounter, ClientLimits, Lease
from proxy.websocket.frames import close_frame
from proxy.websocket.tunnel import IdleTunnels, Tunnel

HELLO = b"\x81\x02hi"  # a whole text frame of a server
MASKED_HELLO = b"\x81\x82\0\0\0\0hi"
CLOSE = close_frame(1000, masked=False)
MASKED_CLOSE = close_frame(1000, masked=True)


class End:
    """The far end of one leg: what the client, or the upstream, sends and gets."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self, count: int) -> bytes:
        """Read exactly ``count`` bytes."""
        data = bytearray()
        async with asyncio.timeout(10):
            while len(data) < count:
                piece = await asyncio.get_running_loop().sock_recv(self._sock, count - len(data))
                if not piece:
                    raise AssertionError(f"ended after {len(data)} bytes: {bytes(data[-100:])!r}")
                data += piece
        return bytes(data)

    async def receive_all(self) -> bytes:
        """Read to the end."""
        data = b""
        async with asyncio.timeout(10):
            while piece := await asyncio.get_running_loop().sock_recv(self._sock, 1 << 20):
                data += piece
        return data

    def end(self) -> None:
        """Send no more, but still read."""
        self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


class Rig:
    """A tunnel with both its far ends."""

    def __init__(
        self, tunnel: Tunnel, client: End, upstream: End, ended: asyncio.Event, buffered: ClientCounter
    ) -> None:
        self.tunnel, self.client, self.upstream, self._ended = tunnel, client, upstream, ended
        self.buffered = buffered

    async def buffers(self) -> int:
        """Wait until bytes wait for a side that is slow; return how many."""
        async with asyncio.timeout(10):
            while not self.buffered.total:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.001)
        return self.buffered.total

    async def ended(self) -> Tunnel:
        async with asyncio.timeout(10):
            await self._ended.wait()
        return self.tunnel


@asynccontextmanager
async def rig(
    *,
    idle: float = 60,
    is_swept: bool = True,
    buffer: int = 65536,
    most: int | None = None,
    answer: bytes = b"",
    from_upstream: bytes = b"",
    from_client: bytes = b"",
) -> AsyncIterator[Rig]:
    ended = asyncio.Event()
    client_transport, client = await _leg()
    upstream_transport, upstream = await _leg()
    calls = []

    admission = ClientLimits()
    settings = Settings().model_copy(update={"limits": Limits().model_copy(update={"buffered_per_client": most})})

    class Owner:
        """The exchange."""

        def lease_buffer(self, size: int) -> Lease | None:
            return admission.lease_buffer("192.0.2.1", size, settings, 0.0)

        def tunnel_ended(self, tunnel: Tunnel) -> None:
            calls.append(tunnel)
            ended.set()

    tunnel = Tunnel(
        Owner(),
        client_transport,
        upstream_transport,
        buffer=buffer,
        send_timeout=60,
        idle_timeout=idle,
    )
    tunnel.open(answer, from_upstream, from_client)
    if is_swept:
        IdleTunnels(lambda: [] if ended.is_set() else [tunnel]).start(idle)
    try:
        yield Rig(tunnel, client, upstream, ended, admission.buffered)
    finally:
        tunnel.abort()
        client.close()
        upstream.close()
        async with asyncio.timeout(10):
            await ended.wait()
        assert calls == [tunnel], "the end is told once"
        assert admission.buffered.total == 0, "and what waited is counted out"


async def _leg() -> tuple[asyncio.Transport, End]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    far.setblocking(False)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    transport.pause_reading()
    return transport, End(far)


def on_uvloop(scene: Coroutine[Any, Any, None]) -> None:
    """Run a test once more, on the other event loop."""
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene)
