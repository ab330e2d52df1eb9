"""A process that stands in for Dash: it starts in a moment, and keeps books that outlive its SIGKILL.

``python -m tests.load.origin PORT BOOK``. It trusts its clients.

- ``GET /page/N``          a page that holds N
- ``GET /bytes/N``         N bytes
- ``GET /events/N/MS``     a stream of N events, numbered from 0, MS milliseconds apart
- ``GET /sent``            how many bytes /bytes and floods have sent
- ``POST /order/TOKEN``    writes TOKEN into the book, then answers with it
- WebSocket ``/flood/N``   sends N bytes in frames, then closes with 1000
- other WebSockets         an echo, frame by frame

On SIGTERM its WebSockets are closed with 1012, as a server does that is restarted politely.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator

import uvloop

from tests.wire.connection import read_frame
from tests.wire.frames import close_frame, frame
from tests.wire.messages import answer, chunks, switching

CLOSE, PING, PONG, BINARY = 0x8, 0x9, 0xA, 0x2

PIECE = bytes(65536)

RESTARTING = 1012


class Origin:
    """What the connections share. book: a file descriptor to append to."""

    def __init__(self, book: int) -> None:
        self._book = book
        self._sent = 0
        self._sockets: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side has left; that is its right
        finally:
            self._sockets.discard(writer)
            self._connections.discard(task)
            writer.close()

    async def stop(self) -> None:
        """Close the WebSockets politely, and every connection after that."""
        for writer in self._sockets:
            writer.write(close_frame(RESTARTING))
            writer.close()
        connections = list(self._connections)
        if connections:
            await asyncio.wait(connections, timeout=1)
        for task in connections:
            task.cancel()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode("latin-1").split(" ", 2)
        _, verb, *words = target.split("/")
        if key := re.search(rb"(?i)\r\nsec-websocket-key: *([^\r]+)", head):
            writer.write(switching(key=key[1]))
            self._sockets.add(writer)
            await (self._flood(writer, int(words[0])) if verb == "flood" else self._echo(reader, writer))
            return False
        if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
            await reader.readexactly(int(length[1]))
        if verb == "bytes":
            writer.write(answer("200 OK", f"Content-Length: {words[0]}", body=None))
            async for piece in _pieces(int(words[0]), writer):
                self._sent += len(piece)
                writer.write(piece)
        elif verb == "events":
            await _events(writer, int(words[0]), int(words[1]) / 1000)
        else:
            if method == "POST":
                os.write(self._book, f"{words[0]}\n".encode())  # before the answer: what is acknowledged is done
            body = str(self._sent) if verb == "sent" else page(words[0])
            writer.write(answer("200 OK", "Content-Type: text/plain", body=body.encode()))
        return True

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            got = await read_frame(reader)
            writer.write(frame(PONG if got.opcode == PING else got.opcode, got.payload, fin=got.fin))
            await writer.drain()
            if got.opcode == CLOSE:
                return

    async def _flood(self, writer: asyncio.StreamWriter, size: int) -> None:
        async for piece in _pieces(size, writer):
            self._sent += len(piece)
            writer.write(frame(BINARY, piece))
        writer.write(close_frame(1000))
        await writer.drain()


def page(number: str) -> str:
    """Return the page of a number, about a kilobyte."""
    return f"page {number}\n".ljust(1024, ".")


async def _pieces(size: int, writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)
        await writer.drain()


async def _events(writer: asyncio.StreamWriter, count: int, pause: float) -> None:
    writer.write(answer("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", body=None))
    for number in range(count):
        event = f"data: {number}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(pause)
    writer.write(chunks())


async def main(port: int, book: str) -> None:
    """Serve until SIGTERM."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    origin = Origin(os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    server = await asyncio.start_server(origin.serve, "127.0.0.1", port, backlog=4096)
    await asked.wait()
    server.close()
    await origin.stop()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
