"""An adopted socket whose path is the hub's: the hub's own connection, whose end is reported to the gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from ws_service.handoff import protocol as wire
from ws_service.handoff.socket_report import SocketReport
from ws_service.hub.handshake import ConnectionHub
from ws_service.hub.websocket import HubSocket
from ws_service.websocket.resources import Resources


class AdoptedHubSocket(HubSocket):
    """A connection to the hub that the gateway has handed over.

    message: what the gateway has sent with it. adopted: the client's socket.
    connections: uvicorn's own set of what to close at a stop.
    on_begin: called when it is a connection. on_end: called once after that, with the report.
    """

    __slots__ = ("_message", "_on_begin", "_on_end", "_report", "about")

    def __init__(
        self,
        message: wire.Open,
        adopted: socket.socket,
        hub: ConnectionHub,
        resources: Resources,
        connections: set[Any],
        on_begin: Callable[[AdoptedHubSocket], None],
        on_end: Callable[[AdoptedHubSocket, wire.Ended], None],
    ) -> None:
        super().__init__(hub, connections, resources, send=message.send)
        self.about = message.socket
        self._message: wire.Open | None = message
        self._report = SocketReport(message.socket, adopted)
        self._on_begin, self._on_end = on_begin, on_end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answer the handshake. A failure is reported too."""
        message, self._message = self._message, None
        assert message is not None
        self._transport = transport  # type: ignore[assignment]
        try:
            self._begin_with(transport, message)
        except Exception as error:
            self.failed("connection_made", error)
        self._on_begin(self)

    def _begin_with(self, transport: asyncio.BaseTransport, message: wire.Open) -> None:
        self._report.begin(len(message.leftover))
        self.input.count_for(self.about.client)
        super().connection_made(transport)
        if message.leftover:
            self.input.keep(message.leftover)
        if not self.is_gone:
            self.begin(message.head, self.about.client)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end."""
        report = self._report.end(self, self._incoming, exc)
        try:
            super().connection_lost(exc)
        finally:
            self._on_end(self, report)
