"""What a client has sent and the library has not been given yet: fair reading, and a limit for what waits.

Reading pauses while anything waits: at most one read of each connection, and before the accept ``MAX_EARLY`` besides.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from ws_service.websocket import library as libraries
from ws_service.websocket.client_memory import CountedFrames, SocketMemory
from ws_service.websocket.frame_format import CloseCode
from ws_service.websocket.frames import FrameSplitter
from ws_service.websocket.read_scheduler import SLICE
from ws_service.websocket.resources import Resources

MAX_EARLY = 16384
"""Bytes kept of what a client sends before its handshake is accepted."""


class InputOwner(Protocol):
    """The connection, as far as its input knows it."""

    def activate(self) -> None:
        """Have the deadlines checked at the next sweep."""

    def answer(self, status: int, message: str) -> None:
        """Answer the handshake with an error, and close."""

    def close_with(self, code: int, reason: str, *, may_wait: bool = True) -> None:
        """Close with a code; not ``may_wait``: cut where the client would have to take something first."""

    def failed(self, method: str, error: Exception) -> None:
        """End the connection: the library has raised an error."""

    def say(self, kind: str, sentence: str, *arguments: object) -> None:
        """Write a line about this connection, unless one of its kind was written lately."""


class InputBuffer:
    """Reads for one connection, and gives the library what it may have.

    ``fed`` counts the bytes that the library was given. ``memory`` is None until it is known which client it is.
    """

    __slots__ = (
        "_is_client_slow",
        "_is_library_full",
        "_library",
        "_owner",
        "_pending",
        "_resources",
        "_splitter",
        "_transport",
        "fed",
        "is_accepted",
        "is_paused",
        "memory",
    )

    def __init__(self, owner: InputOwner, library: Any, resources: Resources) -> None:
        self._owner = owner
        self._library = library
        self._resources = resources
        self._transport: asyncio.Transport
        self._splitter = FrameSplitter()
        self._pending = b""  # read, and not given to the library
        self._is_library_full = self._is_client_slow = False
        self.memory: SocketMemory | None = None
        self.is_accepted = self.is_paused = False
        self.fed = 0

    def start(self, transport: asyncio.Transport) -> None:
        """Have a transport to pause."""
        self._transport = transport

    def count_for(self, address: str) -> None:
        """Count what is kept among what a client has. Once."""
        self.memory = SocketMemory(self._resources.memory.account(address), self._owner.activate, self.exceeded)

    def stop(self) -> None:
        """Give the library nothing more. Safe to call twice."""
        self._pending = b""
        if self.memory is not None:
            self._resources.scheduler.leave(self.memory.account, self)

    def close(self) -> None:
        """Count nothing more. Safe to call twice."""
        if self.memory is not None:
            self.memory.close()

    # -- what the library, the client and the deadlines allow

    @property
    def is_library_full(self) -> bool:
        """Whether the library wants nothing more at the moment."""
        return self._is_library_full

    @is_library_full.setter
    def is_library_full(self, value: bool) -> None:
        self._is_library_full = value
        self._schedule()

    @property
    def is_client_slow(self) -> bool:
        """Whether the client does not read: then nothing of it is read, or pings would become pongs without end."""
        return self._is_client_slow

    @is_client_slow.setter
    def is_client_slow(self, value: bool) -> None:
        self._is_client_slow = value
        self._schedule()

    @property
    def is_waiting(self) -> bool:
        """Whether the client has to wait for the library, or for itself as a reader."""
        return bool(self._pending) or not self._may_feed

    @property
    def is_unfinished(self) -> bool:
        """Whether a frame or a message has begun and not ended."""
        return not self._splitter.at_boundary or (self.memory is not None and self.memory.is_unfinished)

    # -- before the accept

    def keep(self, data: bytes) -> None:
        """Keep what comes before the handshake is accepted.

        Of a handshake that is refused it is nothing that a WebSocket library should read: a pipelined request would be
        a broken frame, and spoil the answer.
        """
        self._pending += data
        if self.memory is not None and not self.memory.add(len(data)):
            self._pending = b""
            self._say_too_much("answered with 429")
            self._owner.answer(429, "This client holds too much in messages that are not finished or not read.")
        elif len(self._pending) > MAX_EARLY:
            self._pause()

    async def handshake_sent(self) -> None:
        """Wait until the library has written its 101."""
        await libraries.handshake_sent(self._library)

    def accept(self, address: str) -> None:
        """Read on, beginning with what was kept, as if the client had waited for the 101.

        address: of the client; it counts where ``count_for`` was not called before.
        """
        early, self._pending = self._pending, b""
        if self.memory is None:
            self.count_for(address)
        else:
            self.memory.add(-len(early))
        assert self.memory is not None
        extensions = libraries.extensions_of(self._library)
        extensions[:] = [CountedFrames(list(extensions), self.memory)]
        self.is_accepted = True
        self._resume()
        if early:
            self.receive(early)

    # -- after it

    def receive(self, data: bytes) -> None:
        """Take what was read: give it to the library, or keep it until the scheduler says so."""
        if self._transport.is_closing():
            return
        memory = self.memory
        if not self.is_accepted:
            self.keep(data)
            return
        assert memory is not None
        if not memory.add(len(data)):
            self.exceeded()
        elif self._pending or not self._may_feed or self._resources.scheduler.is_spent or memory.account.delay() > 0:
            self._pending += data
            self._pause()
            self._schedule()
        elif self._splitter.is_one(data):
            self._resources.scheduler.spend(1)
            self._give(data)
        else:
            self._pending = data
            self._resources.scheduler.spend(self.feed())

    def feed(self) -> int:
        """Give the library a slice of what waits, if it may be given; return its cost. Called by the scheduler."""
        data, left = self._pending, SLICE
        if data and self._may_feed:
            end, left = self._splitter.split(data, SLICE)
            self._pending = data[end:]
            self._give(data[:end])
        if self._transport.is_closing():
            self._pending = b""
        elif self._pending:
            self._pause()
            self._schedule()
        else:
            self._resume()
        if not self._splitter.at_boundary:
            self._owner.activate()
        return max(1, SLICE - left)

    def exceeded(self) -> None:
        """End the connection: its client has too much in messages that are not finished or not taken."""
        self._pending = b""
        self._say_too_much("closed with 1009")
        libraries.drop_unread(self._library)  # now: what is closed ends a turn later, and a turn may read megabytes
        self._owner.close_with(CloseCode.MESSAGE_TOO_BIG, "too much held for this client", may_wait=False)

    # -- inside

    def _give(self, data: bytes) -> None:
        self.fed += len(data)
        try:
            self._library.data_received(data)
        except Exception as error:
            self._owner.failed("data_received", error)
        memory = self.memory
        if memory is not None and memory.is_too_much:
            memory.is_too_much = False
            self._say_too_much("closed with 1009")
            libraries.forget_tracebacks(self._library)

    @property
    def _may_feed(self) -> bool:
        return not (self._is_library_full or self._is_client_slow or self._transport.is_closing())

    def _schedule(self) -> None:
        """Have the scheduler call ``feed``, if there is anything to give. Safe to call while it is scheduled."""
        if self._pending and self.is_accepted and self._may_feed:
            assert self.memory is not None
            self._resources.scheduler.enter(self.memory.account, self)

    def _pause(self) -> None:
        if not self.is_paused:
            self.is_paused = True
            self._transport.pause_reading()
            self._owner.activate()

    def _resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _say_too_much(self, end: str) -> None:
        assert self.memory is not None
        account = self.memory.account
        self._owner.say(
            end,
            "client %s would hold more than %d KiB in unfinished and unread messages on %d sockets; this socket, "
            "with %d KiB, is %s. ws_service.memory_per_client sets it",
            account.client,
            account.limit >> 10,
            len(account.sockets),
            self.memory.held >> 10,
            end,
        )
