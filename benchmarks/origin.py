"""The origin behind the proxies: a WebSocket echo and an HTTP server that cost less than what is measured.

``python -m benchmarks.origin PORT``. It trusts its clients and understands this alone:

- ``GET /``                  1,040 bytes
- ``GET /bytes/N``           N bytes of the pattern
- ``POST /sink``             swallows a body; answers with how much of it was the pattern
- ``GET /push/TICKS/MS``     sends TICKS messages to every socket on /push, MS milliseconds apart; answers after it
- ``GET /events``            four events in chunks, each written by itself
- ``POST /chunked``          swallows a small chunked body; answers with its size
- ``GET /accepted``          the number of connections that it has accepted
- a WebSocket handshake      an echo, byte for byte
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import cast

import uvloop

from benchmarks.wire import (
    CLOSE,
    EVENTS,
    LAST_CHUNK,
    PATTERN,
    SMALL,
    accept,
    frame,
    frame_head,
    is_pattern,
    unchunked,
)

PUSHED = 200
"""Bytes of a pushed message. Its first eight are the moment of sending (``time.monotonic_ns``, big-endian)."""

_OK = (
    b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/octet-stream\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n"
)
_EVENTS = _OK.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked").replace(
    b"application/octet-stream", b"text/event-stream"
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SMALL = _OK % len(SMALL) + SMALL


class Http(asyncio.Protocol):
    """One connection, until it becomes a WebSocket."""

    accepted = 0

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._pending = b""
        self._to_send = 0
        self._to_swallow = 0
        self._swallowed = 0
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        Http.accepted += 1

    def data_received(self, data: bytes) -> None:
        """Answer each request whose head is complete, or swallow a body."""
        if self._to_swallow:
            data = self._swallow(data)
        if self._pending:
            data = self._pending + data
        while data:
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                break
            rest = self._answer(data[:end], data[end:])
            if rest is None:
                break
            data = rest
        self._pending = data

    def _answer(self, head: bytes, rest: bytes) -> bytes | None:
        """Answer a request; return what comes after it, or None where its body is not whole yet."""
        if head.startswith(b"GET / "):
            self._transport.write(_SMALL)
            return rest
        method, target, _ = head.split(b" ", 2)
        _, verb, *arguments = target.decode().split("/")
        if key := re.search(rb"(?i)\r\nsec-websocket-key: *([^\r]+)", head):
            self._upgrade(key[1], verb, rest)
            return b""
        if verb == "chunked":
            return self._swallow_chunks(head, rest)
        if method == b"POST":
            if b"\r\nExpect:" in head or b"\r\nexpect:" in head:
                self._transport.write(_CONTINUE)
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if length is None:
                self._transport.write(b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n")
                return rest
            self._to_swallow, self._swallowed = int(length[1]), 0
            return self._swallow(rest)
        if verb == "bytes":
            self._to_send = int(arguments[0])
            self._transport.write(_OK % self._to_send)
            self._send_more()
        elif verb == "events":
            self._transport.write(_EVENTS)
            self._send_events(0)
        elif verb == "push":
            ticks, pause = map(int, arguments)
            Echo.pushing = asyncio.get_running_loop().create_task(self._push(ticks, pause / 1000), name="push")
        else:
            self._say(b"%d" % Http.accepted)
        return rest

    def _say(self, body: bytes) -> None:
        self._transport.write(_OK % len(body) + body)

    def _swallow(self, data: bytes) -> bytes:
        piece, rest = data[: self._to_swallow], data[self._to_swallow :]
        self._to_swallow -= len(piece)
        if is_pattern(piece, self._swallowed):
            self._swallowed += len(piece)
        if self._to_swallow == 0:
            self._say(b"%d" % self._swallowed)
        return rest

    def _swallow_chunks(self, head: bytes, rest: bytes) -> bytes | None:
        if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):  # a proxy has collected the body
            body, rest = rest[: int(length[1])], rest[int(length[1]) :]
            is_whole = len(body) == int(length[1])
        else:
            chunks, end, rest = rest.partition(b"\r\n" + LAST_CHUNK)
            is_whole = bool(end)
            body = unchunked(chunks + end) if is_whole else b""
        if not is_whole:
            return None
        self._say(b"%d" % len(body))
        return rest

    def _send_events(self, number: int) -> None:
        event = EVENTS[number]
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        if number + 1 < len(EVENTS):
            asyncio.get_running_loop().call_soon(self._send_events, number + 1)
        else:
            self._transport.write(LAST_CHUNK)

    def _send_more(self) -> None:
        while self._to_send and not self._is_paused:
            piece = PATTERN[: self._to_send]  # the whole of it is not copied
            self._to_send -= len(piece)
            self._transport.write(piece)

    def pause_writing(self) -> None:
        """The proxy is slower than we are."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self._is_paused = False
        self._send_more()

    async def _push(self, ticks: int, pause: float) -> None:
        due = time.monotonic()
        for _ in range(ticks):
            due += pause
            await asyncio.sleep(due - time.monotonic())
            payload = time.monotonic_ns().to_bytes(8, "big").ljust(PUSHED, b".")
            data = frame(2, payload, masked=False)
            for transport in Echo.pushed_to:
                transport.write(data)
        self._say(b"%d" % (ticks * len(Echo.pushed_to)))

    def _upgrade(self, key: bytes, verb: str, rest: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept(key)
        )
        echo = Echo(self._transport, is_pushed_to=verb == "push")
        self._transport.set_protocol(echo)
        if rest:
            echo.data_received(rest)


