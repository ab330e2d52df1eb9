"""``check --live`` on set-ups whose transport is at fault: real proxies in front, several processes of Dash."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.certificates import Authority
from tests.processes import completed, free_port, free_ports, python, running
from tests.system.nginx import needs_nginx, running_nginx
from tests.system.test_doctor import APPS, SetUp, command_of, set_up

pytestmark = pytest.mark.system

MINE = {f"DW{number:03}" for number in range(49, 80)}

PREFIX = "/app/"


def found(checked: SetUp, *words: str, **gateway: object) -> set[str]:
    return checked.found(*words, **gateway) & MINE


@pytest.fixture(scope="module")
def flask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SetUp]:
    """A healthy one on gunicorn, below a prefix, with a rule of forward authentication for one path."""
    folder = tmp_path_factory.mktemp("flask")
    shutil.copy(APPS / "visited.py", folder / "checked.py")
    shutil.copy(APPS / "echo.py", folder)
    gateway = {"auth": [{"path": "/app/admin", "ask": "/auth"}], "trusted_proxies": ["127.0.0.1"]}
    with set_up(folder, "flask", apps=folder, service={"app": "echo:app"}, dash_prefix=PREFIX, **gateway) as healthy:
        yield healthy


def test_a_healthy_set_up_on_flask_has_no_findings(flask: SetUp) -> None:
    values = flask.check("-H", "Cookie: user=ada", "--echo", "/echo")
    assert values["findings"] == []
    seen = {area["name"]: area["seen"] for area in values["areas"]}
    assert seen["messages"] == "/echo and /app/connection/websocket: as without proxies"
    assert seen["events"].startswith("the first event of /app/connection/uni_sse came after")
    assert seen["links"] == "the app knows the host that browsers use"
    assert seen["workers"] == "18 requests got the same app"
    assert seen["auth"] == "/app/admin lets this client pass"


def test_processes_that_disagree(flask: SetUp, tmp_path: Path) -> None:
    """Two processes of Dash, two services, one of them without its broker, and a gunicorn that trusts no gateway."""
    source = (APPS / "visited.py").read_text("utf-8").replace("FAULTY = False", "FAULTY = True")
    (tmp_path / "checked.py").write_text(source)
    one, two, service = free_ports(3)
    urls = [f"http://127.0.0.1:{port}" for port in (one, two)]
    key = flask.folder / "run" / "hub.key"
    hub = {"key": str(key), "broker": f"redis://127.0.0.1:{free_port()}/0"}  # there is none
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({"ws_service": {"listen": f"127.0.0.1:{service}", "handoff": "off", "hub": hub}})
    )
    env = {"BACKEND": "flask"}
    with ExitStack() as stack:
        programs = [(stack.enter_context(running(*python("-m", "ws_service"), cwd=tmp_path)), "ws service ready")]
        for port in (one, two):
            argv, ready = command_of("flask", port, "--forwarded-allow-ips", "10.0.0.1")
            programs.append((stack.enter_context(running(*argv, cwd=tmp_path, env=env)), ready))
        for program, ready in programs:
            program.wait_for(ready)
        first = flask.config["gateway"]["upstreams"]["ws"]
        ids = found(
            flask,
            upstreams={"dash": urls, "ws": [first, f"http://127.0.0.1:{service}"]},
            auth=[{"path": "/app/one", "ask": "/app/none"}, {"path": "/app/two", "ask": "/app/_dash-dependencies"}],
        )
    assert ids == {"DW049", "DW050", "DW053", "DW054", "DW055", "DW056", "DW058", "DW059"}


PASS = """
    proxy_pass {gateway}; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
"""

NGINX = f"""
server {{{{ listen 127.0.0.1:{{no_host}}; location / {{{{ {PASS} }}}} }}}}
server {{{{ listen 127.0.0.1:{{no_cookie}}; location / {{{{ {PASS}
    proxy_set_header Host $http_host; proxy_set_header Cookie ""; }}}} }}}}
server {{{{ listen 127.0.0.1:{{soon}}; location / {{{{ {PASS}
    proxy_set_header Host $http_host; proxy_read_timeout 1s; }}}} }}}}
