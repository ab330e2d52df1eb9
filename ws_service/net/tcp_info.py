"""What the kernel knows of a TCP connection (tcp(7), TCP_INFO; linux/tcp.h, struct tcp_info)."""

from __future__ import annotations

import socket
import sys
from struct import unpack_from

IN_FLIGHT, RECEIVED, UNSENT, SENT = 24, 128, 144, 200
"""Offsets: segments that are not acknowledged (32 bits), bytes received (64), bytes not sent yet (32), bytes sent and
sent again (64 each, since Linux 4.19)."""

LAST_SENT = 44
"""The offset of the milliseconds since data was last sent (32 bits)."""

LAST_RECEIVED = 52
"""The offset of the milliseconds since the last data, and since the last acknowledgement (32 bits each)."""

IDLE = LAST_RECEIVED + 4
"""Bytes that ``seconds_idle`` needs."""


def tcp_info(lent: socket.socket | None, size: int) -> bytes | None:
    """Return the first bytes of a connection's TCP_INFO.

    lent: a socket, or what a transport shows of its own. size: bytes that are needed. None: the system tells less, it
    is no TCP connection, or it has ended.
    """
    if sys.platform != "linux" or lent is None or lent.family == socket.AF_UNIX:
        return None
    try:
        # An object of our own: what uvloop shows makes one for each call, and asks for its family, with system calls.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, lent.fileno())
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
        finally:
            sock.detach()
    except (OSError, ValueError):  # it has ended meanwhile
        return None
    return info if len(info) == size else None


def seconds_idle(info: bytes) -> float:
    """Return the seconds since data was last sent or received. info: the first ``IDLE`` bytes of TCP_INFO, or more."""
    (sent,), (received,) = (unpack_from("=I", info, at) for at in (LAST_SENT, LAST_RECEIVED))
    return float(min(sent, received) / 1000)
