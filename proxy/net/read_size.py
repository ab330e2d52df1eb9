"""How much of one connection is read at once, before everybody else has a turn.

The event loops read up to 256 KiB into a piece of its own for each read, and
uvloop up to 32 times that from one connection before another one has a
turn. A thousand connections whose ends do not read would hold such a piece
each (issue 9). So a read of 64 KiB or more is the last one in its turn, and
a connection on which more comes is read into one buffer that all share,
64 KiB at a time. Small messages never come to that: it would cost 1 us for
each.
"""

from __future__ import annotations

import asyncio

READ_SIZE = 65536
"""Bytes of a read, and so of any piece, on a connection on which much comes. Precedents: nginx 4 to 64 KiB, HAProxy
16 KiB, Go 32 KiB."""

_BUFFER = memoryview(bytearray(READ_SIZE))

_TLS_READ = 1024
"""Bytes of a read over TLS that are the last before others have a turn: each may have been a record of its own."""


class BoundedReads(asyncio.BufferedProtocol):
    """Stands before a protocol, reads at most ``READ_SIZE`` bytes at once for it, and passes everything else on."""

    __slots__ = ("_protocol", "_take", "eof_received", "pause_writing", "resume_writing")

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._take = protocol.data_received
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read, out of the buffer that everybody shares."""
        self._take(bytes(_BUFFER[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._protocol.connection_lost(exc)


def last_read(transport: asyncio.Transport) -> int:
    """Return how many bytes of one read make it the last before everybody else has a turn."""
    return READ_SIZE if transport.get_extra_info("sslcontext") is None else _TLS_READ


def give_way(transport: asyncio.Transport, protocol: asyncio.Protocol, size: int) -> None:
    """Pause reading behind a large read; whoever calls this goes on in a later turn of the loop.

    protocol: of the connection. size: bytes of the read; when it was larger than reads are to be, they are bounded
    from here on.
    """
    transport.pause_reading()
    if size > READ_SIZE:
        transport.set_protocol(BoundedReads(protocol))
