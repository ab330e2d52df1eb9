"""What the templates of ``init`` have in the place of ``{{name}}``, for one app."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from proxy.init.project import PORT, Project, installed_from, owner, programs, python_version

EXAMPLE_HOST = "dash.example.com"

_WORKERS = "2"
"""Processes of gunicorn. Its own advice is two for each core and one; each holds the app's data once more."""

_THREADS = "8"
"""Of each process. With threads a long callback does not end at gunicorn's timeout of 30 s, and blocks no other."""

_FRAMEWORK_NAMES = {"flask": "Flask", "fastapi": "FastAPI", "quart": "Quart"}

_LOWEST = {"dash-ws-proxy": "0.1.0", "gunicorn": "23", "honcho": "2.0", "uvicorn": "0.41"}
"""Versions of what is not installed where ``init`` runs."""

_WHEELS = "deploy/wheels"
"""Where the wheel is of a package that is on no index."""

_PROBE = "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"


_TIMES = {"interval": "30s", "timeout": "10s", "start_period": "60s"}


def described(project: Project) -> str:
    """Return in one line what was found."""
    place = f"{project.module.replace('.', '/')}.py"
    framework = _FRAMEWORK_NAMES.get(project.app.framework, "another server")
    return f"{place}: Dash {project.app.dash} on {framework}"


def values(project: Project, host: str | None) -> dict[str, str]:
    """Return the text for each name in the templates.

    host: the name under which browsers reach the site; None: it is not known.
    """
    unknown = f"\n# init cannot know the name of your site: replace {EXAMPLE_HOST}, or run it with --host NAME."
    return {
        "what": described(project),
        "name": project.name,
        "variable": re.sub(r"[^a-z0-9]", "_", project.name),
        "module": project.module,
        "attribute": project.app.app,
        "host": host or EXAMPLE_HOST,
        "host_note": "" if host else unknown,
        "health_path": _yaml(project.app.routes),
        **_settings(project),
        **_programs(project),
        **_unit(project),
        **_container(project),
    }


def _settings(project: Project) -> dict[str, str]:
    """Return the lines of config.yaml, and those of the one in the Kubernetes manifest."""
    url = f"http://127.0.0.1:{project.port}"
    dash = "" if project.port == PORT else f"  upstreams:\n    dash: {url}      # as in {project.module}.py\n"
    routes = project.app.routes
    prefix = "" if routes == "/" else f"  dash_prefix: {_yaml(routes)}      # as in {project.module}.py\n"
    app = "# app: live:app      # init found no WebSocket endpoints: module:attribute of a FastAPI app that has some"
    service = "# ws_service: {app: live:app}      # init found no WebSocket endpoints"
    if project.live:
        app = f"app: {project.live}      # whose WebSocket endpoints are served"
        service = f"ws_service: {{app: {project.live}}}"
    gateway = textwrap.indent(dash + prefix, "    ")
    return {"gateway": dash + prefix, "app": f"  {app}\n", "k8s_gateway": gateway, "k8s_service": f"    {service}"}


def _programs(project: Project) -> dict[str, str]:
    """Return the command that serves Dash, as a shell, a list and a unit have it, and the one for development."""
    command = serve_command(project)
    return {
        "port": str(project.port),
        "serve_shell": _shell(command),
        "serve_list": json.dumps(command),
        "serve_unit": " ".join([_word(programs() / command[0]), *command[1:]]),
        **_hops(project),
        "develop": _develop(project),
    }


def _hops(project: Project) -> dict[str, str]:
    """Return what tells the server of Dash which proxies there are: how many, or for uvicorn which addresses."""
    if project.server != "gunicorn":
        known = "127.0.0.1,10.0.0.0/8"
        return {
            "hops_on_a_host": f'{{name: FORWARDED_ALLOW_IPS, value: "{known}"}}',
            "hops_on_render": f'{{key: FORWARDED_ALLOW_IPS, value: "{known}"}}',
            "hops_in_compose": "FORWARDED_ALLOW_IPS: ${FORWARDED_ALLOW_IPS:-127.0.0.1}      # and the proxy in front",
            "hops_in_unit": "",
        }
    return {
        "hops_on_a_host": '{name: PROXY_HOPS, value: "2"}',
        "hops_on_render": '{key: PROXY_HOPS, value: "2"}',
        "hops_in_compose": "PROXY_HOPS: ${PROXY_HOPS:-1}      # 2 with a proxy in front",
        "hops_in_unit": "# nginx or Caddy, and the gateway. With the gateway alone it is 1.\nEnvironment=PROXY_HOPS=2\n"
        f"# gunicorn's control socket.\nEnvironment=XDG_RUNTIME_DIR=/run/{project.name}\n",
    }


