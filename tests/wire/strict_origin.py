"""An origin that reads to the letter and writes down everything: what a gateway sends it is unambiguous, or is a fault.

It runs in the loop of whoever starts it, or in a thread of its own
(``strict_origins``). What it answers depends on the request alone:

- a handshake: 101; under ``/refuse/STATUS`` that status, and the connection goes on;
- everything else: 200, and as JSON the request line, the body, and who asked for it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.wire.reading import Request, read_at_origin

MAX_UNREAD = 1 << 20


@dataclass
class Seen:
    """One request at the origin: over which of its connections it came, and what came behind its 101."""

    upstream: str
    connection: int
    request: Request
    tunnel: bytearray = field(default_factory=bytearray)
    is_tunnel: bool = False


class StrictOrigin:
    """One upstream. ``seen`` has every request, whole or not, in the order in which they were complete or cut.

    Whoever wants to be told instead of asking sets ``note``, and ``tunnel_ended`` for what came behind a 101.

    read: reads one request; behind another proxy than ours it asks for less.
    """

    def __init__(self, name: str, read: Callable[[bytes], Request | None] = read_at_origin) -> None:
        self.name = name
        self.read = read
        self.seen: list[Seen] = []
        self.note: Callable[[Seen], None] = self.seen.append
        self.tunnel_ended: Callable[[Seen], None] = lambda seen: None
        self.connections = 0
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    @property
    def faults(self) -> list[Seen]:
        """Whatever another server could have read in another way."""
        return [seen for seen in self.seen if seen.request.faults]

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Link(self), "127.0.0.1", 0, backlog=2048)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def adopt_socket(self, sock: socket.socket, data: bytes, on_end: Callable[[], None]) -> None:
        """Take a client's own socket over, and what was read of it: one handshake, and never another request."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: _Link(self, on_end, data), sock)

    def hang_up(self) -> None:
        """Close every connection."""
        for link in list(self._links):
            link.transport.abort()

    def close(self) -> None:
        self.hang_up()
        if self._server is not None:
            self._server.close()

    def adopt(self, link: _Link) -> int:
        self._links.add(link)
        self.connections += 1
        return self.connections

    def lose(self, link: _Link) -> None:
        self._links.discard(link)


class _Link(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(
        self, origin: StrictOrigin, on_end: Callable[[], None] | None = None, already_read: bytes = b""
    ) -> None:
        self._origin = origin
        self._already_read = already_read
        self._on_end = on_end  # of a socket that was handed over
        self._unread = b""
        self._tunnel: Seen | None = None
        self._is_dead = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's do not derive from asyncio's
        self._number = self._origin.adopt(self)
        if self._already_read:
            self.data_received(self._already_read)

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.tunnel += data
            self.transport.write(data)
            return
        if self._is_dead:
            return
        self._unread += data
        while self._unread and self._tunnel is None:
            request = self._origin.read(self._unread)
            assert request is not None
            if request.faults:
                self._note(request)
                self._is_dead = True
                self.transport.write(b"HTTP/1.1 400 Ambiguous\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            if not request.is_whole:
                assert len(self._unread) < MAX_UNREAD, "a request that never ends"
                return
            self._unread = self._unread[request.size :]
            self._answer(self._note(request))
            if self._on_end is not None and self._tunnel is None:
                self._is_dead = True  # docs/handoff.md: behind a refusal everything is thrown away
                self.transport.close()
                return

    def connection_lost(self, exc: Exception | None) -> None:
        if self._unread and not self._is_dead:
            request = self._origin.read(self._unread)
            assert request is not None
            if not request.version:
                request.faults.append("a head that is cut: a gateway sends whole ones")
            self._note(request)
        if self._tunnel is not None:
            self._origin.tunnel_ended(self._tunnel)
        self._origin.lose(self)
        if self._on_end is not None:
            self._on_end()

    def _note(self, request: Request) -> Seen:
        seen = Seen(self._origin.name, self._number, request)
        self._origin.note(seen)
        return seen

    def _answer(self, seen: Seen) -> None:
        request = seen.request
        if not request.is_handshake:
            line = f"{request.method.decode()} {request.target.decode()}"
            client = b", ".join(request.all(b"x-forwarded-for")).decode()
            body = json.dumps({"line": line, "body": request.body.decode("latin-1"), "client": client})
            self._write(b"200 OK", b"", b"" if request.method == b"HEAD" else body.encode())
        elif request.target.startswith(b"/refuse/"):
            status = request.target[8:11] if request.target[8:11] in (b"401", b"426") else b"403"
            more = b"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" if status == b"426" else b""
            self._write(status + b" Refused", more, b"refused " + request.target)
        else:
            key = request.all(b"sec-websocket-key")[0]
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self._tunnel = seen
            seen.is_tunnel = True
            if self._unread:
                rest, self._unread = self._unread, b""
                self.data_received(rest)

    def _write(self, status: bytes, more: bytes, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(body), body))


@dataclass
class Origins:
    """Both upstreams, in a loop and a thread of their own."""

    dash: StrictOrigin
    ws: StrictOrigin
    loop: asyncio.AbstractEventLoop

    def settle(self) -> None:
        """Let the loop take in whatever has reached its sockets by now."""
        for _ in range(2):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self.loop).result(10)

    @property
    def seen(self) -> list[Seen]:
        """What reached either; call ``settle`` before."""
        return [*self.dash.seen, *self.ws.seen]

    def forget(self) -> None:
        """Begin anew."""
        self.settle()
        self.dash.seen.clear()  # cleared, not replaced: the origins note into them
        self.ws.seen.clear()


@contextmanager
def strict_origins(read: Callable[[bytes], Request | None] = read_at_origin) -> Iterator[Origins]:
    """Run both upstreams for the length of a ``with`` block."""
    loop = asyncio.new_event_loop()
    origins = Origins(StrictOrigin("dash", read), StrictOrigin("ws", read), loop)
    thread = threading.Thread(target=loop.run_forever, name="strict origins", daemon=True)
    thread.start()

    async def start() -> None:
        await origins.dash.start()
        await origins.ws.start()

    async def close() -> None:
        origins.dash.close()
        origins.ws.close()
        await asyncio.sleep(0)

    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield origins
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def ask(url: str, data: bytes) -> bytes:
    """Send bytes to an origin and return what comes back until it, or we, have ended."""
    host, _, port = url.partition("://")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))