class Echo(asyncio.Protocol):
    """A WebSocket: every frame goes back without its mask. Pieces of a frame are not collected."""

    pushed_to: set[asyncio.Transport] = set()  # noqa: RUF012 - one process, one set
    pushing: asyncio.Task[None] | None = None

    def __init__(self, transport: asyncio.Transport, *, is_pushed_to: bool) -> None:
        self._transport = transport
        self._pending = b""
        self._left = 0
        self._mask = b""
        self._at = 0
        if is_pushed_to:
            Echo.pushed_to.add(transport)

    def data_received(self, data: bytes) -> None:
        """Send back what has come."""
        if self._pending:
            data, self._pending = self._pending + data, b""
        at = 0
        while at < len(data):
            if self._left:
                at += self._payload(data[at : at + self._left])
                continue
            size, start = data[at + 1] & 0x7F if len(data) > at + 1 else 0, at + 2
            if size > 125:
                start += 2 if size == 126 else 8
            if len(data) < start + 4:
                self._pending = data[at:]
                return
            if size > 125:
                size = int.from_bytes(data[at + 2 : start], "big")
            opcode = data[at] & 0x0F
            self._mask, self._left, self._at = data[start : start + 4], size, 0
            at = start + 4
            if opcode == CLOSE:
                self._transport.write(frame(CLOSE, b"\x03\xe8", masked=False))
                self._transport.close()
                return
            piece = data[at : at + size]
            if self._mask == b"\0\0\0\0":
                self._left -= len(piece)
                self._transport.write(frame_head(opcode, size, masked=False) + piece)
                at += len(piece)
            else:
                self._transport.write(frame_head(opcode, size, masked=False))

    def _payload(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._mask == b"\0\0\0\0":
            self._transport.write(piece)
        else:
            turned = self._mask[self._at % 4 :] + self._mask[: self._at % 4]
            self._at += len(piece)
            mask = (turned * (len(piece) // 4 + 1))[: len(piece)]
            clear = int.from_bytes(piece, "big") ^ int.from_bytes(mask, "big")
            self._transport.write(clear.to_bytes(len(piece), "big"))
        return len(piece)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        Echo.pushed_to.discard(self._transport)


async def serve(port: int) -> None:
    """Listen until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
