"""Connections to the service's own listener: the gateway's, and those of whoever else is on this host.

uvicorn gives a connection that says nothing all the time in the world. Here
a head has a deadline, and those without one are few: the oldest is closed
for the next, so a crowd that says nothing keeps nobody out (issue 9).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ws_service.connection import Connection, Resources, lent_state
from ws_service.limited_log import LimitedLog

HEAD = 15.0
"""Seconds for the head of a request, from connecting or from the end of the request before it. The gateway leaves an
unused connection after 1.5 s. Precedents: nginx 60s, Apache 20s, uvicorn none for the first."""

MAX_SILENT = 256
"""Connections whose head has not come. Heads of the gateway come with the connection, so it is hardly ever one."""

_PERIOD = 1.0
"""Seconds between two looks for late ones; one timer for all."""


class Arrivals:
    """The connections whose next head has not come yet, the oldest first.

    limited_log: for whatever a client can cause.
    """

    def __init__(self, limited_log: LimitedLog) -> None:
        self._log = limited_log
        self._since: dict[GuardedHTTP, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, one: GuardedHTTP) -> None:
        """Count from now; close the oldest when there are too many."""
        loop = asyncio.get_running_loop()
        self._since.pop(one, None)
        self._since[one] = loop.time()
        if len(self._since) > MAX_SILENT:
            self._close([next(iter(self._since))])
            self._log.say(
                "silent",
                logging.WARNING,
                "more than %d connections say nothing; the oldest are closed for new ones",
                MAX_SILENT,
            )
        if self._timer is None:
            self._timer = loop.call_later(_PERIOD, self._look)

    def come(self, one: GuardedHTTP) -> None:
        """Forget one, because its head is there or it has ended. Safe to call twice."""
        self._since.pop(one, None)

    def __len__(self) -> int:
        return len(self._since)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() - HEAD
        self._close([one for one, _ in takewhile(lambda item: item[1] <= latest, self._since.items())])
        self._timer = loop.call_later(_PERIOD, self._look) if self._since else None

    def _close(self, late: Iterable[GuardedHTTP]) -> None:
        for one in late:
            self._since.pop(one, None)
            one.transport.abort()


class GuardedHTTP(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's HTTP protocol, whichever is installed, with a deadline for heads."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        self._arrivals: Arrivals = self.config.resources.arrivals
        self._inner: Any = self.app  # type: ignore[has-type]
        self.app = self._served
        super().connection_made(transport)
        self._arrivals.wait(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._arrivals.come(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, *arguments: Any) -> None:
        """Leave the connection to the WebSocket protocol."""
        self._arrivals.come(self)
        super().handle_websocket_upgrade(*arguments)

    async def _served(self, scope: Any, receive: Any, send: Any) -> None:
        self._arrivals.come(self)
        try:
            await self._inner(scope, receive, send)
        finally:
            if not self.transport.is_closing():
                self._arrivals.wait(self)


class Tunnelled(Connection):
    """A WebSocket connection that came through our listener: most likely the end of a tunnel of the gateway.

    Whoever is at the other end of the tunnel is the gateway's to cut, by its
    own settings; so neither the answer nor the reading has a deadline here.
    """

    def __init__(
        self, config: uvicorn.Config, server_state: uvicorn.server.ServerState, app_state: dict[str, Any]
    ) -> None:
        library = self.library()(config=config, server_state=lent_state(server_state), app_state=app_state)
        connections: set[Any] = server_state.connections
        resources: ListenerResources = config.resources  # type: ignore[attr-defined] # put there by the server
        super().__init__(library, connections, resources, handshake=None, send=None)

    @staticmethod
    def library() -> Any:
        """Return the WebSocket protocol that uvicorn would have chosen itself."""
        from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol  # says a warning in old versions

        assert AutoWebSocketsProtocol is not None, "uvicorn[standard] brings a WebSocket library"
        return AutoWebSocketsProtocol

    def data_received(self, data: bytes) -> None:
        """Take the head from uvicorn's HTTP protocol, which hands it over like this; after it, reading is buffered."""
        try:
            self.feed_head(data)
        except Exception as error:
            self._failed("data_received", error)


class ListenerResources(Resources):
    """What all connections of one process share, those to the listener included."""

    def __init__(self, memory_limit: int) -> None:
        super().__init__(memory_limit)
        self.arrivals = Arrivals(self.log)
