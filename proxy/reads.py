"""How much of one connection is read at once: 64 KiB, and then everybody else has a turn.

The event loops read up to 256 KiB into a piece of its own for each read, and
uvloop up to 32 times that from one connection before another one has a
turn. A thousand connections whose ends do not read would hold a piece each,
and more while the loop works through them (issue 9). Here all connections read into one
buffer, and what was read is copied out of it at once.
"""

from __future__ import annotations

import asyncio

READ_SIZE = 65536
"""Bytes of a read, and so of any piece. Precedents: nginx 4 to 64 KiB, HAProxy 16 KiB, Go 32 KiB."""

_BUFFER = memoryview(bytearray(READ_SIZE))

_TLS_READ = 1024
"""Bytes of a read over TLS that are the last before others have a turn: each may have been a record of its own."""


class BoundedReads(asyncio.BufferedProtocol):
    """A protocol that is given at most ``READ_SIZE`` bytes at once, by ``data_received`` like an ordinary one."""

    __slots__ = ()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read, out of the buffer that everybody shares."""
        self.data_received(bytes(_BUFFER[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        raise NotImplementedError


class ReadsFor(BoundedReads):
    """Reads for a protocol that takes whatever the loop reads, and passes everything else on to it."""

    __slots__ = ("_protocol", "data_received", "eof_received", "pause_writing", "resume_writing")

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        # Bound once: each read would look for two attributes more.
        self.data_received = protocol.data_received  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection's, as long as the protocol has one."""
        found: asyncio.Transport | None = getattr(self._protocol, "transport", None)
        return found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self._protocol.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._protocol.connection_lost(exc)


def last_read(transport: asyncio.Transport) -> int:
    """Return how many bytes of one read make it the last before everybody else has a turn."""
    return READ_SIZE if transport.get_extra_info("sslcontext") is None else _TLS_READ
