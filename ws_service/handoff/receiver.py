"""The gateways that hand sockets over, the sockets that they have handed over, and reports of how those ended.

The messages on a channel are in ``protocol``; ``docs/handoff.md`` draws the conversation. How a socket becomes a
connection is in ``adopted``, and in ``adopted_hub`` for the paths of the hub.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any

import uvicorn

from ws_service.handoff import protocol as wire
from ws_service.handoff.adopted import Adopted
from ws_service.handoff.adopted_hub import AdoptedHubSocket
from ws_service.handoff.socket_file import Claim
from ws_service.hub.handshake import ConnectionHub
from ws_service.hub.paths import is_websocket, path_of
from ws_service.net.accept_loop import AcceptLoop
from ws_service.net.descriptors import accept_failure
from ws_service.net.peer_credentials import peer_credentials
from ws_service.websocket.resources import Resources

log = logging.getLogger(__name__)

_Socket = Adopted | AdoptedHubSocket

_MAX_QUEUED = 16 << 20
"""Bytes of reports that wait for a gateway which does not read them; with more its channel is cut, and the ends of its
sockets are reported to the next gateway."""

_MAX_UNREPORTED = 4096
"""Reports that wait while no gateway is connected, as during a restart of the only one. Older ones are dropped."""

_BATCH = 64
"""Messages read from one gateway, and gateways accepted, before other callbacks run."""

_MAX_CHANNELS = 64
"""Gateways at once: those that share a port (``gateway.reuse_port``), and during a restart one more."""

_HELLO_TIMEOUT = 5.0
"""Seconds for a gateway to greet, which it does as it connects."""

_FLUSH_TIMEOUT = 1.0
"""Seconds for the last reports to go out when the service stops."""


class Handoff:
    """What this process has adopted, and the gateways that it reports to.

    The end of an adopted socket is reported to one gateway: the one that handed it over or, when that one is gone,
    another. While there is none, the sockets that live, and the reports, wait for the next gateway.

    resources: what all connections of the process share.
    config, server_state, app_state: uvicorn's own, of the running server.
    hub: gets the sockets whose path is its own; None: there is none, and all are the app's.
    """

    def __init__(
        self,
        claim: Claim,
        resources: Resources,
        config: uvicorn.Config,
        server_state: uvicorn.server.ServerState,
        app_state: dict[str, Any],
        hub: ConnectionHub | None = None,
    ) -> None:
        self._claim = claim
        self._loop = asyncio.get_running_loop()
        self._channels: set[_Channel] = set()
        self._sockets: dict[_Socket, _Channel | None] = {}
        self._unreported: deque[wire.Ended] = deque(maxlen=_MAX_UNREPORTED)
        self._adoptions: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self._resources = resources
        self._hub = hub
        self._uvicorn: dict[str, Any] = {"config": config, "server_state": server_state, "app_state": app_state}
        self._accepting = AcceptLoop([claim.socket], self._accepted, self._accept_failed, batch=_BATCH)

    @property
    def adopted(self) -> int:
        """How many adopted sockets live."""
        return len(self._sockets)

    async def stop(self) -> None:
        """Adopt no more, and say so. When it returns, everything that was adopted is uvicorn's to close."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._accepting.close()
        self._claim.release()
        for channel in list(self._channels):
            channel.send(wire.Closing())
        if self._adoptions:
            await asyncio.wait(self._adoptions)  # a turn of the loop or two: they wait for nothing else

    async def close(self) -> None:
        """Let the last reports go out, for a second at most, and end every channel."""
        await self.stop()
        try:
            async with asyncio.timeout(_FLUSH_TIMEOUT):
                for channel in list(self._channels):
                    await channel.is_flushed.wait()
        except TimeoutError:
            log.warning("a gateway did not take the last reports of its sockets")
        for channel in list(self._channels):
            channel.end("")

    # -- gateways

    def _accepted(self, sock: socket.socket, _: object) -> None:
        peer = peer_credentials(sock)
        if not peer.is_trusted:
            self._resources.log.say(
                "another user",
                logging.WARNING,
                "refused process %d on %s: it runs as user %d, and sockets are taken from user %d and root alone; "
                "run the gateway and the service as the same user",
                peer.pid,
                self._claim.path,
                peer.uid,
                os.geteuid(),
            )
            sock.close()
        elif len(self._channels) >= _MAX_CHANNELS:
            sentence = "refused process %d: %d gateways are connected already"
            self._resources.log.say("too many gateways", logging.ERROR, sentence, peer.pid, len(self._channels))
            sock.close()
        else:
            self._channels.add(_Channel(sock, peer.pid, self))

    def _accept_failed(self, error: OSError) -> None:  # the gateway waits in the backlog, or goes
        self._resources.log.say("accept", logging.WARNING, "cannot answer a gateway: %s", accept_failure(error))

    def greeted(self, channel: _Channel) -> None:
        """Answer a gateway's hello; hand it the sockets that have no gateway, and the reports that wait."""
        unowned = [one for one, gateway in self._sockets.items() if gateway is None]
        channel.send(wire.Hello(len(unowned)))
        self._give(unowned, channel)
        waiting = list(self._unreported)
        self._unreported.clear()
        for report in waiting:
            self._report_to_any(report)
        if self._is_stopping:
            channel.send(wire.Closing())

    def gone(self, channel: _Channel, unsent: Iterable[wire.Message]) -> None:
        """Forget a gateway, and give its sockets, and the reports that it has not read, to another one."""
        self._channels.discard(channel)
        self._give([one for one, gateway in self._sockets.items() if gateway is channel], self._successor())
        for message in unsent:
            if isinstance(message, wire.Ended):
                self._report_to_any(message)

    def _successor(self) -> _Channel | None:
        return next((channel for channel in self._channels if channel.is_greeted), None)

    def _give(self, sockets: list[_Socket], channel: _Channel | None) -> None:
        for one in sockets:
            gateway = channel if channel in self._channels else self._successor()  # telling it may have been its end
            self._sockets[one] = gateway
            if gateway is not None:
                gateway.send(wire.Live(one.about))

    # -- sockets

    def adopt(self, message: wire.Open, descriptors: list[int], channel: _Channel) -> None:
        """Make a connection of uvicorn of a descriptor, which is ours from here on."""
        if self._is_stopping:
            self._refuse(message, channel, "the service stops", descriptors)
            return
        if not descriptors:
            self._refuse(message, channel, "no socket arrived; the service may have reached its limit of open files")
            return
        try:
            adopted = socket.socket(fileno=descriptors[0])
        except OSError:
            self._refuse(message, channel, "what arrived is no socket", descriptors)
            return
        if adopted.type != socket.SOCK_STREAM:
            self._refuse(message, channel, "what arrived is no stream", [adopted.detach()])
            return
        adopted.setblocking(False)
        try:
            protocol = self._make(message, adopted, channel)
        except Exception as error:  # unanswered, the gateway would count the socket for ever
            log.error("cannot adopt a socket: %s: %s", type(error).__name__, error)
            self._refuse(message, channel, "the service failed to make a connection of it", [adopted.detach()])
            return
        task = self._loop.create_task(
            self._connect(protocol, adopted, channel), name=f"adoption of {message.socket.id}"
        )
        self._adoptions.add(task)
        task.add_done_callback(self._adoptions.discard)

    def _make(self, message: wire.Open, adopted: socket.socket, channel: _Channel) -> _Socket:
        def began(one: _Socket) -> None:
            self._began(one, channel)

        if self._hub is not None and is_websocket(path_of(message.head.partition(b" ")[2].partition(b" ")[0])):
            connections = self._uvicorn["server_state"].connections
            return AdoptedHubSocket(message, adopted, self._hub, self._resources, connections, began, self._ended)
        return Adopted(message, adopted, self._resources, began, self._ended, **self._uvicorn)

    @staticmethod
    def _refuse(message: wire.Open, channel: _Channel, why: str, descriptors: Iterable[int] = ()) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
        channel.send(wire.Refused(message.socket.id, why))

    async def _connect(self, protocol: _Socket, adopted: socket.socket, channel: _Channel) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, adopted)
        except OSError as error:
            adopted.close()
            channel.send(wire.Refused(protocol.about.id, f"the socket is broken: {error}"))

    def _began(self, one: _Socket, channel: _Channel) -> None:
        if channel in self._channels:
            self._sockets[one] = channel
            channel.send(wire.Adopted(one.about.id))
        else:  # its gateway left in the meantime
            self._give([one], self._successor())

    def _ended(self, one: _Socket, report: wire.Ended) -> None:
        channel = self._sockets.pop(one)
        if channel is not None:
            channel.send(report)
        else:
            self._report_to_any(report)

    def _report_to_any(self, report: wire.Ended) -> None:
        """Report an end to a gateway that did not have the socket, or keep it for the next."""
        successor = self._successor()
        if successor is None:
            self._unreported.append(report)
        else:
            successor.send(wire.Live(report.socket))  # it counts the socket in before it counts it out
            successor.send(report)


