"""How a tunnel closes: close frames between two frames, lingering close, and the timeout for both.

Each reader here replaces a leg as the protocol of its transport, so that a tunnel that does not close pays nothing for
it. Only what is read is theirs; everything else that the transport tells goes to the leg.
"""

from __future__ import annotations

import asyncio

from proxy.websocket.leg import Leg

CLOSE_TIMEOUT = 2.0
"""Seconds without any progress after which connections that are closing are cut. Precedents: nginx none, Caddy 5s."""

LINGERING = 30.0
"""Seconds for which a side that goes on sending is read, when the other one is gone. Precedent: nginx lingering_time
30s."""


class _Reader(asyncio.Protocol):
    """Reads from the transport of a leg in its place."""

    __slots__ = ("_leg",)

    def __init__(self, leg: Leg) -> None:
        self._leg = leg

    def eof_received(self) -> bool:
        """Tell the leg."""
        return self._leg.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the leg."""
        self._leg.connection_lost(exc)

    def pause_writing(self) -> None:
        """Tell the leg."""
        self._leg.pause_writing()

    def resume_writing(self) -> None:
        """Tell the leg."""
        self._leg.resume_writing()

    def _go_on(self, size: int, *, is_done: bool) -> None:
        """Read on, or close when nothing more is to be read. size: bytes of this read."""
        if is_done:
            self._leg.tunnel.close()
        elif size >= self._leg.most:
            self._leg.yield_reading(size)


class FrameFinisher(_Reader):
    """Passes bytes on until a frame ends, has a close frame written after it, and drops everything that comes later."""

    __slots__ = ("_has_finished",)

    def __init__(self, leg: Leg) -> None:
        super().__init__(leg)
        self._has_finished = False

    def finish(self) -> None:
        """Have the close frame written to the other side, if no frame towards it is under way."""
        if not self._has_finished and self._leg.frames.at_boundary:
            self._has_finished = True
            self._leg.tunnel.write_close_frame(self._leg.other)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to the frame under way, and drop what comes after it."""
        leg = self._leg
        leg.count += len(data)
        end = leg.frames.feed(data)
        if not self._has_finished and not leg.other.transport.is_closing():
            leg.other.transport.write(data if end < 0 else data[:end])
            if end >= 0:
                self._has_finished = True
                leg.tunnel.write_close_frame(leg.other)
        self._go_on(len(data), is_done=leg.role == "client" and leg.frames.close_code is not None)


class Discarder(_Reader):
    """Drops what a leg still sends after the other one is gone, until its close frame or its end (lingering close)."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Count, and drop."""
        leg = self._leg
        leg.count += len(data)
        leg.frames.feed(data)
        self._go_on(len(data), is_done=leg.frames.close_code is not None)


class StallTimeout:
    """Cuts both connections once nothing more reaches either of them; a client that is only slow gets all of it.

    lingering: the leg that is read to its end; None where there is none. What it sends counts as progress for
    ``LINGERING`` seconds.
    """

    def __init__(self, legs: tuple[Leg, Leg], lingering: Leg | None) -> None:
        self._legs = legs
        self._lingering = lingering
        self._checks = 0
        self._left, self._received = self._progress()
        self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._check)

    def cancel(self) -> None:
        """Cut nothing any more. Safe to call again."""
        self._timer.cancel()

    def _progress(self) -> tuple[int, int]:
        """Return how many bytes are still on their way, and how many have come from the leg that lingers."""
        left = sum(leg.transport.get_write_buffer_size() for leg in self._legs if not leg.is_lost)
        return left, 0 if self._lingering is None else self._lingering.count

    def _check(self) -> None:
        self._checks += 1
        left, received = self._progress()
        if left < self._left or (received > self._received and self._checks * CLOSE_TIMEOUT < LINGERING):
            self._left, self._received = left, received
            self._timer = asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._check)
        else:
            for leg in self._legs:
                leg.transport.abort()
