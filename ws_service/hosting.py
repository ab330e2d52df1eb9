"""The user's own endpoints: found by name, checked, and served without the one middleware that breaks them.

Of a Dash app only ``DashMiddleware`` is left out. In dash 4.1.0rc0 it makes a
Starlette ``Request`` of every scope, and a WebSocket handshake ends in an
AssertionError (plotly/dash#3636); later versions let WebSockets pass it. What
it does at lifespan (developer tools, the catch-all page route) concerns Dash's
pages, which this process never serves. Everything else is the user's and stays
as Starlette builds it: lifespan, middleware, dependencies, exception handlers.

This room knows Starlette and FastAPI. It does not import dash: a user of plain
FastAPI need not have it, and a name is enough to tell its middleware.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib
import importlib.util
import logging
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Host, Mount, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from ws_service.errors import AppError
from ws_service.importing import ServesAtImport, watched
from ws_service.limited_log import LimitedLog

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For whatever a client can cause."""

_ON_THE_WAY = ("ws_service", "importlib", "starlette", "fastapi", "contextlib")
"""Packages whose frames lead a traceback before the user's code begins."""


class Hosted:
    """The user's app as an ASGI app of WebSocket and lifespan scopes.

    name: ``module:attr``, for messages.
    app: the Starlette application, prepared by ``load``.
    """

    def __init__(self, name: str, app: Starlette) -> None:
        self.name = name
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope. An exception of an endpoint is the server's to log, as it would be without us."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._socket(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            # The deadline of a stop. Nobody is left to be told but the operator, in a line and not a
            # traceback for each of a thousand sockets.
            log.warning("the endpoint of %s did not end in time and was cancelled", scope["path"])

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app's lifespan; a failure becomes one sentence with the user's traceback under it."""
        stage = "startup"
        failed: Message | None = None

        async def relay(message: Message) -> None:
            nonlocal stage, failed
            if message["type"].endswith(".failed"):
                failed = message  # said below, with the exception that Starlette raises behind it
                return
            if message["type"] == "lifespan.startup.complete":
                stage = "shutdown"
                _refuse_dashs_sockets(self.app)  # it may have added its route at the startup
            await send(message)

        try:
            await self.app(scope, receive, relay)
        except (Exception, SystemExit) as error:
            message = f"{self.name} failed at {stage}: {_spoken(error)}\n{_trace(error)}"
            await send({"type": f"lifespan.{stage}.failed", "message": message})
        else:
            if failed is not None:
                await send(failed)


def load(name: str, folder: Path) -> Hosted:
    """Import ``module:attr`` and prepare what it names for serving.

    name: the checked value of ``ws_service.app``.
    folder: is put first on ``sys.path``; the folder of the config file, or
        the working directory when there is none.

    Raises AppError, one sentence; its ``__cause__`` is the exception of the
    user's module, where there is one.
    """
    module_name, _, attr = name.partition(":")
    module = _import(module_name, folder, name)
    target = _attribute(module, attr, folder, name)
    begin = f"ws_service.app is {name}, but {attr} in {_whereabouts(module_name, folder)}"
    app = _application(target, begin)
    for part in _tree(app):
        if isinstance(part, Starlette):
            _leave_out_dash_middleware(part)
    _refuse_dashs_sockets(app)
    if not any(_serves_websockets(part) for part in _tree(app)):
        holder = f"{attr}.server" if app is _server(target) else attr
        advice = f'add one with @{holder}.websocket("/ws"), or leave ws_service.app out'
        raise AppError(f"{begin} has no WebSocket route; {advice}")
    return Hosted(name, app)


def explain(error: AppError) -> str:
    """Return the sentence for the operator, with the traceback of the user's module under it."""
    return f"{error}\n{_trace(error.__cause__)}".rstrip() if error.__cause__ else str(error)


def _import(module_name: str, folder: Path, name: str) -> ModuleType:
    first = str(folder.resolve())
    if not sys.path or sys.path[0] != first:
        sys.path.insert(0, first)
    importlib.invalidate_caches()
    begin = f"ws_service.app is {name}, but"
    try:
        with watched(module_name, folder):
            return importlib.import_module(module_name)
    except ServesAtImport as error:
        advice = 'put that under if __name__ == "__main__":'
        where = _whereabouts(module_name, folder)
        raise AppError(f"{begin} {where} starts a server when it is imported, {error}; {advice}") from None
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise AppError(f"{begin} {_not_found(module_name, error.name, folder)}") from None
        failure: BaseException = error
    except (Exception, SystemExit) as error:
        failure = error
    advice = '; put what runs the program under if __name__ == "__main__":' if isinstance(failure, SystemExit) else ""
    where = _whereabouts(module_name, folder)
    raise AppError(f"{begin} importing {where} failed: {_spoken(failure)}{advice}") from failure


def _not_found(module_name: str, missing: str, folder: Path) -> str:
    package, _, child = missing.rpartition(".")
    if package:
        return f"{_whereabouts(package, folder)} has no module {child}"
    return (
        f"there is no module {missing} in {folder.resolve()} or among the installed packages; "
        "write the name of your script without .py, and keep the config file beside it"
    )


