"""Running the user's app for one WebSocket: what it answers the handshake with, and what it takes."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable
from typing import Any, Protocol

from ws_service.websocket.input_buffer import InputBuffer

_STATUSES = {"websocket.accept": 101, "websocket.close": 403}
"""By the first message of an app (ASGI, WebSocket connection scope)."""

_LIBRARIES = ("starlette", "uvicorn", "websockets")


class EndpointOwner(Protocol):
    """The connection, as far as its endpoint knows it."""

    status: int
    """What the handshake was answered with; 0 before."""

    @property
    def is_gone(self) -> bool:
        """Whether the connection is lost, or closing."""

    async def closed(self) -> None:
        """Wait until the connection is lost."""

    def say(self, kind: str, sentence: str, *arguments: object, level: int) -> None:
        """Write a line about this connection, unless one of its kind was written lately."""


class Endpoint:
    """An ASGI app around the user's, for one connection.

    app: the user's, with what uvicorn puts around it. client: what the app's client sends.
    """

    __slots__ = ("_client", "_has_disconnected", "_owner", "app")

    def __init__(self, app: Any, owner: EndpointOwner, client: InputBuffer) -> None:
        self.app = app
        self._owner = owner
        self._client = client
        self._has_disconnected = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the app; note what the handshake is answered with, and what the app takes."""
        owner = self._owner

        def noted_send(message: Any) -> Any:
            if owner.status:
                return send(message)
            owner.status = _STATUSES.get(message["type"]) or message.get("status", 500)
            return self._accept(scope, send(message)) if owner.status == 101 else send(message)

        async def noted_receive() -> Any:
            message = await receive()
            if message["type"] == "websocket.receive" and self._client.memory is not None:
                self._client.memory.taken()
            elif message["type"] == "websocket.disconnect":
                self._has_disconnected = True
            return message

        try:
            await self.app(scope, noted_receive, noted_send)
            if owner.status not in (0, 101) and owner.is_gone:
                # uvicorn's sans-I/O protocol logs an app that returns earlier as one that has not answered.
                await owner.closed()
        except Exception as error:
            if not ((owner.is_gone or self._has_disconnected) and is_disconnect(error)):
                raise
            owner.say(
                "disconnect",
                "the endpoint went on when its client had gone (%s)",
                type(error).__name__,
                level=logging.INFO,
            )
        finally:
            owner.status = owner.status or 500

    async def _accept(self, scope: Any, sending: Awaitable[None]) -> None:
        """Send the accept, then read what the client has sent already, as if it had waited for the 101."""
        await sending
        await self._client.handshake_sent()
        if not self._owner.is_gone:
            client = scope.get("client")
            self._client.accept(client[0] if client else "unix")


def is_disconnect(error: BaseException) -> bool:
    """Tell whether an exception says no more than that the client has gone: raised by a library, not by the app."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_disconnect, error.exceptions))
    if type(error).__name__ in ("WebSocketDisconnect", "ClientDisconnect", "ClientDisconnected", "ConnectionClosedOK"):
        return True
    if not isinstance(error, RuntimeError):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "")).partition(".")[0] in _LIBRARIES
