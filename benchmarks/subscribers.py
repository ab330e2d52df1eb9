"""Subscribers: many WebSockets that count what they get, check every byte of it, and may be cut and come back."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Iterable

from benchmarks.dialects import Dialect
from benchmarks.load import DIALLING, TIMEOUT, Counter, Socket
from benchmarks.processes import Failed
from benchmarks.wire import TEXT, frame

FIRST = 10_000_000
"""The number of the first publication; all have as many digits."""


def publication(number: int, size: int) -> bytes:
    """Return the JSON of a publication, ``size`` bytes long."""
    head = b'{"n":%d,"pad":"' % number
    return head + b"x" * (size - len(head) - 2) + b'"}'


class Audience:
    """What all subscribers share. size: bytes of a publication. latencies: seconds, of each delivery."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent: dict[int, float] = {}
        self.whole: dict[int, bytes] = {}
        self.latencies = array("d")
        self.delivered = 0
        self.counter = Counter()

    def publishes(self, number: int) -> bytes:
        """Note that a publication is sent now, and return it."""
        self.whole[number] = data = publication(number, self.size)
        self.sent[number] = time.perf_counter()
        return data

    def reset(self) -> None:
        """Forget what was delivered so far: the warm-up."""
        self.latencies = array("d")
        self.delivered = 0

    def check(self) -> None:
        """Raise Failed if a subscriber has seen something wrong."""
        if self.counter.fault is not None:
            raise Failed(self.counter.fault)


class Subscriber:
    """One subscriber. got: how often it has got each publication."""

    def __init__(self, audience: Audience, dialect: Dialect, path: str, port: int) -> None:
        self.got: dict[int, int] = {}
        self.dialect = dialect
        self._audience = audience
        self._path, self._port = path, port
        self._socket: Socket | None = None
        self._pending = b""
        self._ready: asyncio.Event = asyncio.Event()

    async def open(self) -> None:
        """Connect and subscribe. Raises Failed, OSError and TimeoutError."""
        self._pending = b""
        self._ready.clear()
        self._socket = socket = Socket(self._audience.counter, self._path, self._port)
        socket.on_data = self._on_data
        await asyncio.get_running_loop().create_connection(lambda: socket, "127.0.0.1", self._port)
        await socket.opened
        hello = self.dialect.hello()
        if hello is not None:
            socket.transport.write(frame(TEXT, hello, masked=True))
        if not self.dialect.is_subscribed:
            async with asyncio.timeout(TIMEOUT):
                await self._ready.wait()

    def cut(self) -> None:
        """Break the connection, with a reset."""
        if self._socket is not None:
            self._socket.on_data = lambda *_: None
            self._socket.leave()

    def _on_data(self, socket: Socket, data: bytes) -> None:
        data = self._pending + data if self._pending else data
        start = 0
        while (whole := _frame(data, start)) is not None:
            opcode, begin, end = whole
            if opcode == TEXT:
                self._take(socket, data[begin:end])
            elif opcode != 9:  # pings of `websockets` come after 20 s, and may go unanswered for as long
                socket.wrong(f"a frame of kind {opcode}: {data[begin : begin + 80]!r}")
                return
            start = end
        self._pending = data[start:]

    def _take(self, socket: Socket, message: bytes) -> None:
        audience = self._audience
        numbers, answer = self.dialect.take(message)
        now = time.perf_counter()
        for number in numbers:
            if audience.whole[number] not in message:
                socket.wrong(f"publication {number} is not what was sent: {message[:80]!r}")
            audience.latencies.append(now - audience.sent[number])
            audience.delivered += 1
            self.got[number] = self.got.get(number, 0) + 1
        if answer is not None:
            socket.transport.write(frame(TEXT, answer, masked=True))
        if not self._ready.is_set() and self.dialect.is_subscribed:
            self._ready.set()


def _frame(data: bytes, start: int) -> tuple[int, int, int] | None:
    """Return opcode, begin and end of the payload of a server's frame; None where it is not whole."""
    if len(data) < start + 2:
        return None
    length, begin = data[start + 1], start + 2
    if length > 125:
        begin += 2 if length == 126 else 8
        if len(data) < begin:
            return None
        length = int.from_bytes(data[start + 2 : begin], "big")
    return (data[start] & 0x0F, begin, begin + length) if len(data) >= begin + length else None


async def open_all(subscribers: Iterable[Subscriber]) -> None:
    """Open many, some at a time. Raises Failed when one cannot be had."""
    left = list(subscribers)
    while left:
        some, left = left[:DIALLING], left[DIALLING:]
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*(subscriber.open() for subscriber in some))


class Publisher:
    """One HTTP connection by which publications are sent, one after the other."""

    def __init__(self, port: int, request: Callable[[bytes], bytes]) -> None:
        self._port = port
        self._request = request
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def publish(self, data: bytes) -> None:
        """Send one and wait until the server has taken it. Raises Failed and OSError."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(self._request(data))
        async with asyncio.timeout(TIMEOUT):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await self._body(reader, head.lower())
        if not head.startswith(b"HTTP/1.1 200 ") or b'"error"' in body:
            raise Failed(f"a publication was answered with {head[:60]!r} {body[:100]!r}")

    async def _body(self, reader: asyncio.StreamReader, head: bytes) -> bytes:
        _, found, rest = head.partition(b"content-length: ")
        if not found:
            raise Failed(f"an answer without its length: {head[:200]!r}")
        return await reader.readexactly(int(rest.partition(b"\r\n")[0]))

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
