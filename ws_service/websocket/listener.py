"""Connections to the service's own listener: the gateway's, and those of other programs on this host.

uvicorn has no limit for the time and the memory of a request's head. Here a head has a deadline and a size, and
connections without one are few: the oldest is closed for the next, so connections that send nothing keep none out
(issue 9).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ws_service.logs.limited_log import LimitedLog
from ws_service.net.periodic_sweep import Pass, PeriodicSweep
from ws_service.websocket.connection import Connection
from ws_service.websocket.endpoint import is_disconnect
from ws_service.websocket.library import MAX_HEAD, lent_state
from ws_service.websocket.resources import Resources

HEAD = 15.0
"""Seconds for the head of a request, from connecting or from the end of the request before it. The gateway leaves an
unused connection after 1.5 s. Precedents: nginx 60s, Apache 20s, uvicorn none for the first."""

MAX_SILENT = 256
"""Connections whose first head has not come. The gateway's come with their connection, so it is hardly ever one."""

MAX_IDLE = 2048
"""Connections whose next head has not come. A gateway has as many as requests were under way at once (1024 by default),
and to close one that it is about to use would fail a request; uvicorn closes each after 5 s."""

ABORT = "ws_service.abort"
"""The extension of an HTTP scope that cuts its connection: ASGI has no such thing, and a response to a client that
takes nothing cannot be ended otherwise."""

ChooseSocket = Callable[[bytes, dict[str, Any], uvicorn.Config], Callable[..., Any] | None]
"""Returns what makes the protocol for a handshake, of which it gets the target and the scope; None: uvicorn's own
choice."""

_PERIOD = 1.0
"""Seconds between two sweeps for late ones."""


class AwaitedHeads:
    """Connections whose next head has not come yet, the oldest first.

    limited_log: for whatever a client can cause. most: how many there may be.
    """

    def __init__(self, limited_log: LimitedLog, most: int) -> None:
        self._log = limited_log
        self._most = most
        self._since: dict[LimitedHTTP, float] = {}
        self._sweep = PeriodicSweep(self._pass)

    def add(self, one: LimitedHTTP) -> None:
        """Count from now; close the oldest when there are too many."""
        self._since.pop(one, None)
        self._since[one] = asyncio.get_running_loop().time()
        if len(self._since) > self._most:
            self._close([next(iter(self._since))])
            self._log.say(
                "silent",
                logging.WARNING,
                "more than %d connections send nothing; the oldest are closed for new ones",
                self._most,
            )
        self._sweep.start(_PERIOD)

    def remove(self, one: LimitedHTTP) -> None:
        """Forget one, because its head is there or it has ended. Safe to call twice."""
        self._since.pop(one, None)

    def __len__(self) -> int:
        return len(self._since)

    def _pass(self, _: float) -> Pass:
        latest = asyncio.get_running_loop().time() - HEAD
        self._close([one for one, _ in takewhile(lambda item: item[1] <= latest, self._since.items())])
        yield
        return _PERIOD if self._since else None

    def _close(self, late: Iterable[LimitedHTTP]) -> None:
        for one in late:
            self._since.pop(one, None)
            one.transport.abort()


