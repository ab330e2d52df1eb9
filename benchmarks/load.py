"""The load: closed loops over raw sockets. Each client sends again once its answer has come, and checks every byte.

Requests and frames are built beforehand, and nothing is parsed that can be compared: the load must be
cheaper than what it measures.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from benchmarks.processes import Failed
from benchmarks.wire import (
    BINARY,
    CLOSE,
    LAST_CHUNK,
    PATTERN,
    accept,
    frame,
    handshake,
    is_pattern,
    new_key,
    request,
    unchunked,
)

_CONTINUE = b"HTTP/1.1 100 "

DIALLING = 64
"""Connections that are opened at a time: below every backlog (nginx 511, the kernel 4096)."""

TIMEOUT = 20.0
"""Seconds for one answer. Beyond it the figure would be about something that is broken."""


@dataclass
class Counter:
    """What the clients of one measurement have seen."""

    count: int = 0
    latencies: array[float] = field(default_factory=lambda: array("d"))
    is_over: bool = False
    fault: str | None = None

    def answered(self, sent: float) -> float:
        """Count an answer to what was sent at ``sent``; return the time."""
        now = time.perf_counter()
        self.count += 1
        self.latencies.append(now - sent)
        return now

    def reset(self) -> None:
        """Forget what was counted so far: the warm-up."""
        self.count = 0
        self.latencies = array("d")

    def check(self) -> None:
        """Raise Failed if something was wrong, or if nothing has happened."""
        if self.fault is not None:
            raise Failed(self.fault)
        if self.count == 0:
            raise Failed("no answer in the whole window")


class Client(asyncio.Protocol):
    """What all clients share: a transport, and that an end is a fault unless they are leaving."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.is_leaving = False
        self.transport: asyncio.Transport
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def wrong(self, what: str) -> None:
        """Note the first fault, and stop."""
        self.counter.fault = self.counter.fault or what
        self.counter.is_over = True
        self.leave()

    def leave(self) -> None:
        """Cut the connection."""
        self.is_leaving = True
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note an end that nobody asked for."""
        if not self.is_leaving:
            self.wrong(f"the connection was closed ({exc or 'end of stream'})")
        if not self.lost.done():  # cancelled with whoever waited for it
            self.lost.set_result(None)


class Socket(Client):
    """A WebSocket. ``opened`` is done once the 101 has come; what follows it goes to ``on_data``."""

    def __init__(self, counter: Counter, target: str, port: int) -> None:
        super().__init__(counter)
        self._head = b""
        self._is_open = False
        key = new_key()
        self._request = handshake(target, host=f"127.0.0.1:{port}", key=key)
        self._accept = accept(key)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent = 0.0
        self.on_data: Callable[[Socket, bytes], None] = lambda socket, _: socket.wrong("data that nobody asked for")
        self._got = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands."""
        super().connection_made(transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Check the 101, then pass data on."""
        if self._is_open:
            self.on_data(self, data)
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 101 ") or self._accept not in head:
            self.wrong(f"the handshake was answered with {head[:80]!r}")
            return
        self._is_open = True
        if not self.opened.done():
            self.opened.set_result(None)
        if rest:
            self.on_data(self, rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for the 101."""
        super().connection_lost(exc)
        if not self.opened.done():
            self.opened.set_exception(Failed(self.counter.fault or "the connection was closed before the 101"))
            self.opened.exception()  # retrieved: nobody may be waiting any more

    def received(self, expected: bytes, data: bytes) -> bool:
        """Compare the next piece of ``expected``; return whether it is complete with it."""
        if not expected.startswith(data, self._got):
            self.wrong(f"byte {self._got} and following of a message are wrong: {data[:40]!r}")
            return False
        self._got += len(data)
        if self._got < len(expected):
            return False
        self._got = 0
        return True


class Sockets(list[Socket]):
    """Open WebSockets to one port, which can become more and fewer."""

    def __init__(self, target: str, port: int, counter: Counter) -> None:
        super().__init__()
        self._target = target
        self._port = port
        self.counter = counter

    async def resize(self, count: int) -> None:
        """Open or close until there are ``count``. Raises Failed, OSError or TimeoutError when some cannot be had."""
        loop = asyncio.get_running_loop()

        async def open_one() -> None:
            _, socket = await loop.create_connection(
                lambda: Socket(self.counter, self._target, self._port), "127.0.0.1", self._port
            )
            self.append(socket)
            await socket.opened

        while len(self) < count:
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*(open_one() for _ in range(min(DIALLING, count - len(self)))))
        leaving, self[count:] = self[count:], []
        for socket in leaving:
            socket.leave()
        await asyncio.gather(*(socket.lost for socket in leaving))


