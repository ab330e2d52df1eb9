"""An upstream that takes whatever comes, and sends whatever somebody wants to have to be read.

``python -m tests.load.sink PORT``. The first segment of a path is for the routes; the second says what happens:

- ``answer``             a small answer at once, to each request that is pipelined
- ``chunked``            the same once a chunked body has ended
- ``body``               reads for ever, and never answers
- ``early``              answers at once, whatever is still to come of the body, then reads on
- ``never``              neither answers nor reads what comes behind the head
- ``download``           bytes without end
- ``chunks/S/N/R``       an answer of N bytes in chunks of S, at R bytes a second (0: as fast as they are taken)
- ``fields/N``           an answer of N fields of 6 bytes
- WebSocket ``flood``    frames without end; ``never`` reads nothing; all others are read and nothing is said
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from typing import cast

import uvloop

from tests.wire.frames import frame
from tests.wire.messages import answer, switching

BINARY = 0x2

PIECE = 65536

TICK = 0.005
"""Seconds between two pieces of what is paced."""

OK = answer("200 OK", body=b"ok")


class Sink(asyncio.Protocol):
    """One connection of the gateway."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._head = b""
        self._is_through = False
        self._tail = b""
        self._ends_with = b""
        self._sending: asyncio.Task[None] | None = None
        self._is_writable = asyncio.Event()
        self._is_writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sending is not None:
            self._sending.cancel()

    def pause_writing(self) -> None:
        self._is_writable.clear()

    def resume_writing(self) -> None:
        self._is_writable.set()

    def data_received(self, data: bytes) -> None:
        if self._ends_with:
            self._tail = (self._tail + data)[-len(self._ends_with) :]
            if self._tail == self._ends_with:
                self._ends_with = self._tail = b""
                self._transport.write(OK)
        elif not self._is_through:
            self._head += data
            while not self._is_through and (end := self._head.find(b"\r\n\r\n")) >= 0:
                head, self._head = self._head[: end + 4], self._head[end + 4 :]
                self._asked(head)

    def _asked(self, head: bytes) -> None:
        _, _, verb, *words = head.split(b" ", 2)[1].decode("latin-1").partition("?")[0].split("/")
        if key := re.search(rb"(?i)\r\nsec-websocket-key: *([^\r]+)", head):
            self._transport.write(switching(key=key[1]))
            self._is_through = True
            if verb == "flood":
                self._send(self._without_end(frame(BINARY, bytes(PIECE))))
        elif verb == "answer":
            self._transport.write(OK)
            return
        elif verb == "chunked":
            self._ends_with = b"0\r\n\r\n"
            rest, self._head = self._head, b""
            self.data_received(rest)
            return
        elif verb == "fields":
            self._transport.write(answer("200 OK", *["a: b"] * int(words[0]), body=b""))
            return
        elif verb == "early":
            self._transport.write(answer("404 Not Found", body=b"no"))
        elif verb == "download":
            self._transport.write(answer("200 OK", f"Content-Length: {1 << 50}", body=None))
            self._send(self._without_end(bytes(PIECE)))
        elif verb == "chunks":
            self._transport.write(answer("200 OK", "Transfer-Encoding: chunked", body=None))
            self._send(self._chunks(*map(int, words)))
        if verb == "never":
            self._transport.pause_reading()
        self._is_through = True
        self._head = b""

    def _send(self, sending: asyncio._CoroutineLike[None]) -> None:
        self._sending = asyncio.get_running_loop().create_task(sending, name="sink that sends")

    async def _without_end(self, piece: bytes) -> None:
        while True:
            await self._is_writable.wait()
            self._transport.write(piece)
            await asyncio.sleep(0)

    async def _chunks(self, size: int, amount: int, rate: int) -> None:
        chunk = b"%x\r\n%b\r\n" % (size, b"a" * size)
        block = chunk * (PIECE // len(chunk))
        began, sent = time.monotonic(), 0
        while sent < amount:
            await self._is_writable.wait()
            due = amount if not rate else int((time.monotonic() - began) * rate)
            count = min(due, amount) - sent
            if count > 0:
                piece = block[: max(len(chunk), min(count, len(block)) // len(chunk) * len(chunk))]
                self._transport.write(piece)
                sent += len(piece)
            await asyncio.sleep(TICK if rate else 0)
        self._transport.write(b"0\r\n\r\n")
        self._is_through = False  # the gateway may ask again


async def main(port: int) -> None:
    """Serve until SIGTERM."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    server = await loop.create_server(Sink, "127.0.0.1", port, backlog=4096)
    await asked.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
