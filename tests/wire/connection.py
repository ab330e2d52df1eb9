"""A TCP connection as bytes: what one side sends, and what it reads."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tests.wire.frames import Frame, read_parts
from tests.wire.messages import Message

DEADLINE = 10.0
"""Seconds that any single wait may last. Generous, because only a failure waits that long."""


class Wire:
    """One TCP connection, read and written as bytes. Reads past what was asked for stay for the next one."""

    def __init__(self, sock: socket.socket, *, deadline: float = DEADLINE) -> None:
        self.sock = sock
        self.deadline = deadline
        self._held = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def to(cls, port: int) -> Wire:
        """Connect to a port of this machine."""
        return cls(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))

    def send(self, data: bytes) -> None:
        """Send all of it. In one system call, so that as little as a few kilobytes arrive as one segment."""
        self.sock.settimeout(self.deadline)
        self.sock.sendall(data)

    def send_later(self, data: bytes) -> threading.Thread:
        """Send more than the kernel holds, from a thread; join it, or the end of the test does."""
        thread = threading.Thread(target=self._send_quietly, args=(data,), name="sender", daemon=True)
        thread.start()
        return thread

    def read_some(self) -> bytes:
        """Wait for bytes and return what there is; nothing means the other side's end."""
        with suppress(Ended):
            self._fill(lambda: bool(self._held))
        return self._take(len(self._held))

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes; AssertionError when the connection ends before."""
        self._fill(lambda: len(self._held) >= size)
        return self._take(size)

    def read_until(self, mark: bytes) -> bytes:
        """Return everything up to and with ``mark``; AssertionError when the connection ends before."""
        self._fill(lambda: mark in self._held)
        return self._take(self._held.index(mark) + len(mark))

    def read_to_end(self) -> bytes:
        """Return everything up to the other side's end. A reset raises ConnectionResetError."""
        with suppress(Ended):
            self._fill(lambda: False)
        return self._take(len(self._held))

    def read_to_cut(self) -> tuple[bytes, str]:
        """Return everything up to the end, and how it came: ``end`` (FIN) or ``reset``."""
        how = "end"
        try:
            self._fill(lambda: False)
        except Ended:
            pass
        except ConnectionResetError:
            how = "reset"
        return self._take(len(self._held)), how

    def read_head(self) -> bytes:
        """Return a head, with the empty line behind it."""
        return self.read_until(b"\r\n\r\n")

    def read_message(self, *, has_body: bool = True) -> Message:
        """Return one HTTP message, its body decoded from the transfer coding.

        has_body: False for the answer to a HEAD, whose fields describe a body that does not come.
        """
        message = Message(self.read_head())
        if has_body:
            message.body = self._body(message)
        return message

    def read_chunk(self) -> bytes:
        """Return the data of one chunk of a chunked body; nothing for the last one, whose trailers are dropped."""
        size = int(self.read_until(b"\r\n").partition(b";")[0], 16)
        if not size:
            while self.read_until(b"\r\n") != b"\r\n":
                pass
            return b""
        data = self.read(size)
        assert self.read(2) == b"\r\n"
        return data

    def read_frame(self) -> Frame:
        """Return one WebSocket frame, with the bytes it was made of."""
        reading = read_parts()
        wanted = next(reading)
        while True:
            try:
                wanted = reading.send(self.read(wanted))
            except StopIteration as end:
                frame: Frame = end.value
                return frame

    def has_something(self) -> bool:
        """Tell whether bytes, or an end, are here at this moment. To be asked behind an event that comes later."""
        return bool(self._held) or bool(select.select([self.sock], [], [], 0)[0])

    def end(self) -> None:
        """Send no more (FIN); the other direction stays open."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close both directions. Safe to call twice."""
        self.sock.close()

    def reset(self) -> None:
        """Vanish with a TCP reset, as a process that crashes with unread bytes does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send_quietly(self, data: bytes) -> None:
        with suppress(OSError):
            self.send(data)

    def _body(self, message: Message) -> bytes:
        status = message.status
        if message.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self.read_chunk, b""))
        length = message.get("content-length")
        if length is not None and status not in (204, 304):
            return self.read(int(length))
        if status is None or status < 200 or status in (204, 304):
            return b""
        return self.read_to_end()

    def _take(self, size: int) -> bytes:
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    def _fill(self, is_enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.deadline
        while not is_enough():
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"nothing more came within {self.deadline:g} s, behind {self._shown()}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 18)
            except TimeoutError:
                continue
            if not data:
                raise Ended(f"the connection ended behind {self._shown()}")
            self._held += data

    def _shown(self) -> str:
        return f"{bytes(self._held[-200:])!r} ({len(self._held)} bytes)"


class Ended(AssertionError):
    """The other side ended its direction before what was asked for."""


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Return one WebSocket frame. Raises asyncio.IncompleteReadError and ConnectionError."""
    reading = read_parts()
    wanted = next(reading)
    while True:
        data = await reader.readexactly(wanted)
        try:
            wanted = reading.send(data)
        except StopIteration as end:
            frame: Frame = end.value
            return frame
