"""An adopted socket: uvicorn's own WebSocket protocol, made where there was no HTTP before it.

At an upgrade uvicorn's HTTP protocols, all of them, make a WebSocket
protocol, give it the transport, and feed it the head that they have read.
This room does the same with the head that the gateway has read. So there is
no HTTP protocol behind an adopted socket, and a second request on it cannot
be read by anybody.

With ``server`` this is the room that knows uvicorn's inside.
"""

from __future__ import annotations

import array
import asyncio
import logging
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ws_service import wire

log = logging.getLogger(__name__)


class Adopted(asyncio.Protocol):
    """What an adopted socket adds to the WebSocket protocol of uvicorn, which stands behind it in the order of bases.

    ``about`` is what the log of a gateway must know of it.
    """

    about: wire.Socket
    transport: asyncio.Transport

    def prepare(
        self,
        message: wire.Open,
        adopted: socket.socket,
        on_begin: Callable[[Adopted], None],
        on_end: Callable[[Adopted, wire.Ended], None],
    ) -> None:
        """Give it what uvicorn's constructor does not take. To be called once, before it gets its transport.

        on_begin: called when it is a connection of uvicorn. on_end: called once behind that, with the report.
        """
        self.about = message.socket
        self._on_begin, self._on_end = on_begin, on_end
        self._socket = adopted
        self._head, self._is_secure = message.head, message.is_secure
        self._held = message.leftover
        # Before there is a transport: uvloop keeps the method that it finds when it gets the protocol.
        self.data_received = self._hold  # type: ignore[method-assign]
        self._status = 0
        self._has_client_ended = False
        app: Any = self.app  # type: ignore[has-type]
        # The gateway has decided who the client is; what it wrote into the head must not be judged again.
        self._inner = app.app if isinstance(app, ProxyHeadersMiddleware) else app
        self.app = self._run

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do what uvicorn does at an upgrade: feed the head to the WebSocket protocol."""
        self._began = time.monotonic()
        self._before = _counts(self._socket)
        if self._before is not None:
            self._before = (self._before[0] - len(self._held) - _unread(self._socket), self._before[1])
        head, self._head = self._head, b""
        try:
            super().connection_made(transport)
            self.scheme = "wss" if self._is_secure else "ws"
            known: tuple[str, int] | None = self.client  # type: ignore[has-type]
            if known is not None and known[0] != self.about.client:
                self.client = (self.about.client, 0)
            super().data_received(_as_uvicorn_reads_it(head))
        except ValueError as error:
            log.error("the gateway has handed over what is no handshake: %s", error)
            cast(asyncio.Transport, transport).abort()
        except Exception:
            log.exception("the handshake of %s cannot be served", self.about.target)
            cast(asyncio.Transport, transport).abort()
        self._on_begin(self)

    def eof_received(self) -> bool | None:
        """Note who ended first."""
        self._has_client_ended = True
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, and let uvicorn end it."""
        code, ending = self._close(exc)
        counts = _counts(self._socket)
        received = sent = None
        if counts is not None and self._before is not None:
            received, sent = (max(0, now - then) for now, then in zip(counts, self._before, strict=True))
        report = wire.Ended(
            self.about,
            time.monotonic() - self._began,
            self._status or (500 if ending is wire.Ending.SERVICE else 499),
            received,
            sent,
            code,
            ending,
        )
        try:
            super().connection_lost(exc)
        finally:
            self._on_end(self, report)

    def _close(self, exc: Exception | None) -> tuple[int | None, wire.Ending]:
        """Return the code of the first close frame, and who began the end.

        Both implementations on the library ``websockets`` keep the frames;
        wsproto keeps nothing, and the code stays unknown.
        """
        holder = getattr(self, "conn", self)
        from_client, from_us = getattr(holder, "close_rcvd", None), getattr(holder, "close_sent", None)
        is_ours = not getattr(holder, "close_rcvd_then_sent", False)
        if from_client is not None and not (from_us is not None and is_ours):
            return from_client.code, wire.Ending.CLIENT
        if from_us is not None:
            return from_us.code, wire.Ending.SERVICE
        if exc is not None:
            return None, wire.Ending.RESET
        return None, wire.Ending.CLIENT if self._has_client_ended else wire.Ending.SERVICE

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app, and note what the handshake is answered with: the first message says it."""

        def watched(message: Any) -> Any:
            if self._status:
                return send(message)
            self._status = _ANSWERS.get(message["type"]) or message.get("status", 500)
            return self._accept(send(message)) if self._status == 101 else send(message)

        try:
            await self._inner(scope, receive, watched)
        finally:
            self._status = self._status or 500

    def _hold(self, data: bytes) -> None:
        """Keep what the client sends before its handshake is accepted.

        Of a handshake that is refused it is nothing that a WebSocket library
        should read: a request that is pipelined behind would be a broken
        frame, and spoil the answer.
        """
        self._held += data
        if len(self._held) > wire.MAX_HEAD:
            self.transport.pause_reading()

    async def _accept(self, sending: Any) -> None:
        """Accept, then read what was held, as if the client had waited for the 101."""
        await sending
        held, self._held = self._held, b""
        del self.data_received
        if not self.transport.is_closing():
            self.transport.set_protocol(self)  # to be called by the method that is there now
            self.transport.resume_reading()
            if held:
                self.data_received(held)


_ANSWERS = {"websocket.accept": 101, "websocket.close": 403}


def adopted_kind(config: uvicorn.Config) -> type[Any]:
    """Return the class of adopted sockets: ``Adopted`` above uvicorn's WebSocket protocol, whichever is configured."""
    protocol = config.ws_protocol_class
    assert protocol is not None, "uvicorn[standard] brings a WebSocket library"
    return type("AdoptedProtocol", (Adopted, protocol), {})


def _as_uvicorn_reads_it(head: bytes) -> bytes:
    """Write the names of a head's fields in lower case, as uvicorn's HTTP protocols do before an upgrade.

    ASGI promises them so, and the WebSocket libraries pass on what they get.
    Raises ValueError for what is no head of a handshake.
    """
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    parts = [field.partition(b":") for field in lines]
    if not line.startswith(b"GET ") or not all(name and colon for name, colon, _ in parts):
        raise ValueError(repr(head[:60]))
    return b"\r\n".join([line, *(name.lower() + colon + value for name, colon, value in parts), b"", b""])


_CLOSE_WAIT = 8


def _counts(sock: socket.socket) -> tuple[int, int] | None:
    """Return the bytes that the kernel has received and been given for sending; None where it does not tell.

    From TCP_INFO (tcp(7), linux/tcp.h), so that no message pays for being
    counted. It still answers in ``connection_lost``, behind a reset too.
    """
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return None
    if len(info) < 216:  # Linux before 4.19
        return None
    (received,) = struct.unpack_from("=Q", info, 128)
    (unsent,) = struct.unpack_from("=I", info, 144)
    sent, repeated = struct.unpack_from("=QQ", info, 200)
    return received - (info[0] == _CLOSE_WAIT), sent - repeated + unsent  # the kernel counts a FIN as a byte


def _unread(sock: socket.socket) -> int:
    """Return how many bytes wait in the kernel to be read."""
    import fcntl  # not on Windows, where nobody comes here
    import termios

    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]
