"""The processes of the service that adopt sockets on this host: found by their socket files, and kept connected."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path

from proxy.net.client_limits import ClientCounter
from proxy.websocket.handoff_channel import Channel, SocketFile
from ws_service.handoff import protocol as wire
from ws_service.net.peer_credentials import peer_credentials

DISCOVERY_INTERVAL = 1.0
"""Seconds between two searches for services that have come. A handshake that finds none begins one at once, and does
not wait for the result."""

SHORTEST = 0.1
"""And at the least between two that handshakes begin: to ask for each name takes half as long as a handshake."""

_SETTLE_TIMEOUT = 0.5
"""Seconds that a start waits for the answers of services that are there, and for what they have: 10,000 sockets take
a fifth of them."""


class Services:
    """Channels to the processes of the service.

    path: of the first process's socket file (``protocol.socket_path`` has those of others); None has no services.
    websockets: where the clients' sockets are counted that the services have, or may have.
    on_ended: called with the report of each socket that has ended.

    ``absence`` says why there is no service: a counter's name, and a sentence for the operator.
    """

    def __init__(self, path: Path | None, websockets: ClientCounter, on_ended: Callable[[wire.Ended], None]) -> None:
        self.path = path
        self.websockets = websockets
        self.absence = ("no socket file", f"there is no socket file {path}; is the ws service running?")
        self._on_ended = on_ended
        self._channels: dict[Path, Channel] = {}
        self._draining: set[Channel] = set()
        self._rejected: dict[Path, SocketFile] = {}
        # Each is asked for by its name: another user of the folder may fill it with a million others.
        self._candidates = [] if path is None else [wire.socket_path(path, n) for n in range(wire.MAX_WORKERS)]
        self._searched = -inf  # when, in seconds of the loop's clock
        self._is_retired = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def channels(self) -> list[Channel]:
        """All of them, those of services that stop with them."""
        return [*self._channels.values(), *self._draining]

    def least_busy(self) -> Channel | None:
        """Return the channel of the service that has the fewest sockets; None where none takes any."""
        ready = (channel for channel in self._channels.values() if channel.is_ready and not self._is_retired)
        return min(ready, key=lambda channel: channel.load, default=None)

    @property
    def load(self) -> int:
        """How many sockets they have, those under way to them too; those of services that stop not counted."""
        return sum(channel.load for channel in self._channels.values())

    @property
    def is_ready(self) -> bool:
        """Whether one of them takes sockets."""
        return self.least_busy() is not None

    async def start(self) -> None:
        """Connect to services, now and whenever some have come.

        Those that are there are ready when it returns, and it is known which sockets they have.
        """
        if self.path is not None:
            self._discover_periodically()
            await self._settled()

    def resume(self) -> None:
        """Connect to services as after ``start``, from now on; the answers come later."""
        self._is_retired = False
        if self._timer is not None:
            self._timer.cancel()
        self._discover_periodically()

    def retire(self) -> None:
        """Connect to none any more, and let each channel go once its service has no socket that was handed over."""
        self._is_retired = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._let_go_periodically()

    async def refresh(self) -> None:
        """Connect to services that have just come; those that are there are ready when it returns."""
        if self.path is not None and not self._is_retired:
            (self.discover if self.least_busy() is None else self.discover_if_due)()
            await self._settled()

    def close(self) -> None:
        """Close every channel. The sockets stay with the services; the next gateway learns of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for channel in self.channels:
            channel.close()

    def discover_if_due(self) -> None:
        """Connect as ``discover`` does, unless that was done a moment ago and no service has ended since."""
        if not self._is_retired and asyncio.get_running_loop().time() - self._searched >= SHORTEST:
            self.discover()

    def discover(self) -> None:
        """Connect to every socket file that has no channel yet. The answers come later."""
        assert self.path is not None
        self._searched = asyncio.get_running_loop().time()
        if sys.platform != "linux":
            self.absence = "system", "this system cannot pass sockets that way; it takes Linux"
            return
        try:
            paths = [path for path in self._candidates if _exists(path)]
        except OSError as error:  # no descriptor is left, or no right; the next search may find out more
            self.absence = "not answered", f"the folder of {self.path} cannot be read: {error.strerror or error}"
            return
        if not paths:
            self.absence = "no socket file", f"there is no socket file {self.path}; is the ws service running?"
        for path in paths:
            if path not in self._channels and self._rejected.get(path) != SocketFile.at(path):
                self._connect(path)

    # -- called by the channels

    def socket_ended(self, report: wire.Ended) -> None:
        """Pass the report on."""
        self._on_ended(report)

    def channel_draining(self, channel: Channel) -> None:
        """Read a service that stops to its end; another one may be at its path at any time."""
        self.channel_ended(channel)
        self._draining.add(channel)

    def channel_ended(self, channel: Channel) -> None:
        """Forget a channel."""
        self._searched = -inf
        self._draining.discard(channel)
        if self._channels.get(channel.file.path) is channel:
            del self._channels[channel.file.path]

    def not_understood(self, file: SocketFile, why: object) -> None:
        """Connect to a socket file no more until another one is in its place.

        The answer of its service cannot change, and each connection is a line in its log.
        """
        self._rejected[file.path] = file
        self.absence = "not understood", f"the service on {file.path} is not understood: {why}"

    # -- inside

    async def _settled(self) -> None:
        """Wait, not for long, until the services that are there have answered."""
        try:
            async with asyncio.timeout(_SETTLE_TIMEOUT):
                for channel in list(self._channels.values()):
                    await channel.is_settled.wait()
        except TimeoutError:
            pass  # it is busy; the tunnel carries until it answers

    def _discover_periodically(self) -> None:
        self.discover()
        self._timer = asyncio.get_running_loop().call_later(DISCOVERY_INTERVAL, self._discover_periodically)

    def _let_go_periodically(self) -> None:
        """Close the channels that have nothing more to tell."""
        for channel in self.channels:
            if not channel.load:
                channel.close()
        if self.channels:
            self._timer = asyncio.get_running_loop().call_later(DISCOVERY_INTERVAL, self._let_go_periodically)

    def _connect(self, path: Path) -> None:
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:  # no descriptor is left; the next search may find one
            self.absence = "not answered", f"the service on {path} cannot be asked: {error.strerror or error}"
            return
        sock.setblocking(False)
        file = SocketFile.at(path)  # before: what takes its place meanwhile is another one
        try:
            sock.connect(str(path))
            peer = peer_credentials(sock)
            if not peer.is_trusted:
                sock.close()
                users = f"the service on {path} runs as user {peer.uid}, this as user {os.geteuid()}"
                self.absence = "not trusted", users
                self._rejected[path] = file
                return
            sock.send(wire.encode(wire.Hello()))
        except OSError as error:
            sock.close()
            self.absence = "not answered", f"no service answers on {path}: {error.strerror or error}"
            return
        self.absence = "no greeting", f"the service on {path} (process {peer.pid}) has not answered the greeting yet"
        self._channels[path] = Channel(self, file, sock, peer)


def _exists(path: Path) -> bool:
    """Tell whether anything is at a path. Raises OSError."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True