server {{{{ listen 127.0.0.1:{{collecting}}; location / {{{{ {PASS}
    proxy_set_header Host $http_host; proxy_ignore_headers X-Accel-Buffering;
    gzip on; gzip_types text/event-stream; }}}} }}}}
server {{{{ listen 127.0.0.1:{{no_deflate}}; location / {{{{ {PASS}
    proxy_set_header Host $http_host; proxy_set_header Sec-WebSocket-Extensions ""; }}}} }}}}
server {{{{ listen 127.0.0.1:{{no_proto}} ssl; ssl_certificate {{certificate}}; ssl_certificate_key {{key}};
    location / {{{{ {PASS} proxy_set_header Host $http_host; }}}} }}}}
server {{{{ listen 127.0.0.1:{{good}} ssl; ssl_certificate {{certificate}}; ssl_certificate_key {{key}};
    location / {{{{ {PASS} proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme; }}}} }}}}
"""


@needs_nginx
def test_what_proxies_in_front_remove(flask: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    expected: dict[str, set[str]] = {
        "no_host": {"DW052"},
        "no_cookie": {"DW057"},
        "soon": {"DW065"},
        "collecting": {"DW060"},
        "no_deflate": {"DW061"},
        "no_proto": {"DW051"},
        "good": set(),
    }
    ports = dict(zip(expected, free_ports(len(expected)), strict=True))
    site = NGINX.format(gateway=flask.url, **authority.issue("localhost"), **ports)
    with running_nginx(tmp_path, site):
        ids = {}
        for name, port in ports.items():
            scheme = "https" if name in ("no_proto", "good") else "http"
            url = f"{scheme}://localhost:{port}{PREFIX}"
            idle = {"soon": "3", "good": "1"}.get(name, "0")
            ids[name] = found(flask, "--url", url, "-H", "Cookie: user=ada", "--echo", "/echo", "--idle", idle)
        # A file for the gateway alone says of no hub.
        alone = SetUp(tmp_path, {"gateway": {**flask.config["gateway"], "handoff": "off"}}, flask.url)
        without_hub = {
            name: found(alone, "--url", f"http://localhost:{ports[name]}{PREFIX}") for name in ("no_host", "no_cookie")
        }
    assert ids == expected
    assert without_hub == {"no_host": {"DW052", "DW066"}, "no_cookie": set()}


def test_a_proxy_that_makes_frames_of_its_own(flask: SetUp) -> None:
    port = free_port()
    with running(*python("reframing.py", str(port), flask.url), cwd=APPS, ready="reframing proxy ready"):
        ids = found(flask, "--url", f"http://127.0.0.1:{port}{PREFIX}", "--echo", "/echo")
    assert ids == {"DW061", "DW062", "DW063", "DW064"}


def test_two_addresses_are_compared(flask: SetUp, tmp_path: Path) -> None:
    """The gateway changes nothing; a proxy that passes no request body on does, and the callback tells it."""
    dash = f"{flask.config['gateway']['upstreams']['dash']}{PREFIX}"
    done = completed("-m", "proxy", "check", "--compare", dash, f"{flask.url}{PREFIX}", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = {line.split("(")[1].split(")")[0] for line in done.stdout.splitlines() if line.startswith("✓")}
    assert asked >= {"index", "HEAD of the index", "layout", "dependencies", "callback", "component suite"}
    port = free_port()
    with running(*python("reframing.py", str(port), flask.url), cwd=APPS, ready="reframing proxy ready"):
        url = f"http://127.0.0.1:{port}{PREFIX}"
        done = completed("-m", "proxy", "check", "--compare", dash, url, "--json", cwd=tmp_path)
    values = json.loads(done.stdout)
    assert done.returncode == values["exit_code"] == 1, done.stdout
    callback = next(each for each in values["requests"] if "(callback)" in each["request"])
    assert callback["result"] == "different"
    assert callback["differences"][0]["what"] == "status"
    done = completed("-m", "proxy", "check", "--compare", f"{flask.url}/none", flask.url, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no page of Dash" in done.stderr
