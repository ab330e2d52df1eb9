"""The report this project began with: its script, verbatim, on its exact versions, alone and behind the gateway."""

from __future__ import annotations

import fcntl
import hashlib
import json
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.processes import ROOT, Process, free_ports, running

SCRIPT = """\
import dash
from dash import html
from fastapi import WebSocket, WebSocketDisconnect

app = dash.Dash(__name__, backend="fastapi")
app.layout = html.Div("Hello")

@app.server.websocket("/ws")
async def ws_endpoint(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_json({"msg": "hello"})
    await websocket.close()

if __name__ == "__main__":
    app.run(debug=True, port=8050)
"""
"""plotly/dash#3636, the reproduction as it stands there."""

PORT = 8050
"""Written in the script, so the test cannot choose another."""

PINNED = {"dash": "4.1.0rc0", "fastapi": "0.135.1", "starlette": "1.0.0rc1", "uvicorn": "0.41.0"}
"""The versions of the report; they stay when our own constraints move on."""

OURS = ["aiohttp", "click", "httptools", "pydantic", "pyyaml", "uvloop", "websockets"]
"""What the gateway and the service import besides."""

pytestmark = pytest.mark.timeout(600)  # the first run installs an environment


def requirements() -> tuple[str, str]:
    """Return what to install and the constraints for everything that the report does not pin."""
    pins = [f"{name}[fastapi]=={v}" if name == "dash" else f"{name}=={v}" for name, v in PINNED.items()]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    others = [line for line in lines if line.partition("==")[0] not in PINNED and line[:1].isalnum()]
    return "\n".join([*pins, *OURS]) + "\n", "\n".join(others) + "\n"


def install(folder: Path, wanted: str, others: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    (folder / "requirements.txt").write_text(wanted)
    (folder / "constraints.txt").write_text(others)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    files = ["-r", folder / "requirements.txt", "-c", folder / "constraints.txt"]
    done = subprocess.run([*pip, *files], capture_output=True, text=True)
    assert done.returncode == 0, f"the environment of the report cannot be installed:\n{done.stderr}"
    (folder / "complete").touch()


@pytest.fixture(scope="session")
def seed_python() -> Path:
    """The interpreter of an environment with exactly the report's versions, made once and kept in .venv-seed."""
    wanted, others = requirements()
    key = hashlib.sha256(f"{sys.version}\n{wanted}\n{others}".encode()).hexdigest()[:16]
    home = ROOT / ".venv-seed"
    home.mkdir(exist_ok=True)
    (home / ".gitignore").write_text("*\n")  # git and the linters leave it alone
    folder = home / key
    with (home / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once share one installation
        if not (folder / "complete").exists():
            install(folder, wanted, others)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("seed")
    (made / "app.py").write_text(SCRIPT)
    return made


@pytest.fixture(scope="module")
def dash_alone(seed_python: Path, folder: Path) -> Iterator[Process]:
    """The script as its author runs it: ``python app.py``, with debug mode and its reloader."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            pytest.fail(f"port {PORT} is taken; the script of the report listens there, so this test needs it")
    with running(seed_python, "app.py", ready="Started server process", cwd=folder) as process:
        wait_until_accepted(process)
        yield process


def wait_until_accepted(process: Process) -> None:
    """Wait for the listener: Dash's debug mode silences the line in which uvicorn would say that it serves."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", PORT), timeout=10).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nothing listens on {PORT}:\n{process.output}"
            select.select([], [], [], 0.05)


@pytest.fixture(scope="module", params=["run/ws.sock", "off"])
def gateway(request: pytest.FixtureRequest, seed_python: Path, folder: Path, dash_alone: Process) -> Iterator[str]:
    """The gateway and the service beside the running script, on both ways; yields the gateway's ``host:port``."""
    ours, admin, service = free_ports(3)
    (folder / "config.yaml").write_text(
        f"""
gateway:
  listen: 127.0.0.1:{ours}
  admin: 127.0.0.1:{admin}
  upstreams:
    dash: http://127.0.0.1:{PORT}
    ws: http://127.0.0.1:{service}
  handoff: {request.param}
ws_service:
  listen: 127.0.0.1:{service}
  app: app:app
"""
    )
    with ExitStack() as stack:
        for module in ("ws_service", "proxy"):
            argv = (seed_python, "-m", module, "--config", "config.yaml")
            process = stack.enter_context(running(*argv, ready=r"ready on http://127\.0\.0\.1:", cwd=folder))
        yield f"127.0.0.1:{ours}"
        process.wait_for("tunnel closed" if request.param == "off" else "hand-off closed")


def page(address: str) -> tuple[int, str]:
    with urlopen(f"http://{address}/", timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_the_environment_has_exactly_the_versions_of_the_report(seed_python: Path) -> None:
    code = "import sys, json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    found = subprocess.run([seed_python, "-c", code, *PINNED], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == PINNED


def test_alone_the_handshake_fails_with_500(dash_alone: Process) -> None:
    before = len(dash_alone.output)
    with pytest.raises(InvalidStatus, match="HTTP 500"):
        connect(f"ws://127.0.0.1:{PORT}/ws")
    dash_alone.wait_for("AssertionError", after=before)


def test_behind_the_gateway_the_handshake_succeeds_and_hello_arrives(gateway: str) -> None:
    with connect(f"ws://{gateway}/ws") as client:
        assert json.loads(client.recv(timeout=30)) == {"msg": "hello"}
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=30)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


def test_behind_the_gateway_the_page_is_the_one_that_dash_serves(gateway: str) -> None:
    status, text = page(gateway)
    assert status == 200
    assert "_dash-config" in text
    assert text == page(f"127.0.0.1:{PORT}")[1]


def test_behind_the_gateway_the_script_is_still_reloaded_when_it_is_edited(
    gateway: str, folder: Path, dash_alone: Process
) -> None:
    before = len(dash_alone.output)
    (folder / "app.py").write_text(SCRIPT.replace('html.Div("Hello")', 'html.Div("Hello again")'))
    try:
        dash_alone.wait_for("Started server process", after=before)  # the listener stays with the reloader
        with urlopen(f"http://{gateway}/_dash-layout", timeout=30) as answer:
            assert json.load(answer)["props"]["children"] == "Hello again"
    finally:
        (folder / "app.py").write_text(SCRIPT)
