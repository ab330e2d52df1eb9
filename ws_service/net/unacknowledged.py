"""What a client has not acknowledged yet, and how slow one may be: of the gateway, and of the service.

What a reader has taken is what its own kernel has acknowledged: ours holds
megabytes for it and takes more only when a third of that is free, which a
phone on a bad line may need minutes for.
"""

from __future__ import annotations

import asyncio
import struct
import sys

MIN_RATE = 240
"""Bytes a second that a client must bring of a body or a message, or take of what waits for it, on average over its
timeout: who sends or takes a byte each minute would keep one of Dash's workers, and our memory, for ever (issue 9, A3).
No line is as slow as 2.4 kbit/s. Precedents: Kestrel 240 behind 5 s, both ways; Apache 500 behind 20 s; nginx none."""


def waiting(transport: asyncio.Transport) -> int | None:
    """Return how many bytes the other side has not acknowledged yet; None when none of them waits in this process."""
    held = transport.get_write_buffer_size()
    if not held:
        return None
    if sys.platform == "win32":
        return held
    import fcntl  # not on Windows
    import termios

    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # macOS does not say; there, progress is what our kernel takes
        return held
    return held + int(struct.unpack("i", answer)[0])
