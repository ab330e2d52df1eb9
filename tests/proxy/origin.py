"""An upstream for tests: a TCP server in the test's own loop that plays a script on each connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read one request head."""
    return await reader.readuntil(b"\r\n\r\n")


def answering(*answers: bytes, close: bool = False) -> Script:
    """A script that reads a head and writes an answer, as often as there are answers.

    close: end the connection behind the last one, instead of waiting for the other side to do it.
    """

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_head(reader)
            writer.write(answer)
            await writer.drain()
        if not close:
            await reader.read()

    return script


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A script that reads everything and answers nothing."""
    await reader.read()


class Origin:
    """What the tests ask of the server: its URL, and how many connections it has seen."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.connections = 0
        self.closed = 0
        self.listener: asyncio.Server
        self._changed = asyncio.Condition()

    async def note(self, *, opened: int = 0, closed: int = 0) -> None:
        async with self._changed:
            self.connections += opened
            self.closed += closed
            self._changed.notify_all()

    async def wait_closed(self, count: int) -> None:
        """Wait until ``count`` connections have ended."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.closed >= count)


@asynccontextmanager
async def origin(*scripts: Script, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    """Serve: the n-th connection gets the n-th script, later ones the last.

    port: 0 for any that is free. tls: None for plain TCP.
    """
    state = Origin()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        script = scripts[min(state.connections, len(scripts) - 1)]
        await state.note(opened=1)
        try:
            await script(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            await state.note(closed=1)
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    state.listener = server
    state.port = server.sockets[0].getsockname()[1]
    state.url = f"http://127.0.0.1:{state.port}"
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
