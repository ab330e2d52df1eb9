"""All connections of clients: their protocol factory, their options, the keep-alive timeout, and how they are closed.

``proxy.listener`` accepts the connections, and calls this for the protocol of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from proxy.config import Settings
from proxy.http1.aiohttp_server import make_server
from proxy.http1.client_connection import ClientConnection
from proxy.http1.client_socket import ClientSocket
from proxy.http1.head_checks import HeadLimits
from proxy.http1.request_handler import RequestHandler
from proxy.net.client_limits import Slot
from proxy.net.peer import Peer
from proxy.net.timers import Deadlines, SlowReaders
from proxy.net.tls_flood import TlsFloods
from ws_service.net.dead_peers import DeadPeers
from ws_service.net.periodic_sweep import PIECES_PER_TURN, Pass, PeriodicSweep

_SWEEP = 1.0
"""Seconds between two searches for connections whose keep-alive timeout has ended; a quarter of it, if that is less."""


class ConnectionManager:
    """A factory of protocols for accepted connections, and all of those that are open.

    handler: of requests. settings: of them the limits of heads, three timeouts, and the size of a buffer.

    ``on_empty`` is called when the last connection has ended after ``leave``.
    ``heads`` has the deadline of each head, ``lingering`` that of each lingering close.
    """

    def __init__(self, handler: RequestHandler, settings: Settings) -> None:
        self.loop = asyncio.get_running_loop()  # to ask for it costs a system call each time, and its clock none
        self.handler = handler
        self.settings = settings
        self.head_limits = HeadLimits.of(settings.limits)
        self.is_leaving = False
        self.tls_floods = TlsFloods()
        self.on_empty: Callable[[], None] = lambda: None
        self.heads = Deadlines[ClientConnection](ClientConnection.head_is_late)
        self.lingering = Deadlines[ClientConnection](ClientConnection.close)
        self.streaming = make_server(settings.buffer)
        self._slow_readers = SlowReaders(self._sockets)
        self._dead_peers = DeadPeers(self._sockets)
        self._connections: dict[ClientConnection, None] = {}  # oldest first
        self._idle_sweep = PeriodicSweep(self._close_timed_out)
        self._change = asyncio.Event()

    def __call__(self, announced: Peer | None = None, slot: Slot | None = None) -> ClientConnection:
        """Make the protocol of one connection.

        announced: the client that a proxy in front has announced; None: the transport knows.
        slot: what it counts as; it is released at its end. None where it is not counted.
        """
        return ClientConnection(self, announced, slot)

    def reconfigure(self, settings: Settings) -> None:
        """Serve connections that begin from here on by other settings; of timeouts, also the heads and exchanges."""
        self._slow_readers.start(settings.timeouts.send)
        if settings.buffer != self.settings.buffer:
            self.streaming = make_server(settings.buffer)
        self.settings = settings
        self.head_limits = HeadLimits.of(settings.limits)

    @property
    def connections(self) -> list[ClientConnection]:
        """Those that are open, and those whose exchange has not ended yet."""
        return list(self._connections)

    def opened(self, connection: ClientConnection) -> None:
        """Note that a connection has begun."""
        self._connections[connection] = None
        connection.idle_since = self.loop.time()
        self.heads.begin(connection, self.settings.timeouts.head)
        self._slow_readers.start(self.settings.timeouts.send)
        self._dead_peers.start()
        self._idle_sweep.start(_sweep_period(connection))

    def ended(self, connection: ClientConnection) -> None:
        """Note that a connection has ended, its exchange too."""
        self._connections.pop(connection, None)
        self._change.set()
        if self.is_leaving and not self._connections:
            self.on_empty()

    def leave(self) -> None:
        """Let each response that has not begun be the last on its connection, and say so (``Connection: close``)."""
        self.is_leaving = True

    async def close_idle(self, since: float) -> None:
        """Close the connections on which no request has been under way from ``since`` on (monotonic seconds).

        Other callbacks run in between: to close 4,000 in one turn of the loop takes 75 ms. Cancelling it leaves the
        rest open.
        """
        for number, connection in enumerate(self.connections, 1):
            connection.close_if_idle(since)
            if number % PIECES_PER_TURN == 0:
                await asyncio.sleep(0)

    @property
    def flushing(self) -> int:
        """How many clients have not taken a response yet whose exchange has ended."""
        return sum(connection.is_flushing for connection in self._connections)

    async def shutdown(self, timeout: float) -> None:
        """End all connections.

        timeout: seconds in which exchanges may end by themselves, and as many for those that are cut.
        """
        await self._served(timeout)
        self._cut()
        await self._served(timeout)
        for connection in self.connections:
            connection.close()
        self._cut()  # those that have begun meanwhile: a client that does not read may keep its connection from ending
        self._connections.clear()

    # -- inside

    async def _served(self, timeout: float) -> None:
        """Wait until no exchange is under way, but no longer than ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while any(connection.exchange is not None for connection in self._connections):
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            pass

    def _cut(self) -> None:
        for connection in self.connections:
            if connection.exchange is not None:
                connection.exchange.cut()

    def _sockets(self) -> Iterator[ClientSocket]:
        return (connection.socket for connection in self._connections)

    def _close_timed_out(self, _: float) -> Pass:
        """Close connections whose keep-alive timeout has ended."""
        now, period = self.loop.time(), _SWEEP
        for connection in self.connections:
            connection.close_if_idle(now - connection.settings.timeouts.keepalive)
            period = min(period, _sweep_period(connection))
            yield
        return period if self._connections else None


def _sweep_period(connection: ClientConnection) -> float:
    return min(_SWEEP, max(0.05, connection.settings.timeouts.keepalive / 4))
