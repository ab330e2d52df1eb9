"""Clients in great numbers: WebSockets and requests as coroutines, over raw bytes, from any address of this machine."""

from __future__ import annotations

import asyncio
import socket
import struct

from tests.wire.connection import read_frame
from tests.wire.frames import BINARY, CLOSE, MASK, PING, PONG, TEXT, close_frame, frame
from tests.wire.messages import Message, handshake, request

NO_CLOSE_FRAME = 1006
"""What browsers report of a WebSocket that ends without a close frame (RFC 6455, section 7.1.5)."""

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Refused(Exception):
    """A handshake was answered with something else than a 101. status: of the answer."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"the handshake was answered with {status}")
        self.status = status


class Ended(Exception):
    """A WebSocket has ended. code: of the close frame; 1006 where there was none."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the WebSocket ended with {code}")
        self.code = code


def address_of(number: int) -> str:
    """Return an address of this machine for a client, so that many clients are not one."""
    return f"127.0.{1 + number // 250 % 250}.{1 + number % 250}"


async def connect(port: int, *, source: str = "127.0.0.1", receive_buffer: int | None = None) -> Pair:
    """Connect from an address. receive_buffer: bytes that the kernel takes for us; None: its own choice."""
    sock = socket.socket()
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=sock, limit=1 << 16)
    except BaseException:
        sock.close()
        raise


class Socket:
    """A WebSocket of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self._has_ended = False

    @classmethod
    async def open(
        cls, port: int, target: str, *fields: str, source: str = "127.0.0.1", receive_buffer: int | None = None
    ) -> Socket:
        """Shake hands, with more fields. Raises Refused, and OSError or Ended when it ends before an answer."""
        reader, writer = await connect(port, source=source, receive_buffer=receive_buffer)
        try:
            writer.write(handshake(target, *fields, host=f"127.0.0.1:{port}"))
            answer = Message(await reader.readuntil(b"\r\n\r\n"))
            if answer.status != 101:
                raise Refused(answer.status)
        except asyncio.IncompleteReadError:
            writer.transport.abort()
            raise Ended(NO_CLOSE_FRAME) from None
        except BaseException:
            writer.transport.abort()
            raise
        return cls(reader, writer)

    async def say(self, payload: bytes, *, pieces: int = 1) -> None:
        """Send a text message, in so many fragments. Raises Ended when nobody is there any more."""
        size = -(-len(payload) // pieces)
        for number in range(pieces):
            part = payload[number * size : (number + 1) * size]
            self._write(frame(0 if number else TEXT, part, fin=number == pieces - 1, mask=MASK))
        try:
            await self._writer.drain()
        except OSError:
            raise Ended(NO_CLOSE_FRAME) from None

    async def hear(self) -> bytes:
        """Return the next message, its fragments joined; answers pings. Raises Ended."""
        whole = b""
        try:
            while True:
                got = await read_frame(self.reader)
                if got.opcode == CLOSE:
                    raise Ended(int.from_bytes(got.payload[:2], "big") if got.payload else 1005)
                if got.opcode == PING and not self._has_ended:
                    self._write(frame(PONG, got.payload, mask=MASK))
                elif got.opcode not in (PING, PONG):
                    whole += got.payload
                    if got.fin:
                        return whole
        except (asyncio.IncompleteReadError, OSError):  # half a close behind a reset is ENOTCONN
            raise Ended(NO_CLOSE_FRAME) from None

    async def look(self) -> bytes | None:
        """Return the next message if there is one by now; answers pings. Raises Ended when the end has come.

        A client that writes after the end gets a reset, and never reads what was said at the end.
        """
        try:
            async with asyncio.timeout(0.005):
                return await self.hear()
        except TimeoutError:
            return None

    def begin_to_close(self, code: int = 1000) -> None:
        """Begin the closing handshake; ``hear`` raises Ended with the other side's answer. Raises Ended too."""
        self._write(close_frame(code, mask=MASK))

    def begin_a_frame(self) -> None:
        """Send half of a frame, never to go on. Raises Ended when nobody is there any more."""
        self._write(frame(BINARY, bytes(1000), mask=MASK)[:500])

    def end(self) -> None:
        """Send no more (FIN); the other direction stays open."""
        self._has_ended = True
        if not self._writer.transport.is_closing():
            self._writer.write_eof()

    def close(self) -> None:
        """Close both directions, without a close frame."""
        self._writer.close()

    def reset(self) -> None:
        """Vanish with a TCP reset."""
        lent = self._writer.get_extra_info("socket")
        if not self._writer.transport.is_closing():
            lent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def _write(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            raise Ended(NO_CLOSE_FRAME)
        self._writer.write(data)


class Asker:
    """A client that asks over one connection, and makes a new one where that has ended."""

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self._port = port
        self._source = source
        self._pair: Pair | None = None

    async def ask(self, line: str, *fields: str, body: bytes = b"") -> Message:
        """Ask, and return the whole answer. Raises OSError and EOFError when the connection ends instead.

        An idle connection that has been closed meanwhile is replaced; a
        request that was sent is never repeated.
        """
        if self._pair is None or self._pair[0].at_eof() or self._pair[1].transport.is_closing():
            self.leave()
            self._pair = await connect(self._port, source=self._source)
        reader, writer = self._pair
        try:
            length = (f"Content-Length: {len(body)}",) if body else ()
            writer.write(request(line, *fields, *length, host=f"127.0.0.1:{self._port}", body=body))
            got = Message(await reader.readuntil(b"\r\n\r\n"))
            got.body = await reader.readexactly(int(got.get("content-length", 0)))
        except BaseException:
            self.leave()
            raise
        if got.get("connection", "").lower() == "close":
            self.leave()
        return got

    def leave(self) -> None:
        """Close the connection, if there is one."""
        pair, self._pair = self._pair, None
        if pair is not None:
            pair[1].close()


async def ask(port: int, line: str, *, source: str = "127.0.0.1") -> Message:
    """Ask once, on a connection of its own. Raises as ``Asker.ask``."""
    asker = Asker(port, source=source)
    try:
        return await asker.ask(line)
    finally:
        asker.leave()
