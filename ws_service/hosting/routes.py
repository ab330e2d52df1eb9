"""The tree of an app: the apps, routers and routes below it, and the paths of its WebSockets.

It knows the trees of Starlette and FastAPI.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

_OF_A_FRAMEWORK = ("starlette", "fastapi", "a2wsgi")


def walk(root: object) -> Iterator[tuple[object, str]]:
    """Yield an app and every app, router and route below it, each once, with the path that leads there."""
    seen: set[int] = set()
    waiting = [(root, "")]
    while waiting:
        part, prefix = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part, prefix
            below = prefix + (part.path if isinstance(part, Mount) else _included_at(part))
            waiting += [(child, below) for child in children(part)]


def tree(root: object) -> Iterator[object]:
    """Yield an app and every app, router and route below it, each once."""
    return (part for part, _ in walk(root))


def children(part: object) -> list[object]:
    """Return what is directly below a part."""
    if isinstance(part, Starlette):
        return [part.router]
    if isinstance(part, Router):
        return list(part.routes)
    if isinstance(part, Mount | Host):
        return [part.app]
    included = getattr(part, "original_router", None)  # FastAPI keeps an included router as a route of its own
    if included is not None:
        return [included]
    if isinstance(part, BaseRoute):
        return []
    # A middleware around an app, a mounted Dash app, Socket.IO around another app.
    held = [value for value in getattr(part, "__dict__", {}).values() if isinstance(value, Starlette | Router)]
    around = getattr(part, "app", None)
    held += [around] if callable(around) else []
    server = server_of(part)
    return held + ([server] if isinstance(server, Starlette | Router) or callable(server) else [])


def websocket_paths(root: object) -> list[str]:
    """Return the paths of an app's WebSocket routes, as the app writes them, sorted; ``/*`` ends one of a whole app."""
    return sorted({prefix + _path(part) for part, prefix in walk(root) if serves_websockets(part)} - {"/*"})


def serves_websockets(part: object) -> bool:
    """Tell whether a part of a tree serves WebSockets itself, and they are not Dash's."""
    if isinstance(part, WebSocketRoute):
        return package(part.endpoint) != "dash"
    if isinstance(part, Starlette | Router | Mount | Host | StaticFiles):
        return False
    # A route or a mounted app of another framework (such as Socket.IO) does not tell its paths; it is assumed to.
    kind = package(type(part))
    return kind in ("engineio", "socketio") or (kind not in _OF_A_FRAMEWORK and not children(part))


def package(kind: object) -> str:
    """Return the top-level package that a class or a function comes from."""
    return str(getattr(kind, "__module__", "")).partition(".")[0]


def server_of(target: object) -> object:
    """Return the server of a Dash app, or None for anything else."""
    return getattr(target, "server", None)


def _path(part: object) -> str:
    return part.path if isinstance(part, WebSocketRoute) else "/*"


def _included_at(part: object) -> str:
    return str(getattr(getattr(part, "include_context", None), "prefix", ""))
