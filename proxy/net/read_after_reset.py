"""What the kernel still holds of a connection whose transport has closed it because a write failed.

A peer that answers, or sends a close frame, and closes with unread bytes
resets the connection. Linux keeps what had come before the reset. The event
loops do not: a write that meets the reset closes the descriptor at once, and
with it the response (413, 401) or the close frame (1009) that says why.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any

from proxy.net.fair_reads import READ_SIZE


def half_close(transport: asyncio.Transport) -> None:
    """Send nothing more (a FIN). A reset that the loop has not told of yet is no error: it does so in a moment."""
    with suppress(OSError):  # asyncio's own transport lets shutdown(2) say ENOTCONN
        transport.write_eof()


def read_after_reset(
    transport: asyncio.Transport | None, protocol: asyncio.Protocol, why: Exception | None, *, is_paused: bool
) -> ReadAfterReset | None:
    """Return what still reads from a connection that is lost; None where there is nothing to read.

    To be called in ``connection_lost``, where the descriptor is still open. If it returns something, that is the
    connection's transport from here on, and ``connection_lost`` comes again at its end.

    why: what ``connection_lost`` was told. None: no write has failed, and nothing is left.
    is_paused: whether reading begins with ``resume_reading``, and not at once.

    Over TLS there is none: what the kernel holds is for the TLS layer, which has ended with its transport.
    """
    if why is None or transport is None or isinstance(transport, ReadAfterReset):
        return None
    lent = transport.get_extra_info("socket")
    if lent is None or transport.get_extra_info("sslcontext") is not None:
        return None
    try:
        sock = socket.socket(lent.family, lent.type, lent.proto, fileno=os.dup(lent.fileno()))
    except OSError:  # no descriptor is left
        return None
    try:
        sock.setblocking(False)
        if sock.recv(1, socket.MSG_PEEK):
            return ReadAfterReset(sock, protocol, why, is_paused=is_paused)
    except OSError:
        pass
    sock.close()
    return None


class ReadAfterReset(asyncio.Transport):
    """A transport that only reads, what there is and in pieces; what is written to it goes nowhere."""

    def __init__(self, sock: socket.socket, protocol: asyncio.Protocol, why: Exception, *, is_paused: bool) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = sock
        self._protocol = protocol
        self._why = why
        self._is_paused = True
        if not is_paused:
            self.resume_reading()

    def pause_reading(self) -> None:
        """Read no more until ``resume_reading``."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Read on. Safe to call twice."""
        if self._is_paused:
            self._is_paused = False
            self._loop.call_soon(self._read)

    def is_reading(self) -> bool:
        """Tell whether it reads."""
        return not self._is_paused and self._sock is not None

    def is_closing(self) -> bool:
        """Tell whether everything has been read, or nothing more will be."""
        return self._sock is None

    def abort(self) -> None:
        """Read nothing more. Safe to call twice."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self._loop.call_soon(self._end)

    def close(self) -> None:
        """Read nothing more: there is nothing to write first."""
        self.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write nothing."""

    def can_write_eof(self) -> bool:
        """Tell that one direction can end alone."""
        return True

    def write_eof(self) -> None:
        """Do nothing: that direction has ended."""

    def get_write_buffer_size(self) -> int:
        """Return that nothing waits."""
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give what is read to another protocol from here on."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return nothing: the connection is gone."""
        return default

    # -- inside

    def _read(self) -> None:
        if self._sock is None or self._is_paused:
            return
        try:
            data = self._sock.recv(READ_SIZE)
        except OSError:
            data = b""
        if not data:
            self.abort()
            return
        self._loop.call_soon(self._read)  # others have a turn in between
        self._protocol.data_received(data)

    def _end(self) -> None:
        self._protocol.connection_lost(self._why)
