"""The command ``dash-ws-proxy init``: finds the app, writes the files, and says what to do next."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click

from proxy.init.files import Planned, plan, render, write
from proxy.init.project import NO_USER, NoApp, Project, explore, owner
from proxy.init.values import described, values

_FAILED = 2
"""Exit code where nothing was written, or not everything."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@click.option("--app", "named", metavar="MODULE:ATTRIBUTE", help="The Dash app. Without it, it is looked for.")
@click.option("--host", metavar="NAME", help="The name under which browsers reach the site, for nginx and Caddy.")
def init(folder: Path, named: str | None, host: str | None) -> None:
    """Write what it takes to run the Dash app in FOLDER with the gateway: settings, Procfiles, systemd units, blocks
    for nginx and Caddy, a Dockerfile, a compose file, a Kubernetes manifest.

    FOLDER is the working directory where it is left out. The app is imported, in a separate process, to find out what
    it is. A file that is there already is never changed. Exit code 2: nothing was written, or not everything.
    """
    if host is not None and not _HOST.fullmatch(host):
        raise click.BadParameter(
            f"{host!r} is not the name of a host; write it as dash.example.com", param_hint="--host"
        )
    folder = folder.absolute()
    try:
        project = explore(folder, named, lambda text: click.echo(text, err=True))
    except NoApp as error:
        click.echo(f"dash-ws-proxy: {error}\nnothing was written", err=True)
        sys.exit(_FAILED)
    for line in found(project):
        click.echo(line)
    filled = values(project, host)
    try:
        kept = [planned for planned in plan(project) if not _write(folder, planned, render(planned.template, filled))]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        click.echo(f"dash-ws-proxy: {error.filename} cannot be written: {reason}; what is above is there", err=True)
        sys.exit(_FAILED)
    for line in advice(project, [planned.path for planned in kept]):
        click.echo(line)


def _write(folder: Path, planned: Planned, text: str) -> bool:
    is_new = write(folder, planned, text)
    click.echo(
        f"  {'wrote' if is_new else 'kept '} {planned.path:<40} {planned.purpose if is_new else 'it was there already'}"
    )
    return is_new


def found(project: Project) -> list[str]:
    """Return what was found out, a line each."""
    app = project.app
    lines = [f"{described(project)}, in the variable {app.app}; pages at {app.prefix}"]
    if app.prefix != app.routes:
        lines.append(f"it serves at {app.routes}, so a proxy in front has to remove the rest of {app.prefix}")
    if project.others:
        lines.append(f"there are other Dash apps too; for one of them: --app {' or --app '.join(project.others)}")
    lines.append(f"{project.server} serves it: {project.target}")
    if project.live:
        lines.append(f"WebSocket endpoints: those of {project.live}")
    else:
        lines.append(
            "WebSocket endpoints: none were found; the service has the hub, and config.yaml says how to name yours"
        )
    return lines


def advice(project: Project, kept: list[str]) -> list[str]:
    """Return what is left to do. kept: the files that were there already."""
    lines = []
    if "config.yaml" in kept:
        lines.append(
            "config.yaml was there already: the other files expect gateway.listen: ${GATEWAY_LISTEN:-127.0.0.1:8000}, "
            "and handoff: ${RUNTIME_DIRECTORY:-run}/ws.sock in both sections"
        )
    if "wsgi.py" in kept:
        lines.append(
            "wsgi.py was there already: gunicorn is told to serve server in it; it needs ProxyFix "
            "(docs/how-to/serve-dash.md)"
        )
    if owner(project.folder) == NO_USER:
        lines.append(f"the folder belongs to root, so the units run as {NO_USER}; a user of its own is better (User=)")
    missing = [name for name in ("honcho", project.server) if name not in project.versions]
    if missing:
        lines.append(f"not installed here: {' and '.join(missing)}; pip install {' '.join(missing)}")
    there = "" if project.folder == Path.cwd() else f"cd {shlex.quote(str(project.folder))}; "
    lines.append(f"next: {there}honcho start -f Procfile.dev")
    lines.append(f"then open http://127.0.0.1:8000, and try in another terminal: {there}dash-ws-proxy check --live")
    return lines
