"""What is Dash's own in an app, and how it is taken out of it: this process serves the user's endpoints alone.

``DashMiddleware`` of dash 4.1.0rc0 makes a Starlette ``Request`` of every scope, and a WebSocket handshake ends in an
AssertionError (plotly/dash#3636); later versions let WebSockets pass. What it does at the lifespan (developer tools,
the catch-all page route) concerns Dash's pages, which this process never serves; so Dash's own routes match nothing
here. Everything else is the user's and stays as it is built: HTTP routes, lifespan, middleware, dependencies, exception
handlers.

It does not import dash: a user of FastAPI alone need not have it, and a name is enough to recognise what is Dash's.
"""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from ws_service.hosting.not_found import LOGGED, NotFound, refuse
from ws_service.hosting.routes import package, tree
from ws_service.logs.limited_log import LimitedLog

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For what a client can cause."""

_DASH_WEBSOCKET = "it is Dash's own socket and belongs to the Dash process; check where the gateway's routes send it"


def remove_dash(name: str, app: ASGIApp) -> None:
    """Take what is Dash's own out of an app, and answer a path without a route in words. Safe to call twice.

    name: of the app, for messages.
    """
    parts = list(tree(app))
    has_dash = any(map(is_dash, parts))
    for part in parts:
        if isinstance(part, Starlette):
            kept = [entry for entry in part.user_middleware if not is_dash(entry)]
            if len(kept) != len(part.user_middleware):
                part.user_middleware[:] = kept
                part.middleware_stack = None  # Starlette builds it again for the next scope
        elif is_dash_websocket(part):
            part.app = _refuse_dash_websocket  # type: ignore[attr-defined]
        elif is_dash_route(part):  # in 4.1.0rc0 one of them matches every path, also those of routes after it
            part.matches = _matches_nothing  # type: ignore[attr-defined]
        elif isinstance(part, Router) and part.default == part.not_found:
            part.default = NotFound(name, app, None if has_dash else part.not_found, limited)


def is_dash(part: object) -> bool:
    """Tell whether a part of an app, or a middleware that it names, is Dash's own."""
    if isinstance(part, Starlette):
        return any(map(is_dash, part.user_middleware))
    if isinstance(part, Middleware):
        return getattr(part.cls, "__name__", "") == "DashMiddleware" and package(part.cls) == "dash"
    return is_dash_websocket(part) or is_dash_route(part)


def is_dash_websocket(part: object) -> bool:
    """Tell whether a part is the route that Dash >= 4.2 carries its own callbacks on.

    What counts is the package of its endpoint, and not the end of its path: the user's may end so too (issue 9).
    """
    return isinstance(part, WebSocketRoute) and package(part.endpoint) == "dash"


def is_dash_route(part: object) -> bool:
    """Tell whether a part is one of Dash's own HTTP routes: pages, callbacks, files, and the catch-all."""
    if isinstance(part, Route):
        return package(part.endpoint) == "dash"
    return isinstance(part, Mount) and isinstance(part.app, StaticFiles) and str(part.name).endswith("dash_assets")


def _matches_nothing(scope: Scope) -> tuple[Match, Scope]:
    return Match.NONE, {}


async def _refuse_dash_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    limited.say("dash", logging.WARNING, "refused %s: %s", scope["path"], _DASH_WEBSOCKET)
    scope.get(LOGGED, []).append(True)
    await refuse(scope, send, f"{_DASH_WEBSOCKET[0].upper()}{_DASH_WEBSOCKET[1:]}.\n")
