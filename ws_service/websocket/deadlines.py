"""The deadlines of one connection: its handshake, a client that takes nothing, and a message that does not end.

The sweep of the process checks them: no timer is touched per message.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from ws_service.net.unacknowledged import MIN_RATE, waiting
from ws_service.websocket.frame_format import CloseCode
from ws_service.websocket.input_buffer import InputBuffer

UNFINISHED = 60.0
"""Seconds within which a message that has begun must end, or go on at ``MIN_RATE``. Precedent: nginx
client_body_timeout 60s."""


class RateTimeout:
    """Finds a count that grows by less than ``MIN_RATE`` a second, on average over a timeout."""

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Expect nothing until the next ``check`` or ``restart``."""
        self._since: float | None = None

    def restart(self, now: float, count: int) -> None:
        """Measure from now on. now: seconds of any clock."""
        self._since, self._count = now, count

    def check(self, now: float, count: int, timeout: float) -> tuple[int, float] | None:
        """Return how much was gained in how many seconds when that is too little; None otherwise."""
        if self._since is None:
            self.restart(now, count)
            return None
        seconds = now - self._since
        if seconds < timeout:
            return None
        gained = count - self._count
        self.restart(now, count)
        return (gained, seconds) if gained < MIN_RATE * seconds else None


class DeadlineOwner(Protocol):
    """The connection, as far as its deadlines know it."""

    input: InputBuffer
    written: int
    """Bytes to the client."""
    is_lost: bool
    was_reset: bool
    has_client_ended: bool

    @property
    def is_unanswered(self) -> bool:
        """Whether the handshake still waits for its answer."""

    def refuse(self, status: int, why: str) -> None:
        """Answer the handshake with an error, and log it."""

    def close_with(self, code: int, reason: str) -> None:
        """Close with a code."""

    def abort(self) -> None:
        """Cut."""

    def say(self, kind: str, sentence: str, *arguments: object, level: int) -> None:
        """Write a line about this connection, unless one of its kind was written lately."""


class Deadlines:
    """What the sweep checks of one connection.

    handshake: seconds for the app to answer.
    send: seconds within which a client must take some of what waits for it, at ``MIN_RATE`` on average. None: another
    program, between this one and the client, cuts it.
    """

    __slots__ = (
        "_acknowledged",
        "_finished",
        "_handshake",
        "_message",
        "_owner",
        "_peer_ended",
        "_send",
        "_sending",
        "_transport",
        "began",
    )

    def __init__(self, owner: DeadlineOwner, handshake: float, send: float | None) -> None:
        self._owner = owner
        self._transport: asyncio.Transport
        self.began = 0.0
        """Seconds of the loop's clock at which the connection was made."""
        self._handshake, self._send = handshake, send
        self._sending, self._message = RateTimeout(), RateTimeout()
        self._finished = 0  # messages, at the check before
        self._peer_ended: tuple[float, int] | None = None  # since when, and what the library had been given then
        self._acknowledged = 0  # bytes to the client, at the last sweep at which it had all

    def start(self, transport: asyncio.Transport, now: float) -> None:
        """Count from now on. now: seconds of the loop's clock."""
        self._transport, self.began = transport, now

    # -- called by the sweep

    def check(self, now: float) -> bool:
        """Act on what is late."""
        owner = self._owner
        if owner.is_lost:
            return False
        is_unanswered = owner.is_unanswered  # an answer that was begun and never comes is none
        if is_unanswered and now - self.began > self._handshake:
            owner.refuse(504, f"the endpoint did not answer the handshake within {self._handshake:g} s")
        is_unsent = self._check_sending(now)
        is_unfinished = self._check_message(now)
        return is_unanswered or is_unsent or is_unfinished or owner.input.is_paused

    def paused_descriptor(self) -> int | None:
        """Return the descriptor while nothing is read from it."""
        if not self._owner.input.is_paused or self._transport.is_closing():
            return None
        return int(self._transport.get_extra_info("socket").fileno())

    def peer_ended(self, is_reset: bool, now: float) -> None:
        """End a connection that its client has ended: at once, or when the library takes nothing of what it left."""
        owner = self._owner
        if is_reset or not owner.input.is_accepted:
            owner.was_reset, owner.has_client_ended = is_reset, not is_reset
            owner.abort()
            return
        if self._peer_ended is None or self._peer_ended[1] != owner.input.fed:
            self._peer_ended = now, owner.input.fed
        elif now - self._peer_ended[0] > (UNFINISHED if self._send is None else self._send):
            owner.has_client_ended = True
            owner.abort()

    @property
    def is_acknowledged(self) -> bool:
        """Whether the client had everything at a sweep, which sets this, and nothing was written since.

        Of counts, so that a delivery has nothing to note here.
        """
        return self._acknowledged == self._owner.written

    @is_acknowledged.setter
    def is_acknowledged(self, _: bool) -> None:
        self._acknowledged = self._owner.written

    @property
    def transport(self) -> asyncio.Transport | None:
        """Return the transport; None when it is gone."""
        return None if self._owner.is_lost else self._transport

    def vanish(self) -> None:
        """Cut a client that does not answer any more."""
        self._owner.was_reset = True
        self._owner.say("vanished", "the client does not answer any more; it is cut", level=logging.INFO)
        self._owner.abort()

    def has_unsent(self) -> bool:
        """Tell whether something waits in this process to be taken."""
        return not self._owner.is_lost and self._transport.get_write_buffer_size() > 0

    # -- inside

    def _check_sending(self, now: float) -> bool:
        left = waiting(self._transport)
        if left is None:
            self._sending.stop()
            return False
        if self._send is not None and (slow := self._sending.check(now, self._owner.written - left, self._send)):
            self._owner.say("slow", "the client took %d bytes in %g s; it is cut", *slow, level=logging.INFO)
            self._owner.abort()
        return True

    def _check_message(self, now: float) -> bool:
        client = self._owner.input
        if client.memory is None or self._transport.is_closing() or not client.is_accepted:
            return False
        if not client.is_unfinished:
            self._message.stop()
            return False
        if client.memory.finished != self._finished or client.is_waiting:
            self._finished = client.memory.finished
            self._message.restart(now, client.fed)
        elif self._message.check(now, client.fed, UNFINISHED):
            self._owner.say(
                "unfinished",
                "the client began a message and did not finish it; closed with 1008",
                level=logging.INFO,
            )
            self._owner.close_with(CloseCode.POLICY_VIOLATION, "unfinished message")
        return True
