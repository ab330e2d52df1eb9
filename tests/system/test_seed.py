"""The report this project began with: its script, verbatim, on its exact versions, alone and behind the gateway."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.processes import Process, free_ports, running
from tests.system.seed import PINNED

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

pytestmark = pytest.mark.timeout(600)  # the first run installs an environment


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
