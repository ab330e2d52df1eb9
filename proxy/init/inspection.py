"""What a module of the user's has, found by importing it in a child process: a Dash app, and how it is set up."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ws_service.hosting import child
from ws_service.hosting.import_guard import ServesAtImport, guarded_import
from ws_service.hosting.routes import package, websocket_paths
from ws_service.hosting.user_errors import described

FRAMEWORKS = ("flask", "fastapi", "quart")
"""The servers that Dash runs on, by their packages."""


class InspectionError(Exception):
    """A module that cannot be imported; a sentence for the user."""


@dataclass(frozen=True)
class DashApp:
    """A Dash app, as it is once its module is imported.

    app: the name of the variable that holds it. framework: one of ``FRAMEWORKS``; empty: another one. dash: its
    version. prefix: the path under which browsers see it (``requests_pathname_prefix``). routes: the one under which it
    serves (``routes_pathname_prefix``); it differs where a proxy in front removes a part. server: the variable that
    holds ``app.server``; None: none. endpoints: paths of the WebSocket routes on it. has_proxy_fix: Werkzeug's
    ProxyFix is around it.
    """

    app: str
    framework: str
    dash: str
    prefix: str
    routes: str
    server: str | None
    endpoints: tuple[str, ...]
    has_proxy_fix: bool


def inspect(module: str, folder: Path, attribute: str | None = None) -> DashApp | None:
    """Import a module, in a child process, and describe its Dash app; None where it has none.

    folder: where the module is looked for first. attribute: the variable that holds the app; None: ``app``, or the
    first Dash app in the module.

    Raises InspectionError.
    """
    answer = child.call("proxy.init.inspection:describe", module, str(folder), attribute or "")
    if answer.failure is not None:
        advice = 'put what waits, serves or ends the program under if __name__ == "__main__":'
        raise InspectionError("\n".join([f"importing it {answer.failure}; {advice}", *answer.printed]))
    if isinstance(answer.value, str):
        raise InspectionError(answer.value)
    if answer.value is None:
        return None
    return DashApp(**{**answer.value, "endpoints": tuple(answer.value["endpoints"])})


def describe(module: str, folder: str, attribute: str) -> dict[str, Any] | str | None:
    """Import a module in this process, and return what ``DashApp`` holds; a sentence where that fails, or None."""
    sys.path.insert(0, folder)
    try:
        with guarded_import(module, Path(folder)):
            loaded = importlib.import_module(module)
    except ServesAtImport as error:
        return f'it starts a server when it is imported, {error}; put that under if __name__ == "__main__":'
    except (Exception, SystemExit) as error:
        return f"importing it failed: {described(error)}"[: child.LONGEST // 2]
    values = vars(loaded)
    names = [name for name in (attribute or "app", *values) if _is_dash(values.get(name))]
    if not names or (attribute and names[0] != attribute):
        return None
    app = values[names[0]]
    server = app.server
    packages = [package(kind) for kind in type(server).__mro__]
    return {
        "app": names[0],
        "framework": next((name for name in FRAMEWORKS if name in packages), ""),
        "dash": importlib.metadata.version("dash"),
        "prefix": app.config.requests_pathname_prefix,
        "routes": app.config.routes_pathname_prefix,
        "server": next((name for name, value in values.items() if value is server), None),
        "endpoints": websocket_paths(server) if "starlette" in packages else [],
        "has_proxy_fix": type(getattr(server, "wsgi_app", None)).__name__ == "ProxyFix",
    }


def _is_dash(value: object) -> bool:
    return any(kind.__name__ == "Dash" and package(kind) == "dash" for kind in type(value).__mro__)