class _Channel:
    """One gateway: its messages in, reports out."""

    def __init__(self, sock: socket.socket, pid: int, owner: Handoff) -> None:
        self._sock = sock
        self._pid = pid
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[bytes, wire.Message]] = deque()
        self._queued = 0
        self.is_greeted = False
        self.is_flushed = asyncio.Event()
        """Set while the kernel has every report."""
        self.is_flushed.set()
        self._greeting = self._loop.call_later(_HELLO_TIMEOUT, self._has_not_greeted)
        self._loop.add_reader(sock.fileno(), self._readable)

    def send(self, message: wire.Message) -> None:
        """Send a message, or keep it until the gateway reads again."""
        data = wire.encode(message)
        self._queue.append((data, message))
        self._queued += len(data)
        if len(self._queue) == 1 and self._sock.fileno() >= 0:
            self._flush()
            if self._queue:
                self._loop.add_writer(self._sock.fileno(), self._writable)
                self.is_flushed.clear()
        elif self._sock.fileno() < 0:
            self._give_back()
        elif self._queued > _MAX_QUEUED:
            self.end("it does not read the reports")

    def end(self, why: str) -> None:
        """End the channel.

        why: for the log; empty where there is nothing to say.
        """
        if self._sock.fileno() < 0:
            return
        if why:
            log.error("the channel to the gateway (process %d) ends: %s", self._pid, why)
        self._greeting.cancel()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self.is_flushed.set()
        self._give_back()

    def _has_not_greeted(self) -> None:
        self.end(f"it did not greet within {_HELLO_TIMEOUT:g} s")

    def _give_back(self) -> None:
        unsent = [message for _, message in self._queue]
        self._queue.clear()
        self._owner.gone(self, unsent)

    def _flush(self) -> None:
        while self._queue:
            data, _ = self._queue[0]
            try:
                self._sock.send(data)
            except BlockingIOError:
                return
            except OSError:  # the gateway is gone
                self.end("")
                return
            self._queue.popleft()
            self._queued -= len(data)

    def _writable(self) -> None:
        self._flush()
        if not self._queue and self._sock.fileno() >= 0:
            self._loop.remove_writer(self._sock.fileno())
            self.is_flushed.set()

    def _readable(self) -> None:
        for _ in range(_BATCH):
            if self._sock.fileno() < 0:
                return
            try:
                data, descriptors = _receive(self._sock)
            except BlockingIOError:
                return
            except OSError:
                self.end("")
                return
            if not data:
                self.end("")
                return
            try:
                self._handle(wire.decode(data), descriptors)
            except wire.WireError as error:
                self.end(f"it sent a message that cannot be read: {error}")
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _handle(self, message: wire.Message, descriptors: list[int]) -> None:
        """Do what a message asks; takes out of ``descriptors`` what it makes its own."""
        if isinstance(message, wire.Hello) and not self.is_greeted:
            self.is_greeted = True
            self._greeting.cancel()
            self._owner.greeted(self)
        elif isinstance(message, wire.Open) and self.is_greeted:
            given, descriptors[:] = list(descriptors), []
            self._owner.adopt(message, given, self)
        else:
            raise wire.WireError(f"{type(message).__name__} is out of place")


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one message and its descriptors. Raises OSError."""
    data, descriptors, flags, _ = socket.recv_fds(sock, wire.MAX_MESSAGE + 1, 1, socket.MSG_CMSG_CLOEXEC)
    if flags & socket.MSG_CTRUNC and descriptors:  # more than one: the rest is closed by the kernel
        os.close(descriptors.pop())
    return data, descriptors
