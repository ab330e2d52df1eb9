"""``check --live`` on real programs: nothing is found on healthy ones, and each fault on those that have it.

The faults of versions are found in the version that is installed; ``make dash-versions`` runs this with others too.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import main
from tests.processes import completed, free_port, free_ports, python, running
from tests.system.nginx import needs_nginx, running_nginx

pytestmark = pytest.mark.system

APPS = Path(__file__).parent / "apps"

DASH_PYTHON = os.environ.get("DASH_PYTHON", sys.executable)

FOUND_IN = {
    "4.1.0rc0": {"DW031"},
    "4.2.0": {"DW032", "DW033"},
    "4.3.0": {"DW033"},
    "4.4.1": {"DW033"},
}
"""What is found of a Dash on FastAPI whose two prefixes differ, by its version; nothing of others."""


@dataclass
class SetUp:
    """Programs that run by a config file. config: its values."""

    folder: Path
    config: dict[str, Any]
    url: str

    def check(self, *words: str, **gateway: object) -> dict[str, Any]:
        """Check it, by a copy of the file with other settings of ``gateway``; return what ``--json`` prints.

        A hand-off is that of both sections.
        """
        values = {**self.config, "gateway": {**self.config["gateway"], **gateway}}
        if "handoff" in gateway:
            values["ws_service"] = {**values["ws_service"], "handoff": gateway["handoff"]}
        if "--idle" not in words:
            words = (*words, "--idle", "0")
        path = self.folder / ("checked.yaml" if gateway else "config.yaml")
        path.write_text(yaml.safe_dump(values))
        done = CliRunner().invoke(main, ["check", "--live", "--json", "--config", str(path), *words])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        values = json.loads(done.stdout)
        assert values["exit_code"] == done.exit_code
        return values

    def found(self, *words: str, **gateway: object) -> set[str]:
        """Return the ids of what is found, but for notes."""
        findings = self.check(*words, **gateway)["findings"]
        return {finding["id"] for finding in findings if finding["severity"] != "note"}


def command_of(backend: str, port: int, *arguments: str) -> tuple[list[str], str]:
    """Return the command line that serves the app, and the line that says it does."""
    if backend == "flask":
        gunicorn = [DASH_PYTHON, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "4"]
        return [*gunicorn, "--bind", f"127.0.0.1:{port}", *arguments, "checked:server"], "Booting worker"
    return [DASH_PYTHON, "-m", "uvicorn", "--port", str(port), *arguments, "checked:server"], "Uvicorn running on"


@contextmanager
def set_up(
    folder: Path,
    backend: str,
    *arguments: str,
    keywords: dict[str, object] | None = None,
    apps: Path = APPS,
    service: dict[str, object] | None = None,
    ws: str | None = None,
    **gateway: object,
) -> Iterator[SetUp]:
    """Run Dash, the gateway and, where ``ws`` names none, a service for the length of a ``with`` block.

    arguments: further ones of Dash's server. keywords: of dash.Dash. service, gateway: further settings.
    """
    dash, listen, admin, own = free_ports(4)
    config: dict[str, Any] = {
        "gateway": {
            "listen": f"127.0.0.1:{listen}",
            "admin": f"127.0.0.1:{admin}",
            "upstreams": {"dash": f"http://127.0.0.1:{dash}", "ws": ws or f"http://127.0.0.1:{own}"},
            "health": {"interval": "200ms"},
            **({"handoff": "off"} if ws else {}),
            **gateway,
        }
    }
    if ws is None:
        config["ws_service"] = {"listen": f"127.0.0.1:{own}", **(service or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    argv, ready = command_of(backend, dash, *arguments)
    env = {"BACKEND": backend, "KEYWORDS": json.dumps(keywords or {})}
    with ExitStack() as stack:
        started = [(stack.enter_context(running(*argv, cwd=apps, env=env)), ready)]
        if ws is None:
            started.append((stack.enter_context(running(*python("-m", "ws_service"), cwd=folder)), "ws service ready"))
        started.append((stack.enter_context(running(*python("-m", "proxy"), cwd=folder)), "gateway ready on"))
        for process, line in started:
            process.wait_for(line)
        yield SetUp(folder, config, f"http://127.0.0.1:{listen}")


@pytest.fixture(scope="module")
def fastapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SetUp]:
    """A healthy one on FastAPI, with an app in the service."""
    folder = tmp_path_factory.mktemp("fastapi")
    shutil.copy(APPS / "echo.py", folder)
    with set_up(folder, "fastapi", service={"app": "echo:app"}) as healthy:
        yield healthy


def test_a_healthy_set_up_on_fastapi_has_no_findings_and_is_well(fastapi: SetUp) -> None:
    done = completed("-m", "proxy", "check", "--live", cwd=fastapi.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    marks = {line.split()[1]: line[0] for line in done.stdout.splitlines() if line[0] in "✓✗!-"}
    # No health path is asked by default; there is no --url, no rule of auth, and no URL of the app in its page.
    assert [marks.pop(name) for name in ("links", "auth", "health", "idle")] == ["-"] * 4
    assert set(marks.values()) == {"✓"}, done.stdout
    assert done.stdout.splitlines()[-1].startswith("nothing to repair")
    done = completed("-m", "proxy", "healthcheck", cwd=fastapi.folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive (ready)\n", "")
    done = completed("-m", "proxy", "healthcheck", "--ready", cwd=fastapi.folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


def test_a_healthy_set_up_on_flask_with_a_unix_socket_for_admin_has_no_findings(tmp_path: Path) -> None:
    keywords: dict[str, object] = {"url_base_pathname": "/app/"}
    with set_up(tmp_path, "flask", keywords=keywords, dash_prefix="/app/", admin="unix:run/admin.sock") as healthy:
        assert healthy.found() == set()
        assert healthy.found("--url", f"{healthy.url}/app/") == set()
        done = completed("-m", "proxy", "healthcheck", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "alive (ready)\n", "")
    done = completed("-m", "proxy", "healthcheck", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("run/admin.sock cannot be asked: no such file or directory\n")


def test_a_config_that_does_not_fit_what_runs(fastapi: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", "another-key-than-that-of-the-service")
    values = fastapi.check(
        dash_prefix="/other/", handoff="run/none.sock", health={"dash": "/health", "ws": "/none", "interval": 0}
    )
    findings = [finding for finding in values["findings"] if finding["severity"] != "note"]
    # DW030 is not among them: a Dash on FastAPI answers any path with its page.
    places = {finding["id"]: finding["place"]["key"] for finding in findings if finding["area"] != "config"}
    assert places == {
        "DW026": "gateway.handoff",
        "DW029": "ws_service.hub.key",
        "DW037": "gateway.dash_prefix",
        "DW047": "gateway.health.ws",
        "DW048": "gateway.health.dash",
    }
    assert all(finding["place"]["line"] for finding in findings)


NGINX = """
server {{
    listen 127.0.0.1:{no_host};
    location / {{
        proxy_pass {gateway}; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
}}
server {{
    listen 127.0.0.1:{no_upgrade};
    location / {{ proxy_pass {gateway}; proxy_set_header Host $http_host; }}
}}
server {{
    listen 127.0.0.1:{own_origin};
    location / {{
        proxy_pass {gateway}; proxy_http_version 1.1; proxy_set_header Host $http_host;
        proxy_set_header Origin http://$http_host;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
}}
server {{
    listen 127.0.0.1:{good};
    location / {{
        proxy_pass {gateway}; proxy_http_version 1.1; proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }}
}}
"""


@needs_nginx
def test_what_a_proxy_in_front_changes_is_found_at_the_public_address(fastapi: SetUp, tmp_path: Path) -> None:
    names = ("no_host", "no_upgrade", "own_origin", "good")
    ports = dict(zip(names, free_ports(4), strict=True))
    with running_nginx(tmp_path, NGINX.format(gateway=fastapi.url, **ports)):
        found = {name: fastapi.found("--url", f"http://127.0.0.1:{port}/") for name, port in ports.items()}
    mine = {f"DW{number:03}" for number in range(20, 50)}
    assert {name: ids & mine for name, ids in found.items()} == {
        "no_host": {"DW038", "DW042"},
        "no_upgrade": {"DW040", "DW041"},
        "own_origin": {"DW039", "DW043"},
        "good": set(),
    }


def test_a_server_without_websockets_and_scripts_of_one_machine(fastapi: SetUp, tmp_path: Path) -> None:
    apps = tmp_path / "apps"
    (apps / "assets").mkdir(parents=True)
    shutil.copy(APPS / "checked.py", apps)
    (apps / "assets" / "live.js").write_text(
        'new WebSocket("ws://localhost:8765/live");\nnew WebSocket("ws://" + location.host + "/live");\n'
    )
    routes = [{"path": "/live", "to": "dash"}]
    ws = fastapi.config["gateway"]["upstreams"]["ws"]
    with set_up(tmp_path, "fastapi", "--ws", "none", apps=apps, ws=ws, routes=routes) as faulty:
        values = faulty.check()
    seen = {finding["id"]: finding["seen"] for finding in values["findings"] if finding["severity"] != "note"}
    assert set(seen) >= {"DW040", "DW041", "DW045", "DW046"}
    assert {identifier for identifier in seen if identifier < "DW050"} == {"DW040", "DW041", "DW045", "DW046"}
    assert seen["DW045"] == "/assets/live.js:1 has ws://localhost:8765"
    assert values["exit_code"] == 1


def test_a_prefix_that_pages_alone_know_and_a_route_to_a_dash_without_websockets(
    fastapi: SetUp, tmp_path: Path
) -> None:
    ws = fastapi.config["gateway"]["upstreams"]["ws"]
    keywords: dict[str, object] = {"requests_pathname_prefix": "/app/"}
    routes = [{"path": "/live", "to": "dash"}]
    with set_up(tmp_path, "flask", keywords=keywords, ws=ws, routes=routes) as faulty:
        assert {identifier for identifier in faulty.found() if identifier < "DW050"} == {"DW036", "DW044"}
        found = faulty.found("--url", f"{faulty.url}/")
        assert {identifier for identifier in found if identifier < "DW050"} == {"DW035", "DW044"}


def test_programs_that_do_not_run_and_one_that_is_no_dash(fastapi: SetUp, tmp_path: Path) -> None:
    ws = fastapi.config["gateway"]["upstreams"]["ws"]
    away, listen = free_ports(2)
    none = {"upstreams": {"dash": f"http://127.0.0.1:{away}", "ws": f"http://127.0.0.1:{away}"}}
    gateway = {**fastapi.config["gateway"], "handoff": "off"}
    alone = SetUp(tmp_path, {"gateway": gateway}, fastapi.url)
    assert alone.found(listen=f"127.0.0.1:{listen}", **none) == {"DW020", "DW021", "DW022"}
    assert "DW030" in alone.found(upstreams={"dash": ws, "ws": ws})
    assert "DW023" in alone.found("--url", f"http://127.0.0.1:{away}/")


def test_known_faults_of_the_version_that_runs_and_a_gateway_by_another_file(fastapi: SetUp, tmp_path: Path) -> None:
    """With prefixes that differ: a proxy in front is meant to remove a part, and 4.2.0 fails then."""
    keywords: dict[str, object] = {"requests_pathname_prefix": "/x/app/", "routes_pathname_prefix": "/app/"}
    away = f"http://127.0.0.1:{free_port()}"
    settings = {"dash_prefix": "/app/", "timeouts": {"hold": "100ms"}}
    with set_up(tmp_path, "fastapi", keywords=keywords, ws=away, **settings) as faulty:
        upstreams = faulty.config["gateway"]["upstreams"]
        values = faulty.check(upstreams={**upstreams, "ws": fastapi.config["gateway"]["upstreams"]["ws"]})
    version = next(area["seen"] for area in values["areas"] if area["name"] == "dash").split()[1]
    found = {finding["id"] for finding in values["findings"] if finding["area"] == "dash"}
    assert found == FOUND_IN.get(version, set()), version
    assert {"DW025", "DW036"} <= {finding["id"] for finding in values["findings"]}