def start_echo(sockets: Sockets, payload: bytes, in_flight: int) -> None:
    """Keep ``in_flight`` messages under way until the counter is over, on each socket in turn."""
    message = frame(BINARY, payload, masked=True)
    expected = frame(BINARY, payload, masked=False)
    counter = sockets.counter
    free = deque(sockets)

    def send() -> None:
        socket = free.popleft()
        socket.sent = time.perf_counter()
        socket.transport.write(message)

    def on_data(socket: Socket, data: bytes) -> None:
        if socket.received(expected, data):
            counter.answered(socket.sent)
            free.append(socket)
            if not counter.is_over:
                send()

    for socket in sockets:
        socket.on_data = on_data
    for _ in range(min(in_flight, len(sockets))):
        send()


def start_listening(sockets: Sockets, size: int) -> None:
    """Count what is pushed: messages of ``size`` bytes whose first eight are the moment of sending."""
    counter = sockets.counter
    whole = len(frame(BINARY, bytes(size), masked=False))
    head = frame(BINARY, bytes(size), masked=False)[: whole - size]

    def on_data(socket: Socket, data: bytes) -> None:
        data = pending.pop(socket, b"") + data
        now = time.monotonic_ns()
        while len(data) >= whole:
            if not data.startswith(head):
                socket.wrong(f"a pushed message begins with {data[:20]!r}")
                return
            sent = int.from_bytes(data[whole - size : whole - size + 8], "big")
            counter.count += 1
            counter.latencies.append((now - sent) / 1e9)
            data = data[whole:]
        if data:
            pending[socket] = data

    pending: dict[Socket, bytes] = {}
    for socket in sockets:
        socket.on_data = on_data


class Requester(Client):
    """HTTP on one connection: the same request again and again, the same body expected.

    later: the request's body, which is sent after a 100; nothing: none is expected, and ``message`` is all of it.
    """

    def __init__(self, counter: Counter, port: int, message: bytes, body: bytes, later: bytes = b"") -> None:
        super().__init__(counter)
        self._port = port
        self._message = message
        self._body = body
        self._later = later
        self._sent = 0.0
        self._pending = b""
        self._reconnects = 0
        self._again: asyncio.Task[Any] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        super().connection_made(transport)
        self._sent = time.perf_counter()
        self.transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        """Check the answer, and ask again."""
        if self._pending:
            data = self._pending + data
        start = data.find(b"\r\n\r\n") + 4
        if self._later and data.startswith(_CONTINUE) and start > 3:
            self.transport.write(self._later)
            data = data[start:]
            start = data.find(b"\r\n\r\n") + 4
        if start == 3 or not self._is_whole(data, start):
            self._pending = data
            return
        self._pending = b""
        if not data.startswith(b"HTTP/1.1 200 ") or self._content(data[start:]) != self._body:
            self.wrong(f"a wrong answer: {data[: max(start, 60)][:300]!r}")
            return
        self._sent = self.counter.answered(self._sent)
        if not self.counter.is_over:
            self.transport.write(self._message)

    def _is_whole(self, data: bytes, start: int) -> bool:
        return len(data) - start >= len(self._body)

    def _content(self, body: bytes) -> bytes:
        return body

    def connection_lost(self, exc: Exception | None) -> None:
        """Connect anew: a server may close a connection that has served its number of requests."""
        if exc is None and not self._pending and not self.is_leaving and self._reconnects < 3:
            self._reconnects += 1
            loop = asyncio.get_running_loop()
            dial = loop.create_connection(lambda: self, "127.0.0.1", self._port)
            self._again = loop.create_task(dial, name="reconnect of a client")
        else:
            super().connection_lost(exc)


class ChunkedRequester(Requester):
    """The same, and the response's body is chunked."""

    def _is_whole(self, data: bytes, start: int) -> bool:
        return data.endswith(LAST_CHUNK)

    def _content(self, body: bytes) -> bytes:
        try:
            return unchunked(body)
        except ValueError:  # no size where one should be: a wrong answer
            return b""


