"""Whoever else is there, in a process of its own: requests at a steady rate, and how long each takes.

``python -m tests.load.gets get PORT [tls]``, and ``python -m tests.load.gets echo PORT`` for round trips on sockets
that are open. Reads lines ``SECONDS RATE [PID]``; answers each with the latencies (JSON, in seconds).

Each request is due at its moment, whether those before it have been answered or not, and its latency counts from that
moment: a server that does not answer for a second is seen by every request of that second.

With a PID, a latency is the CPU time that this process has had from that moment to the answer. A server that is busy
with another client is seen all the same, and a machine that is busy with other processes is not.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator

import uvloop

from tests.load.clients import Ended, Refused, Socket
from tests.load.origin import page
from tests.wire.messages import Message, request

CLIENTS = 8
"""Connections that ask."""

TIMEOUT = 10.0
"""Seconds after the last moment; a request that is not answered by then counts as long as it has waited."""

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


class Clock:
    """Seconds of a process's CPU, for any moment since it began to be read. pid: None for the time of day."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._moments: list[float] = []
        self._read: list[float] = []

    def read(self) -> None:
        """Remember what it shows now."""
        self._moments.append(time.monotonic())
        self._read.append(cpu(self._pid) if self._pid is not None else self._moments[-1])

    async def run(self) -> None:
        """Read it every few milliseconds."""
        while True:
            self.read()
            await asyncio.sleep(0.002)

    def at(self, moment: float) -> float:
        """Return what it showed: evenly between two readings, and the last one after it."""
        if self._pid is None:
            return moment
        after = bisect_left(self._moments, moment)
        if after in (0, len(self._moments)):
            return self._read[min(after, len(self._read) - 1)]
        one, two = self._moments[after - 1 : after + 1]
        share = (moment - one) / (two - one)
        return self._read[after - 1] + share * (self._read[after] - self._read[after - 1])


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has had (clock_getcpuclockid(3): /proc counts in hundredths)."""
    return time.clock_gettime((~pid << 3) | 2)


async def measure(asks: list[Ask], seconds: float, rate: float, pid: int | None = None) -> list[float]:
    """Ask at a steady rate; return the latencies. What fails counts as ``TIMEOUT``.

    pid: of the process whose CPU time is counted; None: the time that passes.
    """
    clock = Clock(pid)
    clock.read()
    reading = asyncio.get_running_loop().create_task(clock.run(), name="readings of the clock")
    try:
        spans = await _spans(asks, seconds, rate)
    finally:
        reading.cancel()
    clock.read()
    return [TIMEOUT if end is None else clock.at(end) - clock.at(due) for due, end in spans]


async def _spans(asks: list[Ask], seconds: float, rate: float) -> list[tuple[float, float | None]]:
    """Ask at a steady rate; return from when to when each took, None for what failed."""
    spans: list[tuple[float, float | None]] = []
    began = time.monotonic() + 0.01
    moments: Iterator[float] = (began + number / rate for number in range(int(seconds * rate)))

    async def client(ask: Ask) -> None:
        for moment in moments:
            await asyncio.sleep(moment - time.monotonic())
            try:
                async with asyncio.timeout_at(began + seconds + TIMEOUT):
                    await ask()
                spans.append((moment, time.monotonic()))
            except TimeoutError:
                spans.append((moment, time.monotonic()))
                return
            except (OSError, EOFError, Ended, Refused) as error:
                print(f"tests.load.gets: {error!r}", file=sys.stderr)
                spans.append((moment, None))

    async with asyncio.TaskGroup() as group:
        for number, ask in enumerate(asks):
            group.create_task(client(ask), name=f"client {number}")
    spans.extend((moment, time.monotonic()) for moment in moments)
    return spans


async def main(kind: str, port: int, is_tls: bool) -> None:
    """Measure whenever a line says so."""
    context = None
    if is_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    clients = [Page(port, context) if kind == "get" else Echo(port) for _ in range(CLIENTS)]
    while line := await asyncio.to_thread(sys.stdin.readline):
        seconds, rate, *pid = line.split()
        asks = [client.ask for client in clients]
        print(json.dumps(await measure(asks, float(seconds), float(rate), *map(int, pid))), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["tls"]))
