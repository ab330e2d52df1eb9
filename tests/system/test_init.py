"""What ``init`` writes is taken by the programs it is for: honcho, systemd, nginx, Caddy. Containers are parsed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from websockets.sync.client import connect

import ws_service.config.settings
from proxy.config import load_settings
from proxy.dash.page_config import read_page
from tests.processes import ROOT, free_port, python, running
from tests.redis_server import redis_server
from tests.system.deployed import FASTAPI, FLASK, PATH, Deployed, deploy, environment
from tests.system.nginx import needs_nginx, running_nginx
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import request

pytestmark = pytest.mark.system

APPS = {"flask": FLASK, "fastapi": FASTAPI}


@pytest.fixture(scope="module", params=list(APPS))
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return deploy(tmp_path_factory.mktemp("init") / "my board", APPS[request.param])


# -- as it is written, on its own ports


IN_A_NETWORK = [
    *("unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])),
    *("--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
]
"""Runs a program in a network of its own, and ends with it all that it has started."""


def has_namespaces() -> bool:
    """Tell whether this process may make a network of its own."""
    made = shutil.which("unshare") and subprocess.run([*IN_A_NETWORK, "true"], capture_output=True, check=False)
    return bool(made) and made.returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="this user may not make a network namespace")
@pytest.mark.parametrize(
    ("deployed", "procfile"),
    [("flask", "Procfile.all"), ("fastapi", "Procfile.all"), ("flask", "Procfile.dev")],
    indirect=["deployed"],
)
def test_the_tutorials_app_passes_the_live_check_without_an_edit(
    deployed: Deployed, tmp_path: Path, procfile: str
) -> None:
    site = shutil.copytree(deployed.folder, tmp_path / "board")
    argv = [*IN_A_NETWORK, *python("-m", "tests.system.own_network", site, procfile)]
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    report = json.loads(told.stdout)
    assert {"programs", "dash", "sockets"} <= {area["name"] for area in report["areas"]}
    assert [found for found in report["findings"] if found["severity"] != "note"] == []


# -- hosts that give one port


def get(port: int, target: str = "/", *fields: str) -> tuple[int, bytes]:
    with Wire.to(port) as client:
        client.send(request(f"GET {target}", *fields, host=f"127.0.0.1:{port}"))
        message = client.read_message()
        return message.status, message.body


WHO = {
    FLASK: """
import time
from flask import request

@app.server.route("/who")
def who():
    return [request.remote_addr, request.scheme]

@app.server.route("/slow")
def slow():
    print("slow: begun", flush=True)
    time.sleep(2)
    return '"done"'
""",
    FASTAPI: """
import asyncio
from fastapi import Request

@app.server.get("/who")
async def who(request: Request):
    return [request.client.host, request.url.scheme]

@app.server.get("/slow")
async def slow():
    print("slow: begun", flush=True)
    await asyncio.sleep(2)
    return "done"
""",
}
"""What the server of Dash takes for the client's address, and for the scheme of the page; and a slow answer."""


def page_prefix(page: bytes) -> str | None:
    found = read_page(page.decode())
    return found.requests_pathname_prefix if found else None


@pytest.mark.parametrize(
    ("source", "variable"),
    [pytest.param(FLASK, "PORT", id="Heroku, Render"), pytest.param(FASTAPI, "DATABRICKS_APP_PORT", id="Databricks")],
)
def test_a_host_with_one_port_runs_the_command_without_a_shell(tmp_path: Path, source: str, variable: str) -> None:
    """Such a host gives 60 s to listen, and 10 s or more between SIGTERM and SIGKILL."""
    site = deploy(tmp_path / "board", source.replace("\nif __name__", f"\n{WHO[source]}\n\nif __name__"))
    site.use_own_ports()
    web = shlex.split(site.text("Procfile").partition("web:")[2])
    assert web == site.yaml("deploy/app.yaml")["command"]
    assert shlex.split(site.yaml("deploy/render.yaml")["services"][0]["startCommand"]) == web
    env = environment(PROXY_HOPS="2", **{variable: str(site.port)})
    with running(*web, cwd=site.folder, env=env, ready="gateway ready", timeout=60) as process:
        status, page = get(site.port)  # it waits for Dash
        assert (status, page_prefix(page)) == (200, "/")
        routed = ("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")  # by the host's router, here 127.0.0.1
        assert json.loads(get(site.port, "/who", *routed)[1]) == ["203.0.113.9", "https"]
        if source is FASTAPI:
            process.wait_for("takes WebSockets over")
            with connect(f"ws://127.0.0.1:{site.port}/ws") as client:
                assert client.recv(timeout=DEADLINE) == '{"msg":"hello"}'
        with Wire.to(site.port) as client:
            client.send(request("GET /slow", host=f"127.0.0.1:{site.port}"))
            process.wait_for("slow: begun")
            process.send(signal.SIGTERM)
            assert client.read_message().body == b'"done"', "it is cut when a shell between honcho and the gateway ends"
        process.wait()
        assert "SIGKILL" not in process.output, "a drain is longer than honcho waits"
        assert [f"{name}.1 stopped (rc=0)" in process.output for name in ("gateway", "ws")] == [True, True]


