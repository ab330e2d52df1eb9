"""Requests at a steady rate, from clients that send nothing twice, and an upstream that answers them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from tests.wire.connection import DEADLINE
from tests.wire.messages import answer, request

CLIENTS, RATE = 20, 200
"""Connections at a time, and requests a second of all of them together."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Load:
    """What became of each request: each has a path of its own.

    Half of the clients open a connection for each request; the others keep theirs as long as the gateway does.

    port: of the gateway. served: paths. failed: what went wrong, by path. longest: seconds of one that was served.
    """

    port: int
    served: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    longest: float = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Send requests until it is told to stop."""
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._client(number, stop))

    async def _client(self, number: int, stop: asyncio.Event) -> None:
        loop, period, streams, count = asyncio.get_running_loop(), CLIENTS / RATE, None, 0
        due = loop.time() + period * number / CLIENTS
        while not stop.is_set():
            await asyncio.sleep(due - loop.time())
            due, began, count = max(due + period, loop.time()), loop.time(), count + 1
            path, goes_on = f"/{number}/{count}", False
            try:
                streams = await self._usable(streams)
                async with asyncio.timeout(DEADLINE):
                    goes_on = await _exchange(streams, "POST" if number % 4 == 0 else "GET", path)
                self.served.append(path)
                self.longest = max(self.longest, loop.time() - began)
            except (OSError, EOFError, AssertionError) as error:
                self.failed[path] = f"{error!r} after {loop.time() - began:.3f} s"
            if streams and not (goes_on and number % 2 == 0):
                await closed(streams[1])
                streams = None
        if streams:
            await closed(streams[1])

    async def _usable(self, streams: Streams | None) -> Streams:
        """Return the connection that is kept, unless it has been closed meanwhile, or a new one."""
        if streams is not None:
            if not streams[0].at_eof() and streams[0].exception() is None:
                return streams
            await closed(streams[1])
        return await asyncio.open_connection("127.0.0.1", self.port)


async def _exchange(streams: Streams, method: str, path: str) -> bool:
    """Send a request and read its answer; tell whether the connection may be used again."""
    reader, writer = streams
    writer.write(request(f"{method} {path}", "Content-Length: 0"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
    assert await reader.readexactly(2) == b"hi"
    return b"connection: close" not in head.lower()


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and wait until it is."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class Dash:
    """An upstream in the test's own loop, which answers every request with ``hi``."""

    url = ""

    def __init__(self) -> None:
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Dash:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for the end of each connection: the gateways have ended."""
        self._server.close()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer("200 OK", body=b"hi"))
        await closed(writer)
