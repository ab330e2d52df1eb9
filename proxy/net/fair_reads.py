"""How much of one connection is read at once, before other connections are read.

The event loops allocate up to 256 KiB for each read, and uvloop reads up to 32
times from one connection before the next one. A thousand connections whose
peers do not read would hold such a piece each (issue 9). So a read of 64 KiB or
more is the last one of its turn, and a busy connection is read into one shared
buffer, 64 KiB at a time. Connections with small messages are not: it would cost
1 us for each message.
"""

from __future__ import annotations

import asyncio

READ_SIZE = 65536
"""Bytes of a read, and so of any piece, on a busy connection. Precedents: nginx 4 to 64 KiB, HAProxy
16 KiB, Go 32 KiB."""

_BUFFER = memoryview(bytearray(READ_SIZE))

_TLS_READ = 1024
"""Bytes of a read over TLS after which other connections are read: each byte may have been a record of its own."""


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
        """Copy what was read out of the shared buffer."""
        self._take(bytes(_BUFFER[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._protocol.connection_lost(exc)


def large_read(transport: asyncio.Transport) -> int:
    """Return the size of a read after which other connections are read first."""
    return READ_SIZE if transport.get_extra_info("sslcontext") is None else _TLS_READ


def pause_after_large_read(transport: asyncio.Transport, protocol: asyncio.Protocol, size: int) -> None:
    """Pause reading after a large read; the caller resumes it in a later turn of the loop.

    protocol: of the connection. size: bytes of the read; when it was larger than ``READ_SIZE``, later reads are
    bounded.
    """
    transport.pause_reading()
    if size > READ_SIZE:
        transport.set_protocol(BoundedReads(protocol))
