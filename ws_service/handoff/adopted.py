"""An adopted socket: uvicorn's own WebSocket protocol, made where there was no HTTP before it.

At an upgrade uvicorn's HTTP protocols, all of them, make a WebSocket protocol, give it the transport, and feed it the
head that they have read. This module does the same with the head that the gateway has read. So an adopted socket has no
HTTP protocol, and no second request is read from it.

What all WebSocket connections have in common is in ``ws_service.websocket.connection``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ws_service.handoff import protocol as wire
from ws_service.handoff.socket_report import SocketReport
from ws_service.websocket.connection import Connection
from ws_service.websocket.library import lent_state, library_class
from ws_service.websocket.resources import Resources


class Adopted(Connection):
    """A connection that the gateway has handed over.

    message: what the gateway has sent with it. adopted: the client's socket.
    config, server_state, app_state: uvicorn's own, of the running server.
    on_begin: called when it is a connection. on_end: called once after that, with the report.

    ``about`` is what the log of a gateway needs.
    """

    def __init__(
        self,
        message: wire.Open,
        adopted: socket.socket,
        resources: Resources,
        on_begin: Callable[[Adopted], None],
        on_end: Callable[[Adopted, wire.Ended], None],
        *,
        config: uvicorn.Config,
        server_state: uvicorn.server.ServerState,
        app_state: dict[str, Any],
    ) -> None:
        library = library_class(config)(config=config, server_state=lent_state(server_state), app_state=app_state)
        connections: set[Any] = server_state.connections
        super().__init__(library, connections, resources, handshake=message.handshake, send=message.send)
        self.about = message.socket
        self._on_begin, self._on_end = on_begin, on_end
        self._message = message
        self._report = SocketReport(message.socket, adopted)
        # The gateway has decided which client it is; the forwarding headers that it wrote must not be read again.
        if isinstance(self._endpoint.app, ProxyHeadersMiddleware):
            self._endpoint.app = self._endpoint.app.app

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do what uvicorn does at an upgrade: feed the head to the WebSocket protocol. A failure is reported too."""
        self._transport = cast(asyncio.Transport, transport)
        message = self._message
        del self._message  # the library keeps the head; once is enough
        try:
            self._begin(transport, message)
        except Exception as error:
            self.failed("connection_made", error)
        self._on_begin(self)

    def _begin(self, transport: asyncio.BaseTransport, message: wire.Open) -> None:
        self._report.begin(len(message.leftover))
        self.input.count_for(self.about.client)
        super().connection_made(transport)
        library = self._library
        library.scheme = "wss" if message.is_secure else "ws"
        known: tuple[str, int] | None = library.client
        if known is None or known[0] != self.about.client:  # None for a unix socket: uvicorn has no address of it
            library.client = (self.about.client, 0)
        if message.leftover:
            self.input.keep(message.leftover)
        try:
            head = _with_lower_case_names(message.head)
        except ValueError as error:
            self.refuse(400, f"the gateway has handed over what is no handshake: {error}")
        else:
            self.feed_head(head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, and let the library end it."""
        report = self._report.end(self, self._library, exc)
        try:
            super().connection_lost(exc)
        finally:
            self._on_end(self, report)


def _with_lower_case_names(head: bytes) -> bytes:
    """Write the names of a head's fields in lower case, as uvicorn's HTTP protocols do before an upgrade.

    ASGI promises them so, and the WebSocket libraries pass on what they get.
    Raises ValueError for what is no head of a handshake.
    """
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    parts = [field.partition(b":") for field in lines]
    if not line.startswith(b"GET ") or not all(name and colon for name, colon, _ in parts):
        raise ValueError(repr(head[:60]))
    return b"\r\n".join([line, *(name.lower() + colon + value for name, colon, value in parts), b"", b""])