class LimitedHTTP(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP protocol, whichever is installed, with a deadline and a size for heads.

    A fault of one connection is logged and ends that one: none disturbs a stop.
    """

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        self._resources: ListenerResources = self.config.resources
        self._awaited = self._resources.first
        self._inner: Any = self.app  # type: ignore[has-type]
        self._unfinished = 0  # bytes read of a head that is not complete
        self._is_in_head = self._is_refused = False
        self.app = self._served
        super().connection_made(transport)
        self._awaited.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._awaited.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, and bound what is held of a head; h11 has a bound of its own."""
        if self._is_refused:
            return
        super().data_received(data)
        if self._is_in_head:
            self._unfinished += len(data)
            if self._unfinished > MAX_HEAD and not self.transport.is_closing():
                self._is_refused = True  # a close on what is still sent would be a reset, and take the answer away
                self.transport.write(_TOO_LARGE)
                self.transport.write_eof()

    def on_message_begin(self) -> None:
        """Hear from httptools that a head begins."""
        self._unfinished, self._is_in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hear from httptools that it is complete."""
        self._is_in_head = False
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of a head from httptools; a trailer is none (RFC 9110, 6.5.1), and of those there may be any."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_response_complete(self) -> None:
        """Wait for the next head: from now on, for the app may go on when it has answered (a background task)."""
        if not self.transport.is_closing():
            self._awaited = self._resources.idle
            self._awaited.add(self)
        super().on_response_complete()

    def handle_websocket_upgrade(self, *arguments: Any) -> None:
        """Leave the connection to the WebSocket protocol: the hub's, where the path is one of the hub's."""
        self._awaited.remove(self)
        if (choose := self._resources.choose_socket) is not None:
            target = arguments[0].target if arguments else self.url  # of h11, of httptools
            chosen = choose(target, self.scope, self.config)
            if chosen is not None:
                self.ws_protocol_class = chosen
        super().handle_websocket_upgrade(*arguments)

    def shutdown(self) -> None:
        """Close at a stop, once the request that is under way is answered. Raises nothing: others wait."""
        try:
            super().shutdown()
        except Exception as error:
            self._resources.log.say(
                "http shutdown",
                logging.ERROR,
                "a connection could not be closed at the stop (%s: %s); it is cut, others are not touched",
                type(error).__name__,
                error,
            )
            self.transport.abort()

    async def _served(self, scope: Any, receive: Any, send: Any) -> None:
        self._awaited.remove(self)
        if scope["type"] == "http":
            scope["extensions"] = {**scope.get("extensions", {}), ABORT: self.transport.abort}
        try:
            await self._inner(scope, receive, send)
        except Exception as error:
            if not (self.transport.is_closing() and is_disconnect(error)):
                raise
            self._resources.log.say(
                "http disconnect",
                logging.INFO,
                "%s: the app went on when its client had gone (%s)",
                scope["path"],
                type(error).__name__,
            )


_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Tunnelled(Connection):
    """A WebSocket connection that came through the listener: most likely the end of a tunnel of the gateway.

    The gateway cuts a slow client at the other end of the tunnel, by its own settings; so sending has no deadline here.
    The answer has one: the gateway gives up earlier by default, and other programs might not.
    """

    def __init__(
        self, config: uvicorn.Config, server_state: uvicorn.server.ServerState, app_state: dict[str, Any]
    ) -> None:
        library = self.library()(config=config, server_state=lent_state(server_state), app_state=app_state)
        connections: set[Any] = server_state.connections
        resources: ListenerResources = config.resources  # type: ignore[attr-defined] # put there by the server
        super().__init__(library, connections, resources, handshake=resources.handshake, send=None)

    @staticmethod
    def library() -> Any:
        """Return the WebSocket protocol that uvicorn would have chosen itself."""
        from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol  # says a warning in old versions

        assert AutoWebSocketsProtocol is not None, "uvicorn[standard] brings a WebSocket library"
        return AutoWebSocketsProtocol

    def data_received(self, data: bytes) -> None:
        """Take the head from uvicorn's HTTP protocol, which hands it over like this; after it, reading is buffered."""
        self.feed_head(data)


class ListenerResources(Resources):
    """What all connections of one process share, those to the listener included.

    memory_limit: bytes, as in the settings. handshake: seconds for the app to answer a handshake to the listener.
    """

    def __init__(self, memory_limit: int, handshake: float) -> None:
        super().__init__(memory_limit)
        self.handshake = handshake
        self.first = AwaitedHeads(self.log, MAX_SILENT)
        """Connections of which no head has come."""
        self.idle = AwaitedHeads(self.log, MAX_IDLE)
        """Connections that wait for their next request."""
        self.choose_socket: ChooseSocket | None = None
        """Makes the WebSocket protocols that are not uvicorn's own choice; None: all are."""
