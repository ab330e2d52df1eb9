"""One side of a tunnel: its transport, its back-pressure, and the count of what it sends.

``SlowReaders`` and ``DeadPeers`` check legs now and then, so a leg answers their questions too.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from proxy.errors import Outcome
from proxy.net.client_limits import Lease
from proxy.net.fair_reads import large_read, pause_after_large_read
from proxy.net.timers import waits
from proxy.websocket.frames import CloseCode, FrameCounter, is_one_frame
from ws_service.net.unacknowledged import waiting


class LegOwner(Protocol):
    """The tunnel, as far as its legs know it."""

    def lease_buffer(self, size: int) -> Lease | None:
        """Count bytes that wait for a slow side; None when they are more than its client may have."""

    def buffer_exceeded(self) -> None:
        """End the tunnel: ``lease_buffer`` has returned None."""

    def start_closing(self, code: int, outcome: Outcome) -> None:
        """Begin the closing handshake with both sides."""

    def close_frame_seen(self, leg: Leg, code: int) -> None:
        """Note the code of the first close frame that a leg has sent."""

    def write_close_frame(self, leg: Leg) -> None:
        """Write the gateway's close frame to a leg, unless nothing can be written to it any more."""

    def close(self) -> None:
        """Close both connections after what is still on its way to them."""

    def leg_ended(self, leg: Leg) -> bool:
        """Note that a leg sends no more; True keeps its connection for the other direction."""

    def leg_lost(self, leg: Leg, error: Exception | None) -> None:
        """Note that the connection of a leg is gone. error: None after an ordinary end."""

    def leg_vanished(self, leg: Leg) -> None:
        """End a leg whose peer does not answer any more."""


class Leg(asyncio.Protocol):
    """One side of the tunnel: what it receives goes to the other side.

    role: ``client`` or ``upstream``. buffer: bytes that wait for this side before reading from the other is paused.
    timeout: seconds that it may read almost nothing of them.

    It stays the same object for the life of the tunnel. While the tunnel closes, another protocol (``reader``) reads
    from the transport, and tells everything but the bytes to the leg.
    """

    __slots__ = (
        "_acknowledged",
        "count",
        "frames",
        "is_lost",
        "lease",
        "most",
        "other",
        "reader",
        "role",
        "timeout",
        "transport",
        "tunnel",
    )

    def __init__(
        self, tunnel: LegOwner, role: str, transport: asyncio.Transport, *, buffer: int, timeout: float
    ) -> None:
        self.tunnel = tunnel
        self.role = role
        self.timeout = timeout
        self.transport = transport
        self.frames = FrameCounter()
        self.count = 0
        self._acknowledged = -1  # the response to the handshake was written before any byte was counted
        self.is_lost = False
        self.lease: Lease | None = None  # what waits for this side is counted while it is too much
        self.most = large_read(transport)
        self.other: Leg
        self.reader: asyncio.Protocol = self
        transport.set_write_buffer_limits(high=buffer)

    def read_with(self, reader: asyncio.Protocol) -> None:
        """Have another protocol read from the transport from now on."""
        self.reader = reader
        self.transport.set_protocol(reader)

    def unlink(self) -> None:
        """Let go of the tunnel and the other leg, at the end of both: nothing waits for the garbage collector then."""
        del self.tunnel, self.other, self.reader

    # -- called by the transport

    def data_received(self, data: bytes) -> None:
        """Count, and pass on."""
        size = len(data)
        self.count += size
        frames = self.frames
        if not (frames.at_boundary and is_one_frame(data, size)):
            frames.feed(data)
            if frames.close_code is not None:
                self.tunnel.close_frame_seen(self, frames.close_code)
        self.other.transport.write(data)
        if size >= self.most:
            self.yield_reading(size)

    def eof_received(self) -> bool:
        """Pass the end of this direction on, and keep the other direction (half-close)."""
        return self.tunnel.leg_ended(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the whole tunnel."""
        self.tunnel.leg_lost(self, exc)

    def pause_writing(self) -> None:
        """Pause reading from the other side: this one is slow."""
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()
        if self.lease is None:
            self.lease = self.tunnel.lease_buffer(waits(self.transport))
            if self.lease is None:
                self.tunnel.buffer_exceeded()

    def resume_writing(self) -> None:
        """Resume reading from the other side."""
        self.release_buffer()
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def release_buffer(self) -> None:
        """Count what waits for this side no more. Safe to call again."""
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.release()

    # -- called by what reads from the transport

    def yield_reading(self, size: int) -> None:
        """Read no more of this side until other connections have had a turn. size: bytes of its last read."""
        if not self.transport.is_closing():
            pause_after_large_read(self.transport, self.reader, size)
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        # A slow reader goes on pausing its sender; its lease says so.
        if not self.transport.is_closing() and self.other.lease is None:
            self.transport.resume_reading()

    # -- called by ``SlowReaders`` and ``DeadPeers``

    @property
    def is_acknowledged(self) -> bool:
        """Whether nothing was written to this side since all of it was acknowledged."""
        return self.is_lost or self._acknowledged == self.other.count

    @is_acknowledged.setter
    def is_acknowledged(self, value: bool) -> None:
        self._acknowledged = self.other.count if value else -1

    def vanish(self) -> None:
        """End this side as a reset does."""
        self.tunnel.leg_vanished(self)

    def taken(self) -> int | None:
        """Return how many bytes this side has taken, but for a constant; None when nothing waits for it."""
        left = None if self.is_lost else waiting(self.transport)
        return None if left is None else self.other.count - left

    def took_too_long(self) -> None:
        """Close the tunnel; a close frame that this side does not take still reaches the other one."""
        self.tunnel.start_closing(CloseCode.TRY_AGAIN_LATER, Outcome.TOO_SLOW)
