"""Clients in great numbers, in a process of their own, so that whoever measures beside them is not slowed by them.

``python -m tests.load.crowd sockets PORT TARGET COUNT TALKING``: COUNT WebSockets; TALKING of them say something every
second. ``python -m tests.load.crowd slow PORT COUNT PAUSE``: COUNT connections that make a server wait, a byte every
PAUSE seconds; whoever is shown out comes again.

Each prints ``ready`` once everybody is there, and what it has seen (JSON) when its input ends and everybody has left.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from tests.load.clients import Ended, Refused, Socket, address_of, connect
from tests.processes import ROOT
from tests.wire.messages import request

DIALLING = 64
"""Connections that are opened at a time: below every backlog."""

TIMEOUT = 30.0
"""Seconds for one answer."""

Counts = Counter[str]


class Crowd:
    """The other process, seen from the one that measures. ``counts`` is there once it has left."""

    def __init__(self) -> None:
        self.counts: Counts = Counter()


@asynccontextmanager
async def crowd(*words: object) -> AsyncIterator[Crowd]:
    """Have a crowd for the length of a ``with`` block, which begins when all of it is there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.load.crowd",
        *map(str, words),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        if await process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the crowd {words} did not come together; see above")
        seen = Crowd()
        yield seen
        process.stdin.close()
        said = await process.stdout.readline()
        if not said:
            raise RuntimeError(f"the crowd {words} has failed; see above")
        seen.counts.update(json.loads(said))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def some_at_a_time(jobs: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run many jobs, ``DIALLING`` of them at a time; the first exception ends them all."""
    gate = asyncio.Semaphore(DIALLING)

    async def run(job: Coroutine[Any, Any, None]) -> None:
        async with gate:
            await job

    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(run(job))


class Held:
    """A WebSocket that is held open. It always listens, because servers ping, and close on whoever does not answer."""

    def __init__(self, socket: Socket, counts: Counts) -> None:
        self._socket = socket
        self._counts = counts
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._listening = asyncio.get_running_loop().create_task(self._listen(), name="held socket")

    async def echo(self, message: bytes) -> None:
        """Say something, and count whether it comes back."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._socket.say(message)
                self._counts["echoes" if await self._heard.get() == message else "wrong"] += 1
        except (Ended, TimeoutError):
            self._counts["lost"] += 1

    async def leave(self) -> None:
        """Close it politely."""
        try:
            self._socket.begin_to_close()
            async with asyncio.timeout(TIMEOUT):
                await self._listening
        except (Ended, TimeoutError):
            self._counts["never closed"] += 1
        self._socket.close()

    async def _listen(self) -> None:
        try:
            while True:
                self._heard.put_nowait(await self._socket.hear())
        except Ended as end:
            self._counts[f"closed with {end.code}"] += 1


async def hold_sockets(port: int, target: str, count: int, talking: int) -> Counts:
    """Hold WebSockets until the input ends; each of them must still be an echo then."""
    counts: Counts = Counter()
    sockets: list[Held] = []
    is_over = asyncio.Event()

    async def open_one(number: int) -> None:
        async with asyncio.timeout(TIMEOUT):
            sockets.append(Held(await Socket.open(port, target, source=address_of(number)), counts))

    async def talk(socket: Held, number: int) -> None:
        await asyncio.sleep(number / talking)  # not all in the same moment
        while not is_over.is_set():
            await socket.echo(f"message {number} ".encode() * 8)
            await asyncio.sleep(1)

    await some_at_a_time(open_one(number) for number in range(count))
    async with asyncio.TaskGroup() as group:
        for number in range(talking):
            group.create_task(talk(sockets[number], number))
        print("ready", flush=True)
        await end_of_input()
        is_over.set()
    await some_at_a_time(socket.echo(b"the last word") for socket in sockets)
    await some_at_a_time(socket.leave() for socket in sockets)
    return counts


async def trickle(port: int, count: int, pause: float) -> Counts:
    """Hold connections that make a server wait, until the input ends."""
    counts: Counts = Counter()
    arrived: set[int] = set()
    is_complete = asyncio.Event()

    async def visit(number: int) -> None:
        name, at_once, slowly = SLOW[number % len(SLOW)]
        await asyncio.sleep(pause * number / count)  # not all in the same moment
        while True:
            try:
                reader, writer = await connect(port, source=address_of(number))
            except OSError as error:
                counts[f"{name}: not let in ({type(error).__name__})"] += 1
                await asyncio.sleep(pause)
                continue
            arrived.add(number)
            if len(arrived) == count:
                is_complete.set()
            listening = asyncio.get_running_loop().create_task(reader.read(), name="what the server says")
            try:
                counts[f"{name}: came"] += 1
                writer.write(at_once)
                for byte in slowly:
                    await asyncio.wait({listening}, timeout=pause)
                    if listening.done():
                        break
                    writer.write(bytes((byte,)))
                said = await listening
                counts[f"{name}: shown out with {said[9:12].decode() or 'nothing'}"] += 1
            except ConnectionError:
                counts[f"{name}: reset"] += 1
            finally:
                listening.cancel()
                writer.transport.abort()

    visitors = [asyncio.get_running_loop().create_task(visit(n), name=f"slow client {n}") for n in range(count)]
    await is_complete.wait()
    print("ready", flush=True)
    await end_of_input()
    for visitor in visitors:
        visitor.cancel()
    await asyncio.gather(*visitors, return_exceptions=True)
    return counts


LONG = b"X-Slow: " + b"a" * 4000

SLOW = (
    ("silent", b"", b""),
    ("head", b"GET /page/1 HTTP/1.1\r\nHost: x\r\n", LONG),
    ("body", request("POST /order/slow", "Content-Length: 4000"), LONG),
    ("handshake", b"GET /echo HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", LONG),
)
"""Kinds of slow clients: name, what comes at once, what comes byte by byte."""


async def end_of_input() -> None:
    """Wait until nobody needs us any more."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main(kind: str, *words: str) -> None:
    """Be a crowd."""
    if kind == "sockets":
        port, target, count, talking = words
        counts = await hold_sockets(int(port), target, int(count), int(talking))
    else:
        port, count, pause = words
        counts = await trickle(int(port), int(count), float(pause))
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    try:
        uvloop.run(main(*sys.argv[1:]))
    except* (Refused, Ended, OSError, TimeoutError) as problems:
        print(f"tests.load.crowd: {problems.exceptions[0]!r}", file=sys.stderr)
        sys.exit(1)
