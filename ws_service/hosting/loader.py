"""The user's own endpoints: found by name, checked, and served without what is Dash's own.

Of a Dash app ``DashMiddleware`` is left out. In dash 4.1.0rc0 it makes a
Starlette ``Request`` of every scope, and a WebSocket handshake ends in an
AssertionError (plotly/dash#3636); later versions let WebSockets pass it. What
it does at lifespan (developer tools, the catch-all page route) concerns Dash's
pages, which this process never serves; so Dash's own routes match nothing here.
Everything else is the user's and stays as it is built: HTTP routes, lifespan,
middleware, dependencies, exception handlers.

This room knows Starlette and FastAPI. It does not import dash: a user of plain
FastAPI need not have it, and a name is enough to tell what is Dash's.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib
import importlib.util
import inspect
import logging
import sys
import traceback
from collections.abc import Awaitable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import cast

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Match, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ws_service.errors import AppError
from ws_service.hosting.import_guard import ServesAtImport, watched
from ws_service.hosting.not_found import SAID, Nowhere, answer, refuse
from ws_service.hosting.routes import (
    is_dashs,
    is_dashs_page,
    is_dashs_socket,
    package,
    server_of,
    serves_websockets,
    tree,
)
from ws_service.logs.limited_log import LimitedLog

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For whatever a client can cause."""

_ON_THE_WAY = ("ws_service", "importlib", "starlette", "fastapi", "contextlib")
"""Packages whose frames lead a traceback before the user's code begins."""


