"""Bytes that a client has not acknowledged yet, and the slowest allowed rate; for both programs.

A byte counts as read when the client's kernel has acknowledged it. Our own
kernel holds megabytes for a client and takes more only when a third of that is
free, which may take minutes for a phone on a bad line.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

if sys.platform != "win32":
    import fcntl
    import termios

MIN_RATE = 240
"""Bytes a second that a client must send of a body or a message, or read of what waits for it, on average over the
timeout: a byte each minute would occupy one of Dash's workers, and memory, for ever (issue 9, A3). No line is as slow
as 2.4 kbit/s. Precedents: Kestrel 240 after 5 s, in both directions; Apache 500 after 20 s; nginx none."""

_INTEGER = bytes(4)
"""What the answer is written over."""


def waiting(transport: asyncio.Transport) -> int | None:
    """Return how many bytes the peer has not acknowledged yet; None when no byte waits in this process."""
    held = transport.get_write_buffer_size()
    if not held:
        return None
    return held + (unacknowledged(transport.get_extra_info("socket")) or 0)


def unacknowledged(lent: socket.socket | None) -> int | None:
    """Return how many bytes our kernel has for the peer that it has not acknowledged; None: the system does not say.

    One system call. lent: a socket, or what a transport shows of its own.
    """
    if sys.platform == "win32" or lent is None:
        return None
    try:
        answer = fcntl.ioctl(lent.fileno(), termios.TIOCOUTQ, _INTEGER)
    except (OSError, ValueError):  # closed; or macOS, where progress is what our kernel takes
        return None
    return int(struct.unpack("i", answer)[0])
