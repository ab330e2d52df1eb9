"""What is known of the app that is to be deployed, and of the Python that it runs on."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from pathlib import Path

from proxy.init.inspection import DashApp, InspectionError, inspect
from proxy.init.scripts import Script, find
from ws_service.hosting.import_check import problem
from ws_service.version import version_of

PORT = 8050
"""Where Dash listens when nothing else is said."""

_MOST_IMPORTS = 5
"""Modules that are imported to find an app, and as many to find endpoints: each may take seconds."""

_LONGEST_NAME = 50
"""Characters of the folder's name that are used. A name of Kubernetes may have 63."""

NO_USER = "www-data"
"""The user of units whose folder belongs to root. Debian has it for web servers."""

DISTRIBUTIONS = {"flask": "gunicorn", "fastapi": "uvicorn", "quart": "uvicorn"}
"""What serves Dash, by its framework. uvicorn comes with this package; for another framework it is uvicorn too."""


class NoApp(Exception):
    """No Dash app can be deployed from a folder; a sentence for the user."""


@dataclass(frozen=True)
class Project:
    """An app, as far as it could be found out.

    folder: absolute. module: of the Dash app; script: as it is read, None where it was named and is not in the folder.
    others: further modules that have a Dash app, which were not chosen. live: ``module:attribute`` whose WebSocket
    endpoints can be served; None: none was found. versions: of the distributions that are installed here.
    """

    folder: Path
    module: str
    script: Script | None
    app: DashApp
    others: tuple[str, ...] = ()
    live: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What units, containers and folders are called: the folder's name, in the letters that all of them take.

        nginx takes ``$2_connection`` for a group of an expression, and a Service of Kubernetes begins with a letter.
        """
        name = re.sub(r"[^a-z0-9]+", "-", self.folder.name.lower())[:_LONGEST_NAME].strip("-") or "dashboard"
        return f"dash-{name}" if name[0].isdigit() else name

    @property
    def port(self) -> int:
        """Where Dash listens: what the script names, so that it can be run by hand too."""
        return (self.script.port if self.script else None) or PORT

    @property
    def server(self) -> str:
        """The name of the distribution that serves Dash."""
        return DISTRIBUTIONS.get(self.app.framework, "uvicorn")

    @property
    def needs_wsgi_module(self) -> bool:
        """Whether a module of ours puts ProxyFix around a Flask server: where the app has not done so itself.

        gunicorn also takes no dotted attribute such as ``app.server``.
        """
        return self.app.framework == "flask" and not (self.app.has_proxy_fix and self.app.server)

    @property
    def target(self) -> str:
        """What gunicorn or uvicorn is told to serve."""
        if self.needs_wsgi_module:
            return "wsgi:server"
        attribute = self.app.server if self.app.framework == "flask" else f"{self.app.app}.server"
        return f"{self.module}:{attribute}"


def explore(folder: Path, named: str | None, note: Callable[[str], None]) -> Project:
    """Find the app of a folder.

    named: ``module:attribute``, or a module; None: the likeliest. note: is told what is being done.

    Raises NoApp.
    """
    if not str(folder).isprintable() or str(folder).endswith("\\"):
        raise NoApp(f"{str(folder)!r} cannot be written in a unit file; give the folder another name")
    found = find(folder)
    scripts = [script for script in found if _is_name(script.module)]
    if named is not None:
        module, _, attribute = named.partition(":")
        if not _is_name(module) or (attribute and not _is_name(attribute)):
            raise NoApp(f"{named!r} is no name that Python can import; write module:attribute, for example app:app")
        chosen = next((script for script in scripts if script.module == module), Script(module))
        candidates, attribute_or_none = [chosen], attribute or None
    else:
        candidates = [script for script in scripts if script.makes_dash or script.runs][:_MOST_IMPORTS]
        attribute_or_none = None
    for script in candidates:
        note(f"importing {script.module} ...")
        try:
            app = inspect(script.module, folder, attribute_or_none)
        except InspectionError as error:
            where = f"{script.module.replace('.', '/')}.py"
            raise NoApp(
                f"{folder / where}: {error}\n"
                "init imports the app to find out what it is: run it where the app can run, with its packages and its "
                "environment variables, or name another module with --app module:attribute"
            ) from None
        if app is not None:
            known = script if script in scripts else None
            others = tuple(other.module for other in scripts if other.makes_dash and other.runs and other != script)
            return _with_endpoints(Project(folder, script.module, known, app, others), scripts, note)
    unusable = [script.module for script in found if script not in scripts]
    raise NoApp(_nothing(folder, named, [script.module for script in candidates], unusable))


def _is_name(text: str) -> bool:
    """Tell whether a text is a dotted name that import statements, commands and settings can have as it is."""
    return all(part.isidentifier() and not iskeyword(part) for part in text.split("."))


def _nothing(folder: Path, named: str | None, imported: list[str], unusable: list[str]) -> str:
    """Return why there is no app. unusable: scripts whose names cannot be imported."""
    if named is not None:
        return f"{named}: there is no Dash app in it; write module:attribute, for example --app app:app"
    if imported:
        return (
            f"{folder}: no variable of {' or '.join(imported)} holds a Dash app; where a function makes it, call it in "
            "a module of its own, app = create_app(), and name that one with --app module:app"
        )
    if unusable:
        return f"{folder}: {unusable[0]!r} is no name that Python can import; rename the file, for example to app.py"
    return (
        f"{folder}: no Dash app was found in its Python files, or in the packages in it; "
        "name it with --app module:attribute, or give the folder that holds it: dash-ws-proxy init FOLDER"
    )


def _with_endpoints(project: Project, scripts: list[Script], note: Callable[[str], None]) -> Project:
    """Find the app whose WebSocket endpoints the service can serve, and the versions of what is installed."""
    names = [(script.module, holder) for script in scripts for holder in script.holders]
    if project.app.endpoints:
        names.insert(0, (project.module, project.app.app))
    versions = {
        name: version for name in ("dash-ws-proxy", "gunicorn", "honcho", "uvicorn") if (version := version_of(name))
    }
    project = replace(project, versions={**versions, "dash": project.app.dash})
    for module, holder in list(dict.fromkeys(names))[:_MOST_IMPORTS]:
        live = f"{module}:{holder}"
        note(f"importing {live}, which may have WebSocket endpoints ...")
        if problem(live, project.folder) is None:
            return replace(project, live=live)
    return project


def programs() -> Path:
    """Return the folder of this Python's programs, as ``/srv/app/venv/bin``; links are kept, because a venv is one."""
    return Path(sys.executable).absolute().parent


def python_version() -> str:
    """Return the version of this Python, on which the app was found to work."""
    return platform.python_version()


def installed_from() -> str | None:
    """Return the URL that this package was installed from (PEP 610); None: an index."""
    for found in importlib.metadata.distributions(name="dash-ws-proxy"):
        if (text := found.read_text("direct_url.json")) is not None:
            url: str = json.loads(text)["url"]
            return url
    return None


def owner(folder: Path) -> str:
    """Return the user whom a folder belongs to; ``www-data`` where that is root or cannot be told."""
    try:
        name = folder.owner()
    except (KeyError, NotImplementedError, OSError):  # a user without a name; not POSIX
        return NO_USER
    return NO_USER if name == "root" else name