def _word(path: Path) -> str:
    """Return a path as one word of a unit file (systemd.syntax(7), systemd.service(5))."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%")
    return '"' + text.replace('"', '\\"') + '"' if re.search(r"[\s\"'\\]", text) else text


def _variable(path: Path) -> str:
    """Return a path for double quotes in an EnvironmentFile, which a shell reads too."""
    return re.sub(r'(["\\$`])', r"\\\1", str(path))


def _yaml(path: str) -> str:
    """Return the path of a URL as a scalar of YAML."""
    return path if re.fullmatch(r"[\w/.~-]+", path, re.ASCII) else json.dumps(path)


def _unit(project: Project) -> dict[str, str]:
    is_gunicorn = project.server == "gunicorn"
    return {
        "folder_variable": _variable(project.folder),
        "folder_path": str(project.folder).replace("%", "%%"),
        "folder_word": _word(project.folder),
        "config_word": _word(project.folder / "config.yaml").replace("$", "$$"),  # systemd.service(5)
        "gateway_word": _word(programs() / "dash-ws-proxy"),
        "service_word": _word(programs() / "dash-ws-service"),
        "user": owner(project.folder),
        "protect_home": "read-only" if _is_in_a_home(project.folder, programs()) else "yes",
        "dash_type": "Type=notify\nKillMode=mixed" if is_gunicorn else "Type=exec",
        "dash_reload": "ExecReload=/bin/kill -HUP $MAINPID\n" if is_gunicorn else "",
    }


def _container(project: Project) -> dict[str, str]:
    has_own = (project.folder / "requirements.txt").is_file()
    return {
        "python": python_version(),
        "requirements": "\n".join(_requirements(project, has_own)),
        "copied": "COPY requirements.txt ./\n" if has_own else "",
        "installed": f"{'-r requirements.txt ' if has_own else ''}-r deploy/requirements.txt",
        "ws_healthcheck": json.dumps({"test": ["CMD", "python", "-c", _PROBE], **_TIMES}),
        "ws_probe": json.dumps(["python", "-c", _PROBE]),
    }


def serve_command(project: Project) -> list[str]:
    """Return the command that serves Dash, in production, on loopback."""
    if project.server == "gunicorn":
        size = ["--workers", _WORKERS, "--threads", _THREADS]
        return ["gunicorn", "--bind", f"127.0.0.1:{project.port}", *size, project.target]
    return ["uvicorn", "--host", "127.0.0.1", "--port", str(project.port), project.target]


def _shell(command: Sequence[str]) -> str:
    """Return a command for a shell; hosts say in WEB_CONCURRENCY how many processes fit into the memory."""
    return " ".join(command).replace(f"--workers {_WORKERS}", f"--workers ${{WEB_CONCURRENCY:-{_WORKERS}}}")


def _develop(project: Project) -> str:
    if project.script is None or not project.script.runs:
        reload = "--reload --workers 1" if project.server == "gunicorn" else "--reload"
        return f"{_shell(serve_command(project)).replace('--workers ${WEB_CONCURRENCY:-2} ', '')} {reload}"
    return f"python -m {project.module}" if "." in project.module else f"python {project.module}.py"


def _is_in_a_home(*folders: Path) -> bool:
    return any(folder.parts[1:2] in (("home",), ("root",)) for folder in folders)


def _requirements(project: Project, has_own: bool) -> list[str]:
    lines = []
    if not has_own:
        extra = "" if project.app.framework in ("", "flask") else f"[{project.app.framework}]"
        lines += ["# There is no requirements.txt: add what the app imports.", f"dash{extra}=={project.app.dash}"]
    if (source := installed_from()) is not None:
        lines += [
            f"# It was installed from {source}. Its wheel is named by its path: what an index has under its name may",
            "# be another program. Put it there with",
            f"# pip wheel --no-deps -w {_WHEELS} {source.removeprefix('file://')}",
        ]
    names = ["dash-ws-proxy", *(["gunicorn"] if project.server == "gunicorn" else []), "honcho"]
    for name in names:
        extra = "[redis]" if name == "dash-ws-proxy" else ""
        version = project.versions.get(name)
        if name == "dash-ws-proxy" and source is not None and version:
            lines.append(f"./{_WHEELS}/dash_ws_proxy-{version}-py3-none-any.whl{extra}")
        else:
            lines.append(f"{name}{extra}=={version}" if version else f"{name}{extra}>={_LOWEST[name]}")
    return lines