@needs_nginx
def test_a_host_that_removes_the_apps_prefix_and_ends_idle_connections(tmp_path: Path) -> None:
    """Dash Enterprise has each app under its name; Heroku ends what is idle for 55 s. Here a twentieth of all times."""
    assert ws_service.config.settings.Settings().ws_ping_interval == 20
    site = deploy(tmp_path / "board", FASTAPI, DASH_APP_NAME="board")
    assert "pages at /board/" in site.told
    assert "it serves at /, so a proxy in front has to remove the rest of /board/" in site.told
    site.use_own_ports(ws_ping_interval="1s")
    port = free_port()
    front = f"""
        map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
        server {{
            listen 127.0.0.1:{port};
            location /board/ {{
                proxy_pass http://127.0.0.1:{site.port}/;
                proxy_http_version 1.1;
                proxy_set_header Host $http_host;
                proxy_set_header Upgrade $http_upgrade;
                proxy_set_header Connection $connection_upgrade;
                proxy_read_timeout 2750ms;
            }}
        }}"""
    web = shlex.split(site.text("Procfile").partition("web:")[2])
    env = environment(PORT=str(site.port), DASH_APP_NAME="board")
    with (
        running(*web, cwd=site.folder, env=env, ready="gateway ready"),
        running_nginx(tmp_path, front),
        connect(f"ws://127.0.0.1:{port}/board/ws", origin=f"http://127.0.0.1:{port}", ping_interval=None) as client,  # type: ignore[arg-type]
    ):
        client.recv(timeout=DEADLINE)
        status, page = get(port, "/board/")
        assert (status, page_prefix(page)) == (200, "/board/")
        assert get(port, "/board/_dash-layout")[0] == 200
        with pytest.raises(TimeoutError):
            client.recv(timeout=3.5)  # idle for longer than the proxy in front takes, but for the pings
        client.send("still here")
        assert client.recv(timeout=DEADLINE) == "still here"


# -- systemd