def _attribute(module: ModuleType, attr: str, folder: Path, name: str) -> object:
    target: object = module
    where = _whereabouts(module.__name__, folder)
    for step in attr.split("."):
        try:
            target = getattr(target, step)
        except AttributeError:
            near = difflib.get_close_matches(step, _names(target), n=1)
            advice = f"did you mean {near[0]}?" if near else "write the name of the variable that holds your app"
            raise AppError(f"ws_service.app is {name}, but {where} has no {step}; {advice}") from None
        where = f"{step} in {where}"
    return target


def _names(target: object) -> list[str]:
    return [name for name in dir(target) if not name.startswith("_")]


def _whereabouts(module_name: str, folder: Path) -> str:
    """Say which file a module's name leads to, and which one it hides; the module may be one that fails."""
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    origin = spec.origin if spec is not None else None
    if origin is None:
        return module_name
    own = folder.resolve().joinpath(*module_name.split("."))
    for candidate in (own.with_suffix(".py"), own / "__init__.py"):
        if candidate.is_file():
            if candidate == Path(origin).resolve():
                break
            return f"{module_name} ({origin}, which hides your {candidate}: rename that one)"
    return f"{module_name} ({origin})"


def _server(target: object) -> object:
    """Return the server of a Dash app, or None for anything else."""
    return getattr(target, "server", None)


def _application(target: object, begin: str) -> Starlette:
    """Return the Starlette application to serve for whatever the user named; AppError when there is none."""
    if isinstance(target, Starlette):
        return target
    if isinstance(target, APIRouter):
        around = FastAPI(openapi_url=None)
        try:
            around.include_router(target)
        except Exception as error:
            raise AppError(f"{begin} cannot be included in an app: {_spoken(error)}") from error
        return around
    if isinstance(target, Router):
        bare = Starlette()
        bare.router = target
        return bare
    server = _server(target)
    if isinstance(server, Starlette):
        return server
    raise AppError(f"{begin} is {_refusal(target, server)}")


def _refusal(target: object, server: object) -> str:
    """Say what the user named instead of an app that can be served, and what to name."""
    for part, what in ((server, "a Dash app on {}"), (target, "a {} app")):
        framework = _FRAMEWORKS.get(_package(type(part)))
        if framework is not None:
            return (
                f"{what.format(framework)}, which has no WebSocket routes that this service can host; "
                "write your endpoints on a FastAPI app in a module of its own, and name that one"
            )
    if isinstance(target, type) or hasattr(target, "__code__"):
        kind = "class" if isinstance(target, type) else "function"
        return f"a {kind}; name the variable that holds the app it makes"
    return (
        f"of type {type(target).__name__}; "
        "name a Dash app on FastAPI, a FastAPI or Starlette app, or a router of theirs"
    )


_FRAMEWORKS = {"flask": "Flask", "quart": "Quart"}
"""The servers of Dash whose routes are not Starlette's, by package."""


def _package(kind: object) -> str:
    """Return the top-level package that a class or a function comes from."""
    return str(getattr(kind, "__module__", "")).partition(".")[0]


def _leave_out_dash_middleware(app: Starlette) -> None:
    kept = [entry for entry in app.user_middleware if not _is_dash_middleware(entry)]
    if len(kept) != len(app.user_middleware):
        app.user_middleware[:] = kept
        app.middleware_stack = None  # built already, perhaps; Starlette builds it anew at the first scope


def _refuse_dashs_sockets(app: Starlette) -> None:
    """Refuse what Dash >= 4.2 carries its own callbacks on: they need the Dash process.

    Its route is told by whose code serves it, and not by how a path ends:
    an endpoint of the user's may have any path (issue 9).
    """
    for part in _tree(app):
        if isinstance(part, WebSocketRoute) and _package(part.endpoint) == "dash":
            part.app = _refuse_dashs_socket


async def _refuse_dashs_socket(scope: Scope, receive: Receive, send: Send) -> None:
    limited.say(
        "dash",
        logging.WARNING,
        "refused %s: it is Dash's own socket and belongs to the Dash process; check where the gateway's routes send it",
        scope["path"],
    )
    await send({"type": "websocket.close", "code": 1008, "reason": "served by the Dash process"})


def _is_dash_middleware(entry: Middleware) -> bool:
    return getattr(entry.cls, "__name__", "") == "DashMiddleware" and _package(entry.cls) == "dash"


def _tree(root: object) -> Iterator[object]:
    """Yield an app and every app, router and route below it, each once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen.add(id(part))
            yield part
            waiting += _children(part)


def _children(part: object) -> list[object]:
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
    below = (getattr(part, "app", None), _server(part))  # a middleware around a mount, a mounted Dash app
    return [child for child in below if isinstance(child, Starlette | Router) or callable(child)]


def _serves_websockets(part: object) -> bool:
    if isinstance(part, WebSocketRoute):
        return _package(part.endpoint) != "dash"
    if isinstance(part, Starlette | Router | Mount | Host | StaticFiles):
        return False
    # A route or a mounted app of another make (say Socket.IO's) keeps its paths to itself, so it is believed.
    return _package(type(part)) not in ("starlette", "fastapi", "a2wsgi") and not _children(part)


def _spoken(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ended in sys.exit({error.code!r})"
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _trace(error: BaseException | None) -> str:
    """Return a traceback that begins in the user's code: the way there is ours, and tells them nothing."""
    if error is None:
        return ""
    frames = _user_frames(error.__traceback__)
    if frames is None and not isinstance(error, SyntaxError):  # that one names its own place
        frames = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _user_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _ON_THE_WAY:
        frames = frames.tb_next
    return frames
