"""The client, and the upstream: raw bytes on real sockets; at each step somebody may leave."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Any, cast

from tests.leases.stage import Stage
from tests.processes import free_port

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Ended(Exception):
    """The connection has ended, and what was waited for has not come."""


class Peer(asyncio.Protocol):
    """One end of a connection, in the hands of a script."""

    def __init__(self, stage: Stage, name: str, on_made: Callable[[Peer], None] = lambda _: None) -> None:
        self._stage = stage
        self._name = name
        self._role = stage.role(name) if stage.is_on else ""
        self._on_made = on_made
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.get_running_loop().create_future()
        self.data = b""
        self.origin: Origin | None = None
        self.is_over = False
        """Whether nothing more will come."""

    # -- for scripts

    def send(self, data: bytes) -> None:
        """Send; a step before and a step behind."""
        self._step("before it sends")
        if not self.is_over and self._transport is not None:
            self._transport.write(data)
        self._step("when it has sent")

    async def until(self, end: bytes) -> bytes:
        """Return everything up to the first ``end``, and that. Raises Ended."""
        while end not in self.data:
            await self._more()
        head, found, self.data = self.data.partition(end)
        self._step("when it has received")
        return head + found

    async def some(self, count: int = 1) -> bytes:
        """Return so many bytes. Raises Ended."""
        while len(self.data) < count:
            await self._more()
        taken, self.data = self.data[:count], self.data[count:]
        self._step("when it has received")
        return taken

    async def head(self) -> bytes:
        """Return a head."""
        return await self.until(b"\r\n\r\n")

    async def message(self) -> bytes:
        """Return a head and its body, framed by Content-Length or in chunks."""
        head = await self.head()
        if (length := _LENGTH.search(head)) is not None:
            return head + await self.some(int(length[1]))
        if b"\r\ntransfer-encoding: chunked" in head.lower():
            return head + await self.until(b"0\r\n\r\n")
        return head

    async def rest(self) -> bytes:
        """Return everything to the end."""
        while not self.is_over:
            await self._wait()
        taken, self.data = self.data, b""
        return taken

    def stop_reading(self) -> None:
        """Take nothing more, as a client does that sleeps."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._step("when it reads no more")

    def read_on(self) -> None:
        """Take what comes again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._step("when it reads on")

    async def gate(self) -> None:
        """Wait until the client's script opens the upstream's gate, or the connection has ended."""
        assert self.origin is not None
        while not (self.origin.is_open or self.is_over):
            await self._wait()
        self._step("behind its gate")

    async def turns(self) -> None:
        """Let the other side read what was sent before anything else comes."""
        for _ in range(4):
            await asyncio.sleep(0)

    def wake(self) -> None:
        """Look again at what is waited for."""
        self._wake()

    # -- how it leaves

    def reset(self) -> None:
        """Leave with a reset."""
        self.is_over = True
        if self._transport is not None and not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def end(self) -> None:
        """Leave as a program does that closes its socket."""
        self.is_over = True
        if self._transport is not None:
            self._transport.close()
        self._wake()

    async def gone(self) -> None:
        """Wait until the socket is closed."""
        if self._transport is not None:
            await asyncio.shield(self._lost)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self._stage.activity += 1
        self.data += data
        self._wake()

    def eof_received(self) -> None:
        self._stage.activity += 1
        self.is_over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage.activity += 1
        self.is_over = True
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake()

    # -- inside

    def _step(self, what: str) -> None:
        if self._role:
            self._stage.step(self._role, f"the {self._name}, {what}")

    async def _more(self) -> None:
        if self.is_over:
            raise Ended(f"the {self._name}'s connection has ended; it has {self.data[:200]!r}")
        await self._wait()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


Script = Callable[[Peer], Awaitable[None]]


class Origin:
    """An upstream: each connection plays the script."""

    def __init__(self, stage: Stage, name: str, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._stage = stage
        self._name = name
        self._script = script
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers: set[Peer] = set()
        self.port = 0
        self.is_open = False
        self.faults: list[BaseException] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Listen, always on the same port: one that no other program gets for a connection of its own meanwhile."""
        loop = asyncio.get_running_loop()
        self.port = self.port or free_port()
        self._server = await loop.create_server(
            lambda: Peer(self._stage, self._name, self._begin),
            "127.0.0.1",
            self.port,
            ssl=self._tls,
            reuse_address=True,
        )

    def go_away(self) -> None:
        """Listen no more, and end what there is."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        """Reset every connection."""
        for peer in list(self.peers):
            peer.reset()

    def end(self) -> None:
        """End every connection."""
        for peer in list(self.peers):
            peer.end()

    def open(self) -> None:
        """Let those go on who wait at the gate."""
        self.is_open = True
        for peer in self.peers:
            peer.wake()

    @property
    def is_listening(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None

    async def ended(self) -> None:
        """Wait until no connection is left; the other side closes them."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, peer: Peer) -> None:
        self.peers.add(peer)
        peer.origin = self
        task = asyncio.get_running_loop().create_task(self._play(peer), name="play of the upstream")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, peer: Peer) -> None:
        try:
            await self._script(peer)
        except Ended:
            pass
        except Exception as error:
            self.faults.append(error)
        finally:
            peer.end()
            await peer.gone()
            self.peers.discard(peer)


async def connect(stage: Stage, port: int, *, small: bool = False, **options: Any) -> Peer:
    """Return a client's end of a new connection. small: its kernel holds little."""
    loop = asyncio.get_running_loop()
    if small:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            _, peer = await loop.create_connection(lambda: Peer(stage, "client"), sock=sock, **options)
        except BaseException:
            sock.close()
            raise
        return peer
    _, peer = await loop.create_connection(lambda: Peer(stage, "client"), "127.0.0.1", port, **options)
    return peer


async def connect_unix(stage: Stage, path: str) -> Peer:
    """Return a client's end of a new connection to a unix socket."""
    _, peer = await asyncio.get_running_loop().create_unix_connection(lambda: Peer(stage, "client"), path)
    return peer
