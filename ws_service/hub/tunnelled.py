"""Connections to the hub that came through the service's own listener: most likely the end of a tunnel of the gateway.

uvicorn's HTTP protocol has read the head, and makes a protocol of its own choice for the rest. It makes one of these
where the path is the hub's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ws_service.hub.handshake import ConnectionHub
from ws_service.hub.paths import is_websocket, path_of
from ws_service.hub.websocket import HubSocket
from ws_service.websocket.resources import Resources


class TunnelledHubSocket(HubSocket):
    """A connection of which the head is fed to ``data_received``, once; after it, reading is buffered."""

    __slots__ = ("_address",)

    def __init__(self, hub: ConnectionHub, connections: set[Any], resources: Resources, address: str) -> None:
        super().__init__(hub, connections, resources)
        self._address = address

    def data_received(self, data: bytes) -> None:
        """Take the head."""
        self.begin(data, self._address)


class Chooser:
    """Chooses what serves an upgrade at the listener.

    resources: what all connections of the process share.
    """

    def __init__(self, hub: ConnectionHub, resources: Resources) -> None:
        self._hub = hub
        self._resources = resources

    def __call__(self, target: bytes, scope: dict[str, Any], config: uvicorn.Config) -> Callable[..., HubSocket] | None:
        """Return what makes the protocol, as uvicorn makes its own; None: uvicorn's own choice serves it.

        target: of the request. scope: has its fields and its peer.
        """
        if not is_websocket(path_of(target)):
            return None
        address = _client_of(scope, config)

        def make(*, server_state: Any, **_: Any) -> TunnelledHubSocket:
            return TunnelledHubSocket(self._hub, server_state.connections, self._resources, address)

        return make


def _client_of(scope: dict[str, Any], config: uvicorn.Config) -> str:
    """Return the client's address as an app of uvicorn's would see it: with the forwarding fields of trusted peers."""
    seen = dict(scope)
    if config.proxy_headers:

        async def note(scope: Any, receive: Any, send: Any) -> None:
            seen.update(scope)

        running: Any = ProxyHeadersMiddleware(note, config.forwarded_allow_ips)
        try:
            running(seen, None, None).send(None)  # it waits for nothing
        except StopIteration:
            pass
    client = seen.get("client")
    return str(client[0]) if client else "unix"
