"""The user's app as the service runs it: one line in the log for what uvicorn would write a traceback of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ws_service.hosting.dash_parts import remove_dash
from ws_service.hosting.not_found import LOGGED
from ws_service.hosting.routes import tree
from ws_service.hosting.user_errors import described, user_traceback
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.json_response import answer_error

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For what a client can cause."""


class HostedApp:
    """The user's app as an ASGI app.

    name: ``module:attr``, for messages. app: the application, prepared by ``loader.load``.
    """

    def __init__(self, name: str, app: ASGIApp) -> None:
        self.name = name
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope. An exception of an endpoint is logged by the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        def noting(message: Message) -> Awaitable[None]:
            nonlocal has_begun
            has_begun = True
            return send(message)

        try:
            await self.app(scope, receive, noting)
        except asyncio.CancelledError:  # the deadline of a stop; a traceback for each request would help no operator
            log.warning("the request for %s did not end in time and was cancelled", scope["path"])
            if not has_begun:
                await answer_error(send, 503, "The service stops; come back.")

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        logged: list[bool] = []
        is_answered = False

        def noting(message: Message) -> Awaitable[None]:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                if message["type"] != "websocket.accept" and not logged:
                    status = message.get("status", 403)
                    limited.say("refused", logging.INFO, "%s: refused by its endpoint with %d", scope["path"], status)
            return send(message)

        try:
            await self.app({**scope, LOGGED: logged}, receive, noting)
        except asyncio.CancelledError:  # the deadline of a stop, as above
            log.warning("the endpoint of %s did not end in time and was cancelled", scope["path"])

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app's lifespan; a failure becomes one sentence and the user's traceback."""
        stage = "startup"
        failed: Message | None = None

        async def relay(message: Message) -> None:
            nonlocal stage, failed
            if message["type"].endswith(".failed"):
                failed = message  # sent below, with the exception that Starlette raises after it
                return
            if message["type"] == "lifespan.startup.complete":
                stage = "shutdown"
                remove_dash(self.name, self.app)  # it may have added routes at the startup
            await send(message)

        try:
            await self.app(scope, receive, relay)
        except (Exception, SystemExit) as error:
            if self._may_have_no_lifespan and stage == "startup" and failed is None:
                await empty_lifespan(receive, send)
                return
            message = f"{self.name} failed at {stage}: {described(error)}\n{user_traceback(error)}"
            await send({"type": f"lifespan.{stage}.failed", "message": message})
        else:
            if failed is not None:
                await send(failed)
            elif stage == "startup":
                await empty_lifespan(receive, send)

    @property
    def _may_have_no_lifespan(self) -> bool:
        """Whether an exception at the startup means that the app has no lifespan (ASGI, lifespan protocol)."""
        return not any(isinstance(part, Starlette) for part in tree(self.app))


async def empty_lifespan(receive: Receive, send: Send) -> None:
    """Complete a lifespan that has nothing to do, once its startup has been received."""
    await send({"type": "lifespan.startup.complete"})
    while (await receive())["type"] != "lifespan.shutdown":
        pass
    await send({"type": "lifespan.shutdown.complete"})
