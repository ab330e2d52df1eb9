"""Whoever else is there, in a process of its own: requests at a steady rate, and how long each takes.

``python -m tests.load.gets get PORT [tls]``, and ``python -m tests.load.gets echo PORT`` for round trips on sockets
that are open. Reads lines ``SECONDS RATE``; answers each with the latencies (JSON, in seconds).

Each request is due at its moment, whether those before it have been answered or not, and its latency counts from that
moment: a server that stands still for a second is seen by every request of that second.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterator

import uvloop

from tests.load.clients import Ended, Refused, Socket
from tests.load.origin import page
from tests.wire.messages import Message, request

CLIENTS = 8
"""Connections that ask."""

PATIENCE = 10.0
"""Seconds behind the last moment; a request that is not answered by then counts as long as it has waited."""

SOURCE = "127.0.0.2"
"""Another client than the hostile one."""

Ask = Callable[[], Awaitable[None]]


class Page:
    """A client that asks for a page on one connection, and connects again where that has ended."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._context = context
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> None:
        pair, self._pair = self._pair, None  # kept again once it has answered
        if pair is None or pair[0].at_eof():
            pair = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context, local_addr=(SOURCE, 0))
        reader, writer = pair
        writer.write(request("GET /page/1"))
        got = Message(await reader.readuntil(b"\r\n\r\n"))
        if await reader.readexactly(int(got.get("content-length", 0))) != page("1").encode():
            raise ConnectionError(f"answered with {got.status}")
        self._pair = pair


class Echo:
    """A client that has what it says sent back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: Socket | None = None

    async def ask(self) -> None:
        socket, self._socket = self._socket, None
        if socket is None:
            socket = await Socket.open(self._port, "/echo", source=SOURCE)
        await socket.say(b"hello")
        await socket.hear()
        self._socket = socket


async def measure(asks: list[Ask], seconds: float, rate: float) -> list[float]:
    """Ask at a steady rate; return the latencies. What fails counts as ``PATIENCE``."""
    latencies: list[float] = []
    began = time.monotonic() + 0.01
    moments: Iterator[float] = (began + number / rate for number in range(int(seconds * rate)))

    async def client(ask: Ask) -> None:
        for moment in moments:
            await asyncio.sleep(moment - time.monotonic())
            try:
                async with asyncio.timeout_at(began + seconds + PATIENCE):
                    await ask()
                latencies.append(time.monotonic() - moment)
            except TimeoutError:
                latencies.append(time.monotonic() - moment)
                return
            except (OSError, EOFError, Ended, Refused) as error:
                print(f"tests.load.gets: {error!r}", file=sys.stderr)
                latencies.append(PATIENCE)

    async with asyncio.TaskGroup() as group:
        for number, ask in enumerate(asks):
            group.create_task(client(ask), name=f"client {number}")
    latencies.extend(time.monotonic() - moment for moment in moments)
    return latencies


async def main(kind: str, port: int, is_tls: bool) -> None:
    """Measure whenever a line says so."""
    context = None
    if is_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    clients = [Page(port, context) if kind == "get" else Echo(port) for _ in range(CLIENTS)]
    while line := await asyncio.to_thread(sys.stdin.readline):
        seconds, rate = map(float, line.split())
        print(json.dumps(await measure([client.ask for client in clients], seconds, rate)), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["tls"]))
