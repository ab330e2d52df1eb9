"""What the end of an adopted socket is reported with: how long it was open, its bytes, and which side ended it how."""

from __future__ import annotations

import array
import socket
import struct
import time
from typing import Any

from ws_service.handoff import protocol as wire
from ws_service.net.tcp_info import RECEIVED, SENT, UNSENT, tcp_info
from ws_service.websocket.client_socket import ClientSocket


class SocketReport:
    """Counts for one socket, from its adoption to its end.

    about: what the gateway has said of it.
    """

    __slots__ = ("_before", "_socket", "_start", "about")

    def __init__(self, about: wire.Socket, adopted: socket.socket) -> None:
        self.about = about
        self._socket = adopted
        self._start = time.monotonic()
        self._before: tuple[int, int] | None = None

    def begin(self, leftover: int) -> None:
        """Count from now on. leftover: bytes after the head, which the gateway has read."""
        self._before = _counts(self._socket)
        if self._before is not None:
            self._before = (self._before[0] - leftover - _unread(self._socket), self._before[1])

    def end(self, connection: ClientSocket, library: Any, exc: Exception | None) -> wire.Ended:
        """Return the report. library: what has kept the close frames. exc: what the transport ended with."""
        code, ending = _close_seen(connection, library, exc)
        counts = _counts(self._socket)
        received = sent = None
        if counts is not None and self._before is not None:
            received, sent = (max(0, now - then) for now, then in zip(counts, self._before, strict=True))
        status = connection.status or (500 if ending is wire.Ending.SERVICE else 499)
        return wire.Ended(self.about, time.monotonic() - self._start, status, received, sent, code, ending)


def _close_seen(connection: ClientSocket, library: Any, exc: Exception | None) -> tuple[int | None, wire.Ending]:
    """Return the code of the first close frame, and which side began to close.

    All implementations on the library ``websockets`` keep the frames.
    """
    holder = getattr(library, "conn", library)
    from_client, from_service = getattr(holder, "close_rcvd", None), getattr(holder, "close_sent", None)
    is_first = not getattr(holder, "close_rcvd_then_sent", False)
    if from_client is not None and not (from_service is not None and is_first):
        return from_client.code, wire.Ending.CLIENT
    if from_service is not None:
        return from_service.code, wire.Ending.SERVICE
    if connection.closed_with is not None:
        return connection.closed_with, wire.Ending.SERVICE
    if exc is not None or connection.was_reset:
        return None, wire.Ending.RESET
    return None, wire.Ending.CLIENT if connection.has_client_ended else wire.Ending.SERVICE


_CLOSE_WAIT = 8


def _counts(sock: socket.socket) -> tuple[int, int] | None:
    """Return the bytes that the kernel has received and been given for sending; None where it does not tell.

    From TCP_INFO, so that counting costs nothing per message. The kernel still answers in
    ``connection_lost``, after a reset too.
    """
    info = tcp_info(sock, SENT + 16)
    if info is None:
        return None
    (received,) = struct.unpack_from("=Q", info, RECEIVED)
    (unsent,) = struct.unpack_from("=I", info, UNSENT)
    sent, repeated = struct.unpack_from("=QQ", info, SENT)
    return received - (info[0] == _CLOSE_WAIT), sent - repeated + unsent  # the kernel counts a FIN as a byte


def _unread(sock: socket.socket) -> int:
    """Return how many bytes wait in the kernel to be read."""
    import fcntl  # not on Windows, where this is not called
    import termios

    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]
