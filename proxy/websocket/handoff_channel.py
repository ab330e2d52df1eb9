"""One connection to one process of the service: sockets go out on it, replies and reports come in."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Protocol

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.net.client_limits import ClientCounter, Slot, client_key
from ws_service.handoff import protocol as wire
from ws_service.net.peer_credentials import PeerCredentials

logger = logging.getLogger("proxy")

_MAX_READS = 64
"""Messages read from one service before other connections have a turn."""

_MAX_FINAL_READS = 4096
"""Messages read from a service when its channel is closed; the kernel holds a few hundred."""

_DESCRIPTOR = struct.Struct("@i")
"""A descriptor in a control message (unix(7), SCM_RIGHTS)."""

_NOT_GREETED = "it ended before its greeting; it may be another version: restart both programs"


class SocketFile(NamedTuple):
    """A socket file as it was when it was connected to: another process may have put another one in its place since.

    identity: its inode, and when that changed last; (0, 0) where there is no file.
    """

    path: Path
    identity: tuple[int, int]

    @classmethod
    def at(cls, path: Path) -> SocketFile:
        """Return what is at a path now."""
        try:
            status = path.stat()
        except OSError:
            return cls(path, (0, 0))
        return cls(path, (status.st_ino, status.st_ctime_ns))


class ChannelOwner(Protocol):
    """The list of services, as far as a channel knows it."""

    websockets: ClientCounter
    """Where the sockets of clients are counted."""

    def socket_ended(self, report: wire.Ended) -> None:
        """Note the end of a socket that was handed over."""

    def channel_draining(self, channel: Channel) -> None:
        """Note that a service takes no more sockets, and still reports ends."""

    def channel_ended(self, channel: Channel) -> None:
        """Forget a channel."""

    def not_understood(self, file: SocketFile, why: object) -> None:
        """Connect to a service no more: it speaks another language, and that does not change."""


class Channel:
    """One process of the service, from the gateway's greeting to the end of either.

    file: that was connected to. sock: connected, and non-blocking. peer: the process at its other end.

    ``live`` counts the sockets that the process has. ``is_ready`` tells whether it takes more.
    """

    def __init__(self, owner: ChannelOwner, file: SocketFile, sock: socket.socket, peer: PeerCredentials) -> None:
        self.file = file
        self.pid = peer.pid
        self.live = 0
        self.is_ready = False
        self.is_settled = asyncio.Event()
        """Set when the service has told of the sockets that it has, or will not."""
        self._owner = owner
        self._sock = sock
        self._peer = peer
        self._is_greeted = self._is_closing = False
        self._live_to_come = 0  # messages about sockets that the service had before
        self._offered: dict[str, tuple[asyncio.Future[str], Slot]] = {}
        self._doubtful: dict[str, str] = {}  # sockets whose reply is not awaited any more, and their clients
        self._opening: set[str] = set()  # sockets that were taken, and whose offer does not know it yet
        self._early: dict[str, wire.Ended] = {}  # the reports of those of them that have ended already
        self._adopted: Counter[str] = Counter()  # by client
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def load(self) -> int:
        """How many sockets it has, those under way with them."""
        return self.live + len(self._offered) + len(self._doubtful)

    def send(self, message: bytes, descriptor: int) -> None:
        """Send a socket. Raises OSError; BlockingIOError when the service does not read."""
        self._sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _DESCRIPTOR.pack(descriptor))])

    async def reply(self, id: str, slot: Slot, timeout: float) -> str:
        """Wait until the service has taken a socket, and its slot; return why it has not, or nothing.

        timeout: seconds. Raises UpstreamError and UpstreamTimeout; after those, and when this is cancelled, the service
        may have the socket, and the slot is counted until it says that it has not.
        """
        reply: asyncio.Future[str] = self._loop.create_future()
        self._offered[id] = reply, slot
        timer = self._loop.call_later(timeout, self._expire, reply, timeout)
        try:
            return await reply
        finally:
            timer.cancel()
            if self._offered.pop(id, None) is not None:
                self._doubtful[id] = slot.hand_over()
            self._opening.discard(id)
            if (report := self._early.pop(id, None)) is not None:  # in the next turn: the caller logs the opening first
                self._loop.call_soon(self._owner.socket_ended, report)

    def end(self, why: str) -> None:
        """End the channel. What waits for a reply gets an error: the service may own the socket.

        why: for the log; empty where there is nothing to say.
        """
        if self._sock.fileno() < 0:
            return
        if why:
            logger.error("the channel to the ws service on %s (process %d) ends: %s", self.file.path, self.pid, why)
        self.is_ready = False
        self.is_settled.set()
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        for reply, _ in self._offered.values():
            if not reply.done():
                reply.set_exception(
                    UpstreamError("The ws service went away while it took the connection over.", is_transient=True)
                )
        self._offered.clear()
        for key, count in (*self._adopted.items(), *((key, 1) for key in self._doubtful.values())):
            self._owner.websockets.leave(key, count)
        self._adopted.clear()
        self._doubtful.clear()
        self._owner.channel_ended(self)

    def close(self) -> None:
        """End the channel, but not before everything is read that the service has sent."""
        if self._sock.fileno() >= 0:
            self._is_closing = True
            self._sock.shutdown(socket.SHUT_RDWR)  # what it reports from here on it keeps for the next gateway
            self._read(_MAX_FINAL_READS)
            self.end("")

    # -- inside

    def _expire(self, reply: asyncio.Future[str], timeout: float) -> None:
        if not reply.done():
            reply.set_exception(
                UpstreamTimeout(
                    f"The ws service did not take the connection over within {timeout:g} s.",
                    detail=f"the ws service (process {self.pid}) did not take the socket within {timeout:g} s",
                )
            )

    def _readable(self) -> None:
        self._read(_MAX_READS)

    def _read(self, count: int) -> None:
        for _ in range(count):
            if self._sock.fileno() < 0:
                return
            try:
                data = self._sock.recv(wire.MAX_MESSAGE + 1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._peer_ended()
                return
            try:
                self._handle(wire.decode(data))
            except wire.WireError as error:
                self._owner.not_understood(self.file, error)
                self.end(f"it sent a message that cannot be read: {error}")

    def _handle(self, message: wire.Message) -> None:
        match message:
            case wire.Hello() if not self._is_greeted:
                self._is_greeted = self.is_ready = True
                self._expect_live(message.live)
                logger.info(
                    "the ws service on %s (process %d) takes WebSockets over; it holds %d that live on",
                    self.file.path,
                    self.pid,
                    message.live,
                )
            case wire.Live(about):
                key = client_key(about.client)
                self._owner.websockets.enter(key)
                self._count_in(key)
                self._expect_live(self._live_to_come - 1)
            case wire.Adopted(id):
                self._count_in(self._resolve(id, ""))
            case wire.Refused(id, reason):
                self._resolve(id, reason or "it gave no reason")
            case wire.Ended(about):
                self._count_out(client_key(about.client))
                if about.id in self._opening:
                    self._early[about.id] = message
                else:
                    self._owner.socket_ended(message)
            case wire.Closing():
                self.is_ready = False
                self._owner.channel_draining(self)
            case _:
                raise wire.WireError(f"{type(message).__name__} is out of place")

    def _resolve(self, id: str, refusal: str) -> str:
        """Give a reply to the offer that waits for it; return the client of a socket that was taken, to count it."""
        if id in self._offered:
            reply, slot = self._offered.pop(id)
            if not reply.done():
                reply.set_result(refusal)
                if not refusal:
                    self._opening.add(id)
            return "" if refusal else slot.hand_over()
        try:
            key = self._doubtful.pop(id)
        except KeyError:
            raise wire.WireError(f"it decides on a socket that it was not offered: {id}") from None
        if refusal:
            self._owner.websockets.leave(key)
        return key

    def _expect_live(self, count: int) -> None:
        self._live_to_come = count
        if count <= 0:
            self.is_settled.set()

    def _count_in(self, key: str) -> None:
        self.live += 1
        self._adopted[key] += 1

    def _count_out(self, key: str) -> None:
        if not self._adopted[key]:
            raise wire.WireError(f"it reports the end of a socket that it does not have, of {key}")
        self.live -= 1
        self._adopted[key] -= 1
        if not self._adopted[key]:
            del self._adopted[key]
        self._owner.websockets.leave(key)

    def _peer_ended(self) -> None:
        if self._is_closing:
            pass
        elif not self._is_greeted:
            why = _NOT_GREETED
            if self._peer.uid != os.geteuid():  # then it is root: others are not connected to
                why = f"it runs as root, and takes nothing from user {os.geteuid()}: run both as the same user"
            logger.warning("the ws service on %s (process %d) is not understood: %s", self.file.path, self.pid, why)
            self._owner.not_understood(self.file, why)
        elif self.live:
            logger.warning(
                "the ws service (process %d) is gone, and %d sockets that were handed over to it with it",
                self.pid,
                self.live,
            )
        else:
            logger.info("the ws service (process %d) is gone", self.pid)
        self.end("")
