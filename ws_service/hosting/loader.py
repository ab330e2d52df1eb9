"""The user's app, found by its name and checked: what can be served, and what to write instead of what cannot.

It knows Starlette and FastAPI, and does not import dash (``dash_parts``).
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp

from ws_service.errors import AppError
from ws_service.hosting.dash_parts import remove_dash
from ws_service.hosting.hosted_app import HostedApp
from ws_service.hosting.import_guard import ServesAtImport, guarded_import
from ws_service.hosting.routes import package, server_of, serves_websockets, tree
from ws_service.hosting.user_errors import described

_FRAMEWORKS = {"flask": "Flask", "quart": "Quart"}
"""The servers of Dash whose routes are not Starlette's, by package."""


def load(name: str, folder: Path) -> HostedApp:
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
    remove_dash(name, app)
    if not any(serves_websockets(part) for part in tree(app)) and (app is not target or _is_of_a_framework(app)):
        holder = f"{attr}.server" if app is server_of(target) else attr
        advice = f'add one with @{holder}.websocket("/ws"), or leave ws_service.app out'
        raise AppError(f"{begin} has no WebSocket route; {advice}")
    return HostedApp(name, app)


def _import(module_name: str, folder: Path, name: str) -> ModuleType:
    first = str(folder.resolve())
    if not sys.path or sys.path[0] != first:
        sys.path.insert(0, first)
    importlib.invalidate_caches()
    begin = f"ws_service.app is {name}, but"
    try:
        with guarded_import(module_name, folder):
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
    raise AppError(f"{begin} importing {where} failed: {described(failure)}{advice}") from failure


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
    """Return the file of a module, and which file of the user's it hides; the module may be one that fails.

    For a module in a package that fails it is the package's file: to find the module, Python would import the package
    once more.
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
    """Return the application to serve for the object that is named; AppError when there is none."""
    if isinstance(target, Starlette):
        return target
    if isinstance(target, APIRouter):
        around = FastAPI(openapi_url=None)
        try:
            around.include_router(target)
        except Exception as error:
            raise AppError(f"{begin} cannot be included in an app: {described(error)}") from error
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
    """Return which app of another framework this is; None: of none that is known."""
    for part, what in ((server, "a Dash app on {}"), (target, "a {} app")):
        framework = _FRAMEWORKS.get(package(type(part)))
        if framework is not None:
            return what.format(framework)
    return None


def _refusal(target: object, server: object) -> str:
    """Return what the user named instead of an app that can be served, and what to name."""
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
