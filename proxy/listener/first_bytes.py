"""What comes before HTTP on a new connection: a PROXY header, and a whole ClientHello, read from the bare socket.

Both are looked at where they are, in the kernel's buffer (``MSG_PEEK``). A PROXY header must be read to its last byte
and no further, so that what follows reaches TLS or HTTP. A ClientHello must be left for TLS: a transport reads what
there is, and asyncio's ``start_tls`` cannot be given what was read.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import suppress

from proxy.listener.client_hello import needed
from proxy.listener.proxy_protocol import MAX_HEADER, Announcement, parse

_TLS_HANDSHAKE = 0x16
"""The first byte of a ClientHello (RFC 8446, section 5.1)."""

_HTTP = re.compile(rb"[A-Z]{3,10} ")
_SPEAKS_HTTPS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 39\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS: use https://.\r\n"
)


async def read_proxy_header(sock: socket.socket) -> Announcement:
    """Take a PROXY header from a connection, and nothing after it. Raises ConnectionError and HeaderError."""
    seen = b""
    while True:
        data = await _peek(sock, MAX_HEADER)
        announcement = parse(seen + data)
        if announcement is not None:
            sock.recv(announcement.size - len(seen))
            return announcement
        # All of it belongs to the header. Read, it no longer makes the socket readable.
        seen += sock.recv(len(data))


async def wait_for_client_hello(sock: socket.socket) -> None:
    """Wait until a whole ClientHello is here, and leave it where it is; a client that speaks HTTP is told so.

    Raises ConnectionError and HelloError.
    """
    data = await _peek(sock, 16)
    if data[0] != _TLS_HANDSHAKE:
        if _HTTP.match(data):
            with suppress(BlockingIOError):
                sock.recv(65536)  # unread bytes would make a reset of the close, which may overtake the answer
            sock.send(_SPEAKS_HTTPS)
            sock.shutdown(socket.SHUT_WR)
        raise ConnectionResetError("it does not speak TLS")
    while len(data) < (size := needed(data)):
        data = await _peek_all(sock, size)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


async def _peek(sock: socket.socket, size: int) -> bytes:
    """Wait for bytes and look at them; they stay where they are. Raises ConnectionError when the client ends."""
    while True:
        try:
            data = sock.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(sock)
            continue
        if not data:
            raise ConnectionResetError("it closed the connection before it sent anything")
        return data


async def _peek_all(sock: socket.socket, size: int) -> bytes:
    """Wait for so many bytes and look at them. Raises ConnectionError when they do not come.

    The kernel is told how many: it wakes this process once, and not for each byte of a client that sends one by one.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
    for has_waited in (False, True):
        data = sock.recv(size, socket.MSG_PEEK)
        if len(data) == size:
            return data
        del data  # the kernel has it: one copy is enough while this waits
        if not has_waited:
            await _readable(sock)
    # The client has ended, or the kernel has no memory for so few bytes. A unix socket wakes for anything; there a
    # message comes whole.
    raise ConnectionResetError("its ClientHello ends too early")


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
