"""Two transports and raw bytes between them, from the 101 to the end.

Nothing is re-encoded: what one side sends, the other gets, byte for byte and with its back-pressure. The tunnel counts
frames as they pass (headers only) so that it can write a close frame between two of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Protocol

from proxy.errors import Outcome
from proxy.net.client_limits import Lease
from proxy.net.read_after_reset import half_close, read_after_reset
from proxy.net.timers import is_over, sweep_period
from proxy.websocket.closing import Discarder, FrameFinisher, StallTimeout
from proxy.websocket.frames import CloseCode, close_frame
from proxy.websocket.leg import Leg
from ws_service.net.periodic_sweep import Pass, PeriodicSweep


class State(Enum):
    """How much of the tunnel is open."""

    OPEN = "open"
    CLIENT_DONE = "client done"
    UPSTREAM_DONE = "upstream done"
    CLOSED = "closed"


TRANSITIONS: dict[State, dict[str, State]] = {
    State.OPEN: {
        "client ends": State.CLIENT_DONE,
        "upstream ends": State.UPSTREAM_DONE,
        "lost": State.CLOSED,
    },
    State.CLIENT_DONE: {"upstream ends": State.CLOSED, "lost": State.CLOSED},
    State.UPSTREAM_DONE: {"client ends": State.CLOSED, "lost": State.CLOSED},
    State.CLOSED: {},
}
"""State, what happens, next state. An end is half of a close: the other direction goes on."""

_DONE = {"client": State.CLIENT_DONE, "upstream": State.UPSTREAM_DONE}

_OUTCOMES = {"client": Outcome.CLIENT_CLOSED, "upstream": Outcome.UPSTREAM_CLOSED}


class TunnelOwner(Protocol):
    """The exchange, as far as its tunnel knows it."""

    def lease_buffer(self, size: int) -> Lease | None:
        """Count bytes that wait for a slow side; None when they are more than its client may have."""

    def tunnel_ended(self, tunnel: Tunnel) -> None:
        """Note that both connections are closed. Called once."""


class Tunnel:
    """A WebSocket connection passing through.

    owner: the exchange that it belongs to. client, upstream: transports, reading paused.
    buffer: bytes that wait for a slow reader before reading from its sender is paused.
    send_timeout: seconds that either side may read almost nothing of what waits for it.
    idle_timeout: seconds without a byte in either direction after which it is closed; it may take a quarter more.

    ``outcome``, ``closed_by`` and ``close_code`` are for the record: ``closed_by`` is the side that first sent a close
    frame, or ended without one.
    """

    __slots__ = (
        "_client",
        "_close_code",
        "_idle_seconds",
        "_lingering",
        "_owner",
        "_seen",
        "_stall_timeout",
        "_upstream",
        "_was_reset",
        "close_code",
        "closed_by",
        "idle_timeout",
        "outcome",
        "state",
    )

    def __init__(
        self,
        owner: TunnelOwner,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        *,
        buffer: int,
        send_timeout: float,
        idle_timeout: float,
    ) -> None:
        self._owner = owner
        self.idle_timeout = idle_timeout
        self._client = Leg(self, "client", client, buffer=buffer, timeout=send_timeout)
        self._upstream = Leg(self, "upstream", upstream, buffer=buffer, timeout=send_timeout)
        self._client.other, self._upstream.other = self._upstream, self._client
        self._seen = -1
        self._idle_seconds = 0.0
        self._stall_timeout: StallTimeout | None = None
        self._lingering: Leg | None = None
        self._close_code: int | None = None  # of the gateway's own close frames
        self._was_reset = False
        self.state = State.OPEN
        self.outcome: Outcome | None = None
        self.closed_by = ""
        self.close_code: int | None = None

    @property
    def bytes_from_client(self) -> int:
        """Bytes that the client has sent after its handshake."""
        return self._client.count

    @property
    def bytes_from_upstream(self) -> int:
        """Bytes that the upstream has sent after its 101."""
        return self._upstream.count

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Both sides: the client's, and the upstream's."""
        return self._client, self._upstream

    def open(self, response: bytes, from_upstream: bytes, from_client: bytes) -> None:
        """Begin to pass bytes on.

        response: the 101, for the client. from_upstream, from_client: the bytes that were read after the two heads;
        they go first.
        """
        for leg in (self._client, self._upstream):
            leg.transport.set_protocol(leg)
            # Before the first write: a write that fills the buffer pauses the other side, and must not be undone.
            leg.transport.resume_reading()
        self._client.transport.write(response)
        if from_upstream:
            self._upstream.data_received(from_upstream)
        if from_client:
            self._client.data_received(from_client)

    def check_idle(self, period: float) -> None:
        """Close when no byte has passed for ``idle_timeout``. period: seconds since this was called before."""
        total = self._client.count + self._upstream.count
        self._idle_seconds = self._idle_seconds + period if total == self._seen else 0.0
        self._seen = total
        if is_over(self._idle_seconds, self.idle_timeout):
            self.start_closing(CloseCode.GOING_AWAY, Outcome.IDLE)

    def start_closing(self, code: int, outcome: Outcome) -> None:
        """Begin the closing handshake with both sides: a close frame to each, between two frames, then the end.

        code: never 1000 or 4001, after which Dash's browser worker does not connect again
            (docs/decisions/013-close-codes.md).
        """
        if self._close_code is not None or self.state is State.CLOSED:
            return
        self.closed_by, self.close_code = "gateway", code
        self._write_close_frames(code, outcome)

    def close(self) -> None:
        """Close both connections after what is still on its way to them."""
        self._client.transport.close()
        self._upstream.transport.close()
        self._start_stall_timeout()

    def abort(self) -> None:
        """Cut both connections."""
        self._client.transport.abort()
        self._upstream.transport.abort()

    # -- called by the legs

    def lease_buffer(self, size: int) -> Lease | None:
        """Count bytes that wait for a slow side; None when they are more than its client may have."""
        return self._owner.lease_buffer(size)

    def buffer_exceeded(self) -> None:
        """Cut both connections: more waits for the client than may. It would not read a close frame."""
        if self.outcome is None:
            self.closed_by, self.close_code, self.outcome = "gateway", None, Outcome.TOO_SLOW
        asyncio.get_running_loop().call_soon(self.abort)  # not in the middle of a write

    def write_close_frame(self, leg: Leg) -> None:
        """Write the gateway's close frame to one side, unless nothing can be written to it any more."""
        assert self._close_code is not None
        if not leg.transport.is_closing() and self.state is not _DONE[leg.other.role]:
            leg.transport.write(close_frame(self._close_code, masked=leg.role == "upstream"))

    def close_frame_seen(self, leg: Leg, code: int) -> None:
        """Note the first close frame: its sender began the end."""
        if not self.closed_by:
            self.closed_by, self.close_code = leg.role, code

    def leg_vanished(self, leg: Leg) -> None:
        """Cut a side whose peer does not answer any more; the other one ends as after a reset."""
        if not self.closed_by:
            self._was_reset = True
        leg.transport.abort()

    def leg_ended(self, leg: Leg) -> bool:
        """Note that one side will send no more; True keeps its connection for the other direction."""
        if self._has_crashed(leg):
            self._close_for_upstream(Outcome.UPSTREAM_CLOSED)
        self.closed_by = self.closed_by or leg.role
        self.state = TRANSITIONS[self.state].get(f"{leg.role} ends", self.state)
        if self._close_code is not None:
            if leg.role == "client":
                self.close()
            return False
        other = leg.other.transport
        is_complete = leg.frames.close_code is not None and leg.other.frames.close_code is not None
        # TLS has no half-close (RFC 8446, section 6.1, allows one; OpenSSL's users do not), on whichever side it is.
        can_half_close = leg.transport.can_write_eof() and other.can_write_eof()
        if self.state is State.CLOSED or is_complete or not can_half_close:
            self.close()
            return False
        if not other.is_closing():
            half_close(other)
        return True

    def leg_lost(self, leg: Leg, error: Exception | None) -> None:
        """Note that one connection is gone, and let the other one end too."""
        rest = read_after_reset(leg.transport, leg.reader, error, is_paused=leg.other.lease is not None)
        if rest is not None:
            # Its close frame, most likely. It takes no more bytes, so the other side need not be paused for it.
            leg.transport = rest
            leg.resume_writing()
            return
        leg.is_lost = True
        leg.release_buffer()
        if self._has_crashed(leg):
            self._close_for_upstream(Outcome.UPSTREAM_CLOSED if error is None else Outcome.RESET)
        elif error is not None and not self.closed_by:
            self._was_reset = True
        self.closed_by = self.closed_by or leg.role
        self.state = TRANSITIONS[self.state].get("lost", self.state)
        if leg.other.is_lost:
            self._finish()
        elif self._close_code is None or leg.role == "client":
            self._linger(leg.other)
        # else: the client still has to answer the gateway's close frame; the timeout bounds the wait.

    # -- inside

    def _has_crashed(self, leg: Leg) -> bool:
        """Tell whether an upstream has ended without a close frame, at a moment when the gateway can write one for it.

        No WebSocket server ends its direction without a close frame and goes on (RFC 6455, section 7.3): it was
        killed. Where either side has begun to close, or a frame is under way, nothing is invented.
        """
        return (
            leg is self._upstream
            and self.state is State.OPEN
            and not self.closed_by
            and self._close_code is None
            and leg.frames.at_boundary
        )

    def _close_for_upstream(self, outcome: Outcome) -> None:
        """Tell the client that the service restarts. Without that it would see 1006, which tells the page nothing."""
        self.closed_by = "upstream"
        self._write_close_frames(CloseCode.SERVICE_RESTART, outcome)

    def _write_close_frames(self, code: int, outcome: Outcome) -> None:
        self._close_code = code
        self.outcome = outcome
        readers = FrameFinisher(self._upstream), FrameFinisher(self._client)
        self._client.read_with(readers[1])
        self._upstream.read_with(readers[0])
        for reader in readers:
            reader.finish()
        self._start_stall_timeout()

    def _linger(self, leg: Leg) -> None:
        """End the side that is left, after what is on its way to it (lingering close).

        A close with unread bytes resets the connection, and the peer may lose what was sent last (RFC 9112, section
        9.6, says so of HTTP). So a side that was sent a close frame, and may still be sending, is read to its end, for
        ``LINGERING`` seconds at most.
        """
        transport = leg.transport
        awaits_answer = leg.other.frames.close_code is not None and leg.frames.close_code is None
        if not awaits_answer or transport.is_closing() or not transport.can_write_eof():
            self.close()  # over TLS that reads to the end too
            return
        self._lingering = leg
        leg.read_with(Discarder(leg))
        transport.resume_reading()
        half_close(transport)
        self._start_stall_timeout()

    def _start_stall_timeout(self) -> None:
        if self._stall_timeout is not None:
            self._stall_timeout.cancel()
        self._stall_timeout = StallTimeout(self.legs, self._lingering)

    def _finish(self) -> None:
        if self._stall_timeout is not None:
            self._stall_timeout.cancel()
        if self.outcome is None:
            self.outcome = Outcome.RESET if self._was_reset else _OUTCOMES[self.closed_by]
        self._owner.tunnel_ended(self)
        for leg in self.legs:
            leg.unlink()


class IdleTunnels:
    """Closes tunnels without a byte in either direction. tunnels: called at each sweep, returns what is to be swept."""

    def __init__(self, tunnels: Callable[[], Iterable[Tunnel]]) -> None:
        self._tunnels = tunnels
        self._sweep = PeriodicSweep(self._pass)

    def start(self, timeout: float) -> None:
        """Sweep from here on, while there are tunnels. timeout: the shortest that one may have now, in seconds."""
        self._sweep.start(sweep_period(timeout))

    def _pass(self, period: float) -> Pass:
        tunnels = list(self._tunnels())
        for tunnel in tunnels:
            tunnel.check_idle(period)
            yield
        return sweep_period(min(tunnel.idle_timeout for tunnel in tunnels)) if tunnels else None