UNITS = ("gateway.socket", "gateway.service", "ws.service", "dash.service")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze; on Debian: apt install systemd"
)


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = ["systemd-analyze", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_systemd_takes_the_units_and_rates_their_sandbox_ok(deployed: Deployed) -> None:
    units = [deployed.folder / "deploy" / "systemd" / f"{deployed.name}-{unit}" for unit in UNITS]
    verified = analyze("verify", "--man=no", *units)
    assert (verified.returncode, verified.stderr) == (0, "")
    for unit in units[1:]:
        rated = analyze("security", "--offline=true", "--threshold=29", unit)  # tenths; "OK" ends at 2.9
        assert rated.returncode == 0, rated.stdout
        assert re.search(r"exposure level for \S+: [0-2]\.\d OK", rated.stdout)


def unit(text: str) -> dict[str, list[str]]:
    """Return the settings of a unit file, each with its values."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_units_wait_longer_than_the_drain_and_share_their_folders(deployed: Deployed) -> None:
    settings = load_settings(deployed.folder / "config.yaml", {})
    drain = settings.timeouts.drain_notice + settings.timeouts.drain
    gateway = unit(deployed.text(f"deploy/systemd/{deployed.name}-gateway.service"))
    for name in UNITS[1:]:
        written = unit(deployed.text(f"deploy/systemd/{deployed.name}-{name}"))
        assert int(written["TimeoutStopSec"][-1]) > drain
        assert written["RuntimeDirectory"] == written["StateDirectory"] == [deployed.name]
        assert written["RuntimeDirectoryPreserve"] == ["yes"]  # else the first that stops removes the others' socket
        assert written["EnvironmentFile"] == [f"-/etc/{deployed.name}.env"]
    [listen] = [value for value in gateway["Environment"] if value.startswith("GATEWAY_LISTEN=")]
    assert load_settings(deployed.folder / "config.yaml", dict([listen.split("=")])).listen == "systemd"
    socket = unit(deployed.text(f"deploy/systemd/{deployed.name}-gateway.socket"))
    assert (socket["ListenStream"], socket["FileDescriptorName"]) == (["127.0.0.1:8000"], ["gateway"])
    assert gateway["Requires"] == [f"{deployed.name}-gateway.socket"]
    told = dict(re.findall(r"^(\w+)=(.*)$", deployed.text(f"deploy/systemd/{deployed.name}.env"), re.MULTILINE))
    by_environment = load_settings(deployed.folder / "config.yaml", told)
    assert by_environment.handoff == f"/run/{deployed.name}/ws.sock"
    service = ws_service.config.settings.load_settings(deployed.folder / "config.yaml", told)
    assert (service.handoff, service.hub.key) == (by_environment.handoff, f"/var/lib/{deployed.name}/hub.key")


# -- containers


def test_compose_has_a_container_for_each_process_on_one_network(deployed: Deployed) -> None:
    compose = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", deployed.text("compose.yaml")))  # as compose does
    services = compose["services"]
    assert set(services) == {"network", "gateway", "ws", "dash", "valkey"}
    settings = load_settings(deployed.folder / "config.yaml", services["gateway"]["environment"])
    assert settings.listen == "0.0.0.0:8000"
    assert services["network"]["ports"] == ["127.0.0.1:8000:8000"], "Docker would open it past the host's firewall"
    for name in ("gateway", "ws", "dash"):
        service = services[name]
        assert service["network_mode"] == "service:network"
        assert service["volumes"] == ["run:/app/run"]
        assert int(service["stop_grace_period"].removesuffix("s")) > settings.timeouts.drain
        assert shutil.which(service["command"][0], path=environment()["PATH"])
    assert re.fullmatch(r"valkey/valkey:\d+\.\d+-alpine", services["valkey"]["image"])
    hub = ws_service.config.settings.load_settings(deployed.folder / "config.yaml", services["ws"]["environment"])
    assert hub.hub.broker == "redis://127.0.0.1:6379/0"


def test_the_containers_of_compose_work_together(tmp_path: Path) -> None:
    """Their commands as they are, in one network and one folder; the ports and the hub's broker are this test's."""
    site = deploy(tmp_path / "board", FLASK)
    site.use_own_ports()
    text = site.text("compose.yaml").replace("8050", str(site.dash)).replace("0.0.0.0:8000", f"127.0.0.1:{site.port}")
    services = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))["services"]
    with redis_server("valkey", tmp_path) as valkey, ExitStack() as stack:
        for name, ready in (("dash", "Listening at"), ("ws", "ws service ready"), ("gateway", "gateway ready")):
            env = environment(**{key: str(value) for key, value in services[name].get("environment", {}).items()})
            if name == "ws":
                env["HUB_BROKER"] = valkey.url
            stack.enter_context(running(*services[name]["command"], cwd=site.folder, env=env, ready=ready))
        status, page = get(site.port)
        assert (status, page_prefix(page)) == (200, "/")
        test, *probe = services["ws"]["healthcheck"]["test"]
        healthy = subprocess.run([word.replace("8765", str(site.ws)) for word in probe], env={"PATH": PATH}, timeout=30)
        assert (test, healthy.returncode) == ("CMD", 0)


def test_the_pod_is_probed_and_has_longer_than_the_drain(deployed: Deployed) -> None:
    config, deployment, service, policy = yaml.safe_load_all(deployed.text("deploy/kubernetes.yaml"))
    path = deployed.folder / "in-the-pod.yaml"
    path.write_text(config["data"]["config.yaml"])
    settings = load_settings(path, {})
    assert ws_service.config.settings.load_settings(path, {}).workers == 1
    spec = deployment["spec"]["template"]["spec"]
    containers = {container["name"]: container for container in spec["containers"]}
    gateway = containers["gateway"]
    notice, drain = settings.timeouts.drain_notice, settings.timeouts.drain
    assert notice > 2 * gateway["readinessProbe"]["periodSeconds"]
    assert spec["terminationGracePeriodSeconds"] > notice + drain
    pauses = [int(containers[name]["lifecycle"]["preStop"]["exec"]["command"][1]) for name in ("ws", "dash")]
    assert pauses == [notice, notice + drain]  # they outlast what the gateway still sends them
    assert max(pauses) < spec["terminationGracePeriodSeconds"]
    ports = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    assert ports == {"http": 8000, "admin": 8001}
    assert [gateway[probe]["httpGet"] for probe in ("readinessProbe", "livenessProbe")] == [
        {"path": "/readyz", "port": "admin"},
        {"path": "/healthz", "port": "admin"},
    ]
    assert (settings.listen, settings.admin, settings.admin_public) == ("0.0.0.0:8000", "0.0.0.0:8001", True)
    assert spec["securityContext"]["runAsNonRoot"] is True
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in [*spec["containers"], *spec["initContainers"]]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["image"] == f"{deployed.name}:latest"
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert policy["spec"]["podSelector"]["matchLabels"] == labels
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "http"}]}]  # admin is for the kubelet alone
