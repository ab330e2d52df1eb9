"""Answers where an app has no route: to a handshake without an endpoint, and to a request for a page of Dash.

Starlette answers a WebSocket without an endpoint with an empty 403, as the gateway answers a page of another site.
Here it is a 404 that names the path, the paths that the app has, and the service as its source.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from ws_service.hosting.routes import websocket_paths
from ws_service.logs.formatter import one_line
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.json_response import answer_error

log = logging.getLogger(__name__)

LOGGED = "ws_service.logged"
"""In a scope: a list, which is not empty once the log has a line about this handshake."""

_MOST_PATHS = 20
"""Paths that are listed. They are the app's own; every client may know them."""

_LONGEST = 200
"""Characters of a path."""


class NotFound:
    """The default of a router, for scopes that match no route.

    name: of the app, for messages. root: the app, for the paths that it has.
    otherwise: what the router would have done with HTTP; None: a 404 that says that pages come from the Dash server.
    limited_log: for what a client can cause.
    """

    def __init__(self, name: str, root: object, otherwise: ASGIApp | None, limited_log: LimitedLog) -> None:
        self._name = name
        self._root = root
        self._otherwise = otherwise
        self._log = limited_log
        self._paths: list[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one scope."""
        path = _shown(scope["path"])
        if scope["type"] == "websocket":
            if self._paths is None:  # not earlier: an app may add some at its startup
                self._paths = [_shown(one) for one in websocket_paths(self._root)]
            paths = self._paths
            self._log.say(
                "no endpoint",
                logging.WARNING,
                "no endpoint for a WebSocket at %s: answered with 404; %s has %s",
                path,
                self._name,
                _listed(paths, ", "),
            )
            scope.get(LOGGED, []).append(True)
            await refuse(
                scope,
                send,
                f"There is no endpoint for a WebSocket at {path}.\n"
                f"{self._name} has:\n  {_listed(paths, chr(10) + '  ')}\n"
                "This is an answer of the WebSocket service, dash-ws-service.\n",
            )
        elif self._otherwise is not None:
            await self._otherwise(scope, receive, send)
        else:
            await answer_error(
                send,
                404,
                f"This is the WebSocket service. {self._name} has no route for {path}, and Dash's own pages come from "
                "the Dash server: check where the gateway's routes send this path.",
            )


async def refuse(scope: Scope, send: Send, text: str, status: int = HTTPStatus.NOT_FOUND) -> None:
    """Refuse a handshake before it is accepted, with a text."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    # Each of uvicorn's protocols adds the length, and text/plain. One adds them to those that are there (0.41).
    headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "websocket.http.response.start", "status": int(status), "headers": headers})
    await send({"type": "websocket.http.response.body", "body": text.encode()})


def _shown(path: str) -> str:
    return one_line(path, _LONGEST)


def _listed(paths: list[str], between: str) -> str:
    if not paths:
        return "no paths that it tells"
    more = [f"and {len(paths) - _MOST_PATHS} more"] if len(paths) > _MOST_PATHS else []
    return between.join(paths[:_MOST_PATHS] + more)
