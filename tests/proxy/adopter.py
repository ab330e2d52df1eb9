"""A service that adopts sockets, as far as the gateway can tell: the test says every word of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ws_service.handoff import protocol as wire


class Adopter:
    """The service's end of a channel."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, message: wire.Message | bytes) -> None:
        data = message if isinstance(message, bytes) else wire.encode(message)
        async with asyncio.timeout(10):
            await self._loop.sock_sendall(self._sock, data)

    async def receive(self) -> tuple[wire.Message, list[int]]:
        """Return the next message and the descriptors that came with it."""
        arrived = asyncio.Event()
        self._loop.add_reader(self._sock.fileno(), arrived.set)
        try:
            async with asyncio.timeout(10):
                await arrived.wait()
        finally:
            self._loop.remove_reader(self._sock.fileno())
        data, descriptors, _, _ = socket.recv_fds(self._sock, wire.MAX_MESSAGE, 4)
        return wire.decode(data), descriptors

    async def has_ended(self) -> bool:
        """Wait for the gateway's end of the channel."""
        async with asyncio.timeout(10):
            return await self._loop.sock_recv(self._sock, 1) == b""

    def close(self) -> None:
        self._sock.close()


class Place:
    """A socket file with somebody behind it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.setblocking(False)
        self._adopters: list[Adopter] = []

    async def accept(self, *, greet: bool = True, live: int = 0) -> Adopter:
        """Return the next channel; the gateway's greeting is read, and answered unless the test wants to."""
        async with asyncio.timeout(10):
            accepted, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        accepted.setblocking(False)
        adopter = Adopter(accepted)
        self._adopters.append(adopter)
        assert await adopter.receive() == (wire.Hello(0), [])
        if greet:
            await adopter.send(wire.Hello(live))
        return adopter

    @property
    def dials(self) -> int:
        """How many connections wait to be accepted; they are closed."""
        count = 0
        with suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    @property
    def adopter(self) -> Adopter:
        """The last channel that was accepted."""
        return self._adopters[-1]

    def close(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener.close()
        for adopter in self._adopters:
            adopter.close()


@asynccontextmanager
async def place(path: Path) -> AsyncIterator[Place]:
    made = Place(path)
    try:
        yield made
    finally:
        made.close()
