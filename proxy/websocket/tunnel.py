"""Two transports and raw bytes between them, from the 101 to the end.

Nothing is re-encoded: what one side sends, the other gets, byte for byte
and with its back-pressure. The tunnel counts frames as they pass (headers
only) so that it can say goodbye between two of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from enum import Enum

from proxy.errors import Outcome
from proxy.net.client_limits import Lease
from proxy.net.read_after_reset import last_words
from proxy.net.read_size import give_way, last_read
from proxy.net.timers import waits
from proxy.websocket.frames import FrameCounter, close_frame, is_one_frame
from ws_service.net.unacknowledged import waiting

_COME_BACK = 1012
"""What a client hears whose upstream has vanished: "the service restarts". Without it, it would see 1006, which tells
the page's code nothing."""

FAREWELL = 2.0
"""Seconds without any progress after which connections that are to close are cut. Precedents: nginx none, Caddy 5s."""

LINGERING = 30.0
"""Seconds for which a side that goes on sending is read, when the other one has gone. Precedent: nginx lingering_time
30s."""

LOOKS = 4
"""Looks per idle period."""


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


class Leg(asyncio.Protocol):
    """One side of the tunnel: what it receives goes to the other side."""

    __slots__ = ("acknowledged", "count", "frames", "is_lost", "lease", "most", "other", "role", "transport", "tunnel")

    def __init__(self, tunnel: Tunnel, role: str, transport: asyncio.Transport) -> None:
        self.tunnel = tunnel
        self.role = role
        self.transport = transport
        self.frames = FrameCounter()
        self.count = self.acknowledged = 0
        self.is_lost = False
        self.lease: Lease | None = None  # what waits for this side is counted while it is too much
        self.most = last_read(transport)
        self.other: Leg

    def data_received(self, data: bytes) -> None:
        """Count, and pass on."""
        size = len(data)
        self.count += size
        frames = self.frames
        if not (frames.at_boundary and is_one_frame(data, size)):
            frames.feed(data)
            if frames.close_code is not None:
                self.tunnel.close_seen(self, frames.close_code)
        self.other.transport.write(data)
        if size >= self.most:
            self.tunnel.give_way(self, size)

    @property
    def written(self) -> int:
        """Return how many bytes were written to this side, but for a constant."""
        return self.other.count

    @property
    def wire(self) -> asyncio.Transport | None:
        """Return the transport of this side."""
        return None if self.is_lost else self.transport

    def vanish(self) -> None:
        """End this side as a reset does."""
        self.tunnel.vanished(self)

    @property
    def timeout(self) -> float:
        """Return how many seconds this side may take next to nothing."""
        return self.tunnel.send

    def taken(self) -> int | None:
        """Return how many bytes this side has taken, but for a constant; None when nothing waits for it."""
        left = None if self.is_lost else waiting(self.transport)
        return None if left is None else self.other.count - left

    def took_too_long(self) -> None:
        """Close the tunnel; what cannot be said to this side is said to the other one."""
        self.tunnel.say_goodbye(1013, Outcome.TOO_SLOW)

    def eof_received(self) -> bool:
        """Pass the end of this direction on, and keep the other direction (half-close)."""
        return self.tunnel.ended(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the whole tunnel."""
        self.tunnel.lost(self.role, exc)

    def pause_writing(self) -> None:
        """This side is slow: make the other one wait."""
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()
        if self.lease is None:
            self.lease = self.tunnel.hold(waits(self.transport))
            if self.lease is None:
                self.tunnel.exceeds()

    def resume_writing(self) -> None:
        """This side has caught up."""
        self.let_go()
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def let_go(self) -> None:
        """Count what waits for this side no more. Safe to call again."""
        lease, self.lease = self.lease, None
        if lease is not None:
            lease.release()


class _LeavingLeg(Leg):
    """A leg whose tunnel says goodbye: it passes bytes on until a frame ends, then nothing more.

    A protocol of its own, so that a tunnel in ordinary life pays nothing for it.
    """

    __slots__ = ("_is_muted",)

    def __init__(self, leg: Leg) -> None:
        super().__init__(leg.tunnel, leg.role, leg.transport)
        self.frames = leg.frames
        self.count = leg.count
        self.is_lost = leg.is_lost
        self.lease = leg.lease
        self.other = leg.other
        self._is_muted = False

    def part(self) -> None:
        """Say goodbye to the other side, if no frame towards it is under way."""
        if not self._is_muted and self.frames.at_boundary:
            self._is_muted = True
            self.tunnel.send_close(self.other)

    def data_received(self, data: bytes) -> None:
        """Pass on what belongs to the frame under way, and drop what comes behind it."""
        self.count += len(data)
        end = self.frames.feed(data)
        if not self._is_muted and not self.other.transport.is_closing():
            self.other.transport.write(data if end < 0 else data[:end])
            if end >= 0:
                self._is_muted = True
                self.tunnel.send_close(self.other)
        if self.role == "client" and self.frames.close_code is not None:
            self.tunnel.close()
        elif len(data) >= self.most:
            self.tunnel.give_way(self, len(data))


class _EndingLeg(Leg):
    """A leg whose other side is gone: what it still sends is dropped, until it has said goodbye or ends."""

    __slots__ = ()

    def __init__(self, leg: Leg) -> None:
        super().__init__(leg.tunnel, leg.role, leg.transport)
        self.frames = leg.frames
        self.count = leg.count
        self.lease = leg.lease
        self.other = leg.other

    def data_received(self, data: bytes) -> None:
        """Count, and drop."""
        self.count += len(data)
        self.frames.feed(data)
        if self.frames.close_code is not None:
            self.tunnel.close()
        elif len(data) >= self.most:
            self.tunnel.give_way(self, len(data))


class Tunnel:
    """A WebSocket connection passing through.

    client, upstream: transports, reading paused.
    buffer: bytes held for a slow reader before its sender is made to wait.
    send: seconds that either side may take next to nothing of what waits for it.
    hold: counts bytes that wait for such a reader; None when they are too many.
    on_end: called once, when both connections are closed.

    ``outcome``, ``closed_by`` and ``close_code`` are for the record:
    ``closed_by`` is who first sent a close frame, or ended without one.
    """

    __slots__ = (
        "_client",
        "_farewell",
        "_loop",
        "_on_end",
        "_quiet",
        "_seen",
        "_timer",
        "_upstream",
        "_was_reset",
        "close_code",
        "closed_by",
        "hold",
        "outcome",
        "send",
        "state",
    )

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        *,
        buffer: int,
        send: float,
        hold: Callable[[int], Lease | None],
        on_end: Callable[[Tunnel], None],
    ) -> None:
        self.hold = hold
        self.send = send
        self._loop = asyncio.get_running_loop()
        self._client = Leg(self, "client", client)
        self._upstream = Leg(self, "upstream", upstream)
        self._client.other, self._upstream.other = self._upstream, self._client
        self._on_end = on_end
        self._seen = -1
        self._quiet = 0
        self._timer: asyncio.TimerHandle | None = None
        self._farewell: int | None = None
        self._was_reset = False
        self.state = State.OPEN
        self.outcome: Outcome | None = None
        self.closed_by = ""
        self.close_code: int | None = None
        for transport in (client, upstream):
            transport.set_write_buffer_limits(high=buffer)
            _tune(transport)

    @property
    def bytes_from_client(self) -> int:
        """Bytes that the client has sent behind its handshake."""
        return self._client.count

    @property
    def bytes_from_upstream(self) -> int:
        """Bytes that the upstream has sent behind its 101."""
        return self._upstream.count

    @property
    def legs(self) -> tuple[Leg, Leg]:
        """Both sides, as readers of what the other one sends."""
        return self._client, self._upstream

    def open(self, answer: bytes, from_upstream: bytes, from_client: bytes) -> None:
        """Begin to carry.

        answer: the 101, for the client. from_upstream, from_client: the
        bytes that were read behind the two heads; they go first.
        """
        for leg in (self._client, self._upstream):
            leg.transport.set_protocol(leg)
            # Before the first write: a write that fills the buffer pauses the other side, and must not be undone.
            leg.transport.resume_reading()
        self._client.transport.write(answer)
        if from_upstream:
            self._upstream.data_received(from_upstream)
        if from_client:
            self._client.data_received(from_client)

    def check_idle(self) -> None:
        """Say goodbye when no byte has passed since ``LOOKS`` looks ago: no timer is touched per message."""
        total = self._client.count + self._upstream.count
        self._quiet = self._quiet + 1 if total == self._seen else 0
        self._seen = total
        if self._quiet >= LOOKS:
            self.say_goodbye(1001, Outcome.IDLE)

    def say_goodbye(self, code: int, outcome: Outcome) -> None:
        """Close from our side: a close frame to both, each between two frames, then the end.

        code: 1012, 1001 and 1013 tell the page's code to come back; never 1000
        or 4001, after which Dash's browser worker stays away (docs/decisions/013-close-codes.md).
        """
        if self._farewell is not None or self.state is State.CLOSED:
            return
        self.closed_by, self.close_code = "gateway", code
        self._part(code, outcome)

    def close(self) -> None:
        """Close both connections behind what is still on its way to them."""
        self._client.transport.close()
        self._upstream.transport.close()
        self._cut_when_stuck()

    def abort(self) -> None:
        """Cut both connections."""
        self._client.transport.abort()
        self._upstream.transport.abort()

    # -- told by the legs

    def give_way(self, leg: Leg, size: int) -> None:
        """Read no more of one side until everybody else has had a turn. size: bytes of its last read."""
        if not leg.transport.is_closing():
            give_way(leg.transport, leg, size)
            self._loop.call_soon(self._read_on, leg.role)

    def _read_on(self, role: str) -> None:
        leg = self._client if role == "client" else self._upstream
        # A slow reader goes on holding its sender back; what it counts says so.
        if leg.other.lease is None and not leg.transport.is_closing():
            leg.transport.resume_reading()

    def vanished(self, leg: Leg) -> None:
        """Cut a side that does not answer any more; the other one ends as behind a reset."""
        if not self.closed_by:
            self._was_reset = True
        leg.transport.abort()

    def exceeds(self) -> None:
        """Cut both connections: more waits on the client's connections than may. No goodbye would be read."""
        if self.outcome is None:
            self.closed_by, self.close_code, self.outcome = "gateway", None, Outcome.TOO_SLOW
        self._loop.call_soon(self.abort)  # not in the middle of a write

    def send_close(self, leg: Leg) -> None:
        """Write the goodbye to one side, unless nothing can be written to it any more."""
        assert self._farewell is not None
        if not leg.transport.is_closing() and self.state is not _DONE[leg.other.role]:
            leg.transport.write(close_frame(self._farewell, masked=leg.role == "upstream"))

    def close_seen(self, leg: Leg, code: int) -> None:
        """Note the first close frame: its sender began the end."""
        if not self.closed_by:
            self.closed_by, self.close_code = leg.role, code

    def ended(self, leg: Leg) -> bool:
        """Note that one side will send no more; True keeps its connection for the other direction."""
        if self._has_vanished(leg):
            self._bring_back(Outcome.UPSTREAM_CLOSED)
        self.closed_by = self.closed_by or leg.role
        self.state = TRANSITIONS[self.state].get(f"{leg.role} ends", self.state)
        if self._farewell is not None:
            if leg.role == "client":
                self.close()
            return False
        other = leg.other.transport
        has_said_all = leg.frames.close_code is not None and leg.other.frames.close_code is not None
        # TLS knows no half of a close (RFC 8446, section 6.1, allows one; OpenSSL's users do not): whose side it is.
        is_whole = not (leg.transport.can_write_eof() and other.can_write_eof())
        if self.state is State.CLOSED or has_said_all or is_whole:
            self.close()
            return False
        if not other.is_closing():
            other.write_eof()
        return True

    def lost(self, role: str, exc: Exception | None) -> None:
        """Note that one connection is gone, and let the other one end too.

        role: not the leg that has heard it. Over TLS the loops tell an end to the protocol that was there when it was
        on its way, and a goodbye may have put another one in its place since.
        """
        leg = self._client if role == "client" else self._upstream
        rest = last_words(leg.transport, leg, exc, is_paused=leg.other.lease is not None)
        if rest is not None:
            # Its close frame, most likely. It takes no more bytes, so whoever sends some is made to wait no longer.
            leg.transport = rest
            leg.resume_writing()
            return
        leg.is_lost = True
        leg.let_go()
        if self._has_vanished(leg):
            self._bring_back(Outcome.UPSTREAM_CLOSED if exc is None else Outcome.RESET)
        elif exc is not None and not self.closed_by:
            self._was_reset = True
        self.closed_by = self.closed_by or role
        self.state = TRANSITIONS[self.state].get("lost", self.state)
        if self._client.is_lost and self._upstream.is_lost:
            self._finish()
        elif self._farewell is None or role == "client":
            self._hear_out(leg.other)
        # else: the client still has to answer our goodbye; the timer bounds the wait.

    def _has_vanished(self, leg: Leg) -> bool:
        """Tell whether an upstream has left without a word, at a moment when a word of ours can be put in its place.

        No WebSocket server ends its direction without a close frame and goes on (RFC 6455, 7.3): it was
        killed. Where either side has begun to close, or a frame is under way, nothing is invented.
        """
        return (
            leg is self._upstream
            and self.state is State.OPEN
            and not self.closed_by
            and self._farewell is None
            and leg.frames.at_boundary
        )

    def _hear_out(self, leg: Leg) -> None:
        """End the side that is left, behind what is on its way to it.

        A close on bytes that nobody has read resets the connection, and takes what was said last with it (RFC 9112,
        section 9.6, says so of HTTP). So whoever has been told goodbye, and may still be sending, is read to the end,
        for ``LINGERING`` at most.
        """
        transport = leg.transport
        has_been_told = leg.other.frames.close_code is not None and leg.frames.close_code is None
        if not has_been_told or transport.is_closing() or not transport.can_write_eof():
            self.close()  # over TLS that reads to the end too
            return
        ending = _EndingLeg(leg)
        if leg.role == "client":
            self._client = ending
        else:
            self._upstream = ending
        ending.other.other = ending
        transport.set_protocol(ending)
        transport.resume_reading()
        transport.write_eof()
        self._cut_when_stuck()

    def _bring_back(self, outcome: Outcome) -> None:
        """Tell the client to come back, in the upstream's name."""
        self.closed_by = "upstream"
        self._part(_COME_BACK, outcome)

    def _part(self, code: int, outcome: Outcome) -> None:
        self._farewell = code
        self.outcome = outcome
        client, upstream = _LeavingLeg(self._client), _LeavingLeg(self._upstream)
        self._client, self._upstream = client, upstream
        client.other, upstream.other = upstream, client
        client.transport.set_protocol(client)
        upstream.transport.set_protocol(upstream)
        upstream.part()
        client.part()
        self._cut_when_stuck()

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.outcome is None:
            ending = {"client": Outcome.CLIENT_CLOSED, "upstream": Outcome.UPSTREAM_CLOSED}
            self.outcome = Outcome.RESET if self._was_reset else ending[self.closed_by]
        self._on_end(self)

    def _cut_when_stuck(self, left: int | None = None, heard: int = 0, looks: int = 0) -> None:
        """Cut both connections once nothing more reaches either of them; a client that is only slow gets all of it.

        left: bytes that were on their way at the look before; None at the first look. heard: bytes that had come by
        then from a side that is read to its end. looks: how many there were.
        """
        now = sum(leg.transport.get_write_buffer_size() for leg in (self._client, self._upstream) if not leg.is_lost)
        come = sum(leg.count for leg in (self._client, self._upstream) if isinstance(leg, _EndingLeg))
        if left is None or now < left or (come > heard and looks * FAREWELL < LINGERING):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(FAREWELL, lambda: self._cut_when_stuck(now, come, looks + 1))
        else:
            self.abort()


class IdleWatch:
    """Looks after all tunnels with one timer: one for each is an eighth of the memory of an idle tunnel.

    idle: seconds without a byte in either direction after which a tunnel is
    closed; it may take a quarter more.
    """

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._tunnels: dict[float, dict[Tunnel, None]] = {}  # by the idle time that they began with
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return sum(map(len, self._tunnels.values()))

    def use(self, idle: float) -> None:
        """Have another idle time for tunnels that open from here on; those that are open keep theirs."""
        self._idle = idle

    def watch(self, tunnel: Tunnel) -> None:
        """Look after a tunnel until ``forget``."""
        self._tunnels.setdefault(self._idle, {})[tunnel] = None
        if self._idle not in self._timers:
            self._look_later(self._idle)

    def forget(self, tunnel: Tunnel) -> None:
        """Look after it no more."""
        for tunnels in self._tunnels.values():
            tunnels.pop(tunnel, None)

    def _look_later(self, idle: float) -> None:
        self._timers[idle] = asyncio.get_running_loop().call_later(idle / LOOKS, self._look, idle)

    def _look(self, idle: float) -> None:
        del self._timers[idle]
        for tunnel in list(self._tunnels[idle]):
            tunnel.check_idle()
        if self._tunnels[idle]:
            self._look_later(idle)
        else:
            del self._tunnels[idle]


_DONE = {"client": State.CLIENT_DONE, "upstream": State.UPSTREAM_DONE}


def _tune(transport: asyncio.Transport) -> None:
    """Send each piece at once. Keep-alive is set already: by ``Door`` for clients, by ``connection`` for upstreams."""
    lent = transport.get_extra_info("socket")
    if lent is None or lent.family == socket.AF_UNIX:
        return
    # A socket object of our own: uvloop's makes a new one, with system calls.
    sock = socket.socket(lent.family, lent.type, lent.proto, fileno=lent.fileno())
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    finally:
        sock.detach()