class Hosted:
    """The user's app as an ASGI app.

    name: ``module:attr``, for messages.
    app: the application, prepared by ``load``.
    """

    def __init__(self, name: str, app: ASGIApp) -> None:
        self.name = name
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope. An exception of an endpoint is the server's to log, as it would be without us."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)
        else:
            await self._socket(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        def noted(message: Message) -> Awaitable[None]:
            nonlocal has_begun
            has_begun = True
            return send(message)

        try:
            await self.app(scope, receive, noted)
        except asyncio.CancelledError:  # the deadline of a stop; of a traceback for each nobody has anything
            log.warning("the request for %s did not end in time and was cancelled", scope["path"])
            if not has_begun:
                await answer(send, 503, {"error": "service unavailable", "message": "The service stops; come back."})

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        said: list[bool] = []
        is_answered = False

        def noted(message: Message) -> Awaitable[None]:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                if message["type"] != "websocket.accept" and not said:
                    status = message.get("status", 403)
                    limited.say("refused", logging.INFO, "%s: refused by its endpoint with %d", scope["path"], status)
            return send(message)

        try:
            await self.app({**scope, SAID: said}, receive, noted)
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
                _leave_out_dash(self.name, self.app)  # it may have added routes at the startup
            await send(message)

        try:
            await self.app(scope, receive, relay)
        except (Exception, SystemExit) as error:
            if self._may_have_no_lifespan and stage == "startup" and failed is None:
                await _no_lifespan(receive, send)
                return
            message = f"{self.name} failed at {stage}: {_spoken(error)}\n{_trace(error)}"
            await send({"type": f"lifespan.{stage}.failed", "message": message})
        else:
            if failed is not None:
                await send(failed)
            elif stage == "startup":
                await _no_lifespan(receive, send)

    @property
    def _may_have_no_lifespan(self) -> bool:
        """Whether an exception at the startup says that the app knows no lifespan (ASGI, lifespan protocol)."""
        return not any(isinstance(part, Starlette) for part in tree(self.app))


async def _no_lifespan(receive: Receive, send: Send) -> None:
    await send({"type": "lifespan.startup.complete"})
    while (await receive())["type"] != "lifespan.shutdown":
        pass
    await send({"type": "lifespan.shutdown.complete"})


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
    _leave_out_dash(name, app)
    if not any(serves_websockets(part) for part in tree(app)) and (app is not target or _is_of_a_framework(app)):
        holder = f"{attr}.server" if app is server_of(target) else attr
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
    """Say which file a module's name leads to, and which one it hides; the module may be one that fails.

    Of a package that fails it is that one's file: to find a module in it, Python would import the package once more.
    """
    while (around := module_name.rpartition(".")[0]) and around not in sys.modules:
        module_name = around
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


def _application(target: object, begin: str) -> ASGIApp:
    """Return the application to serve for whatever the user named; AppError when there is none."""
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
    server = server_of(target)
    if isinstance(server, Starlette):
        return server
    if _framework(target, server) is None and _is_asgi(target):  # say, Socket.IO's around a FastAPI app
        return cast(ASGIApp, target)
    raise AppError(f"{begin} is {_refusal(target, server)}")


def _is_asgi(target: object) -> bool:
    """Tell whether something that is no class is called as an ASGI application is (ASGI 3)."""
    if isinstance(target, type) or not callable(target):
        return False
    call = target if hasattr(target, "__code__") else type(target).__call__
    if not inspect.iscoroutinefunction(call):
        return False
    names = [name for name in inspect.signature(call).parameters if name != "self"]
    return len(names) == 3 and (call is not target or names == ["scope", "receive", "send"])


def _is_of_a_framework(app: object) -> bool:
    return package(type(app)) in ("starlette", "fastapi") or isinstance(app, Starlette)


def _framework(target: object, server: object) -> str | None:
    """Say which app of another framework this is; None: of none that is known."""
    for part, what in ((server, "a Dash app on {}"), (target, "a {} app")):
        framework = _FRAMEWORKS.get(package(type(part)))
        if framework is not None:
            return what.format(framework)
    return None


def _refusal(target: object, server: object) -> str:
    """Say what the user named instead of an app that can be served, and what to name."""
    framework = _framework(target, server)
    if framework is not None:
        return (
            f"{framework}, which has no WebSocket routes that this service can host; "
            "write your endpoints on a FastAPI app in a module of its own, and name that one"
        )
    if isinstance(target, type) or hasattr(target, "__code__"):
        kind = "class" if isinstance(target, type) else "function"
        return f"a {kind}; name the variable that holds the app it makes"
    return (
        f"of type {type(target).__name__}; "
        "name a Dash app on FastAPI, a FastAPI, Starlette or other ASGI app, or a router"
    )


_FRAMEWORKS = {"flask": "Flask", "quart": "Quart"}
"""The servers of Dash whose routes are not Starlette's, by package."""


def _leave_out_dash(name: str, app: ASGIApp) -> None:
    """Take what is Dash's own out of an app, and say what there is where it has nothing. Safe to call twice."""
    parts = list(tree(app))
    has_dash = any(map(is_dashs, parts))
    for part in parts:
        if isinstance(part, Starlette):
            kept = [entry for entry in part.user_middleware if not is_dashs(entry)]
            if len(kept) != len(part.user_middleware):
                part.user_middleware[:] = kept
                part.middleware_stack = None  # built already, perhaps; Starlette builds it anew at the first scope
        elif is_dashs_socket(part):
            part.app = _refuse_dashs_socket  # type: ignore[attr-defined]
        elif is_dashs_page(part):  # in 4.1.0rc0 one of them matches every path, also those of routes behind it
            part.matches = _never  # type: ignore[attr-defined]
        elif isinstance(part, Router) and part.default == part.not_found:
            part.default = Nowhere(name, app, None if has_dash else part.not_found, limited)


def _never(scope: Scope) -> tuple[Match, Scope]:
    return Match.NONE, {}


async def _refuse_dashs_socket(scope: Scope, receive: Receive, send: Send) -> None:
    limited.say("dash", logging.WARNING, "refused %s: %s", scope["path"], _DASHS_SOCKET)
    scope.get(SAID, []).append(True)
    await refuse(scope, send, f"{_DASHS_SOCKET[0].upper()}{_DASHS_SOCKET[1:]}.\n")


_DASHS_SOCKET = "it is Dash's own socket and belongs to the Dash process; check where the gateway's routes send it"


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