class Download(Client):
    """One GET whose body must be ``size`` bytes of the pattern."""

    def __init__(self, counter: Counter, message: bytes, size: int) -> None:
        super().__init__(counter)
        self._message = message
        self._size = self._left = size
        self._head = b""
        self._is_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        super().connection_made(transport)
        self.transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        """Compare every byte with the pattern."""
        if not self._is_body:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 200 ") or b"chunked" in head:
                self.wrong(f"a wrong answer: {head[:300]!r}")
                return
            self._is_body = True
        if not is_pattern(data, self._size - self._left):
            self.wrong(f"a wrong body, {self._left} bytes before its end")
            return
        self._left -= len(data)
        if self._left == 0:
            self.counter.count = 1
            self.leave()


class Upload(Client):
    """One POST of the pattern to the origin's sink, which must have counted every byte of it."""

    def __init__(self, counter: Counter, message: bytes, size: int) -> None:
        super().__init__(counter)
        self._message = message
        self._size = self._left = size
        self._is_paused = False
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send, as fast as the other side takes it."""
        super().connection_made(transport)
        self.transport.write(self._message)
        self._send_more()

    def _send_more(self) -> None:
        while self._left and not self._is_paused:
            piece = PATTERN[: self._left]
            self._left -= len(piece)
            self.transport.write(piece)

    def pause_writing(self) -> None:
        """Wait."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._send_more()

    def data_received(self, data: bytes) -> None:
        """Check what the origin has counted."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if end and len(body) >= len(str(self._size)):
            if not head.startswith(b"HTTP/1.1 200 ") or body != str(self._size).encode():
                self.wrong(f"a wrong answer: {self._answer[:300]!r}")
                return
            self.counter.count = 1
            self.leave()


async def transfer(kind: type[Download] | type[Upload], port: int, message: bytes, size: int, timeout: float) -> None:
    """Carry one large body. Raises Failed when it was not carried right, TimeoutError behind ``timeout`` seconds."""
    counter = Counter()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout):
        _, client = await loop.create_connection(lambda: kind(counter, message, size), "127.0.0.1", port)
        try:
            await client.lost
        finally:
            client.leave()
    counter.check()


async def start_requests(make: Callable[[], Requester], port: int, clients: int) -> list[Requester]:
    """Keep ``clients`` connections asking until their counter is over. make: makes the client of one."""
    loop = asyncio.get_running_loop()
    made = []
    async with asyncio.timeout(TIMEOUT):
        for _ in range(clients):
            client = make()
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]
            made.append(client)
    return made


async def repeat_handshakes(counter: Counter, target: str, port: int) -> None:
    """Connect, shake hands and close (1000), again and again until the counter is over; faults go to the counter."""
    loop = asyncio.get_running_loop()
    while not counter.is_over:
        once = Counter()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT):
                _, socket = await loop.create_connection(lambda: Socket(once, target, port), "127.0.0.1", port)  # noqa: B023
                await socket.opened
                counter.answered(began)
                socket.is_leaving = True
                socket.on_data = lambda socket, _: socket.transport.close()
                socket.transport.write(_CLOSE_FRAME)
                await socket.lost
        except (Failed, OSError, TimeoutError) as error:
            counter.fault = counter.fault or f"a handshake failed: {error or 'no answer'}"
            counter.is_over = True


_CLOSE_FRAME = frame(CLOSE, b"\x03\xe8", masked=True)


async def ask(port: int, message: bytes) -> bytes:
    """Ask once and return the body. Raises Failed for anything but a 200 with a Content-Length."""
    code, body = await _exchange(port, message)
    if code != 200:
        raise Failed(f"answered with {code}: {body[:200]!r}")
    return body


async def status(target: str, port: int) -> int:
    """Return the status of a GET."""
    code, _ = await _exchange(port, request(target, host=f"127.0.0.1:{port}"))
    return code


async def _exchange(port: int, message: bytes) -> tuple[int, bytes]:
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if length is None:
                raise Failed(f"an answer without Content-Length: {head[:300]!r}")
            return int(head.split(b" ", 2)[1]), await reader.readexactly(int(length[1]))
        finally:
            writer.close()
