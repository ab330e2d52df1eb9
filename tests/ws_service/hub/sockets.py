"""A connection to the hub, with a client at its other end, and a hub that writes down what it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.ws_service.adopting import Peer, head, tcp
from ws_service.hub.client_connection import ClientConnection
from ws_service.hub.counts import Counts
from ws_service.hub.encoded import Encoded
from ws_service.hub.handshake import Handshake
from ws_service.hub.limits import Limits
from ws_service.hub.topics import SlowPolicy
from ws_service.hub.websocket import HubSocket
from ws_service.websocket.resources import Resources

PATH = "/connection/websocket"


class Taker:
    """A client of the hub that writes down what it is told."""

    def __init__(self, connection: ClientConnection, handshake: Handshake) -> None:
        self.connection, self.handshake = connection, handshake
        self.taken: list[bytes] = []
        self.has_changed = asyncio.Event()
        self.ends = 0

    def receive(self, message: bytes) -> None:
        self.taken.append(message)
        self.has_changed.set()
        if message == b"fail":
            raise RuntimeError("a fault")

    def closed(self) -> None:
        self.ends += 1
        self.has_changed.set()

    async def has_taken(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.taken) < count:
                self.has_changed.clear()
                await self.has_changed.wait()


class TakingHub:
    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**limits)
        self.counts = Counts()
        self.is_closing = False
        self.clients: list[Taker] = []

    def connect(self, connection: ClientConnection, handshake: Handshake, *, answers_pings: bool = True) -> Taker:
        self.clients.append(Taker(connection, handshake))
        return self.clients[-1]


class Begun(HubSocket):
    """A connection that is fed its head as soon as it has a transport."""

    head: bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.begin(self.head, "10.0.0.7")


class SocketRig:
    def __init__(self, peer: Peer, connection: HubSocket, hub: TakingHub, connections: set[Any]) -> None:
        self.peer, self.connection, self.hub, self.connections = peer, connection, hub, connections

    @property
    def client(self) -> Taker:
        """The client of the connection."""
        return self.hub.clients[-1]

    async def opened(self) -> None:
        assert (await self.peer.head()).startswith(b"HTTP/1.1 101 ")

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            while self.connections:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(
    *fields: str,
    target: str = PATH,
    given: bytes | None = None,
    hub: Any = None,
    send: float | None = 60,
    memory: int = 64 << 20,
    shared: Resources | None = None,
) -> AsyncIterator[SocketRig]:
    """Connect; afterwards everything must have been given back.

    given: the head, None: a handshake. shared: with other connections; None: it has resources of its own.
    """
    hub = hub or TakingHub()
    connections: set[Any] = set()
    resources = shared or Resources(memory)
    async with tcp() as (sock, peer):
        connection = Begun(hub, connections, resources, send=send)
        connection.head = head(target, *fields) if given is None else given
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        rig = SocketRig(peer, connection, hub, connections)
        yield rig
        peer.writer.transport.abort()
        await rig.ended()
        if shared is None:
            assert len(resources.sweep) == len(resources.memory) == len(resources.scheduler) == 0, "all is given back"
        assert not isinstance(hub, TakingHub) or all(client.ends for client in hub.clients)


def publication(number: int, policy: SlowPolicy = SlowPolicy.LATEST, size: int = 200, topic: str = "a") -> Encoded:
    """Return a publication whose data has so many bytes, of which the first eight are its number."""
    data = b"%08d" % number + b"x" * (size - 8)
    return Encoded(topic, b"push " + data, data, number, policy)
