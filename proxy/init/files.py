"""Which files ``init`` writes, and how: from templates, each only where there is none yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from proxy.init.project import Project

_PLACE = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Planned:
    """A file that is to be written. path: relative to the app's folder. purpose: what it is for, in some words."""

    path: str
    template: str
    purpose: str


def plan(project: Project) -> list[Planned]:
    """Return the files for an app, in the order in which they are told."""
    units = f"deploy/systemd/{project.name}"
    found = [
        Planned("config.yaml", "config.yaml", "the settings of the gateway and the service"),
        Planned("Procfile.dev", "Procfile.dev", "development: honcho start -f Procfile.dev"),
        Planned("Procfile.all", "Procfile.all", "the three processes, for hosts with $PORT and for the container"),
        Planned("Procfile", "Procfile", "Heroku, Dokku, Dash Enterprise"),
        Planned("Dockerfile", "Dockerfile", "a container with the three processes"),
        Planned(".dockerignore", "dockerignore", "what stays out of it"),
        Planned("compose.yaml", "compose.yaml", "a container for each process, with Valkey"),
        Planned("deploy/requirements.txt", "requirements.txt", "what they need beside the app's requirements"),
        Planned("deploy/kubernetes.yaml", "kubernetes.yaml", "a pod with the three processes"),
        Planned("deploy/app.yaml", "app.yaml", "Databricks Apps"),
        Planned("deploy/render.yaml", "render.yaml", "Render"),
        Planned("deploy/nginx.conf", "nginx.conf", "nginx in front"),
        Planned("deploy/Caddyfile", "Caddyfile", "Caddy in front"),
        Planned(f"{units}-gateway.socket", "systemd/gateway.socket", "systemd: the port"),
        Planned(f"{units}-gateway.service", "systemd/gateway.service", "systemd: the gateway"),
        Planned(f"{units}-ws.service", "systemd/ws.service", "systemd: the service"),
        Planned(f"{units}-dash.service", "systemd/dash.service", "systemd: Dash"),
        Planned(f"{units}.env", "systemd/environment", "their environment: /etc/" + f"{project.name}.env"),
    ]
    if project.needs_wsgi_module:
        found.insert(1, Planned("wsgi.py", "wsgi.txt", "the app for gunicorn, with the browser's address and https"))
    return found


def render(template: str, values: Mapping[str, str]) -> str:
    """Fill a template: ``{{name}}`` is replaced; what a value has in it stays. Raises KeyError for other names."""
    text = _read(template).replace("{{sandbox}}", _read("systemd/sandbox").rstrip())
    return _PLACE.sub(lambda match: values[match[1]], text)


def _read(template: str) -> str:
    return (files("proxy.init") / "templates" / template).read_text("utf-8")


def write(folder: Path, planned: Planned, text: str) -> bool:
    """Write a file with its folder; return False where there is one already, or a link. Raises OSError."""
    path = folder / planned.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True
