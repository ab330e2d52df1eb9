"""``publish`` and ``dash-ws-service publish`` with the real service: found by the config file, over TCP and unix."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Process, completed, free_port, python, running
from tests.system.hub.conftest import MakeHub
from ws_service.config.file import CONFIG_VARIABLE
from ws_service.errors import PublishError
from ws_service.hub.publication import Position
from ws_service.publisher.publisher import Publisher

READY = "ws service ready on"


@pytest.fixture(params=["tcp", "unix"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of an app whose config file says nothing but where the service listens."""
    listen = f"127.0.0.1:{free_port()}" if request.param == "tcp" else "unix:run/service.sock"
    (tmp_path / "config.yaml").write_text(f"ws_service: {{listen: '{listen}', handoff: 'off'}}\n")
    return tmp_path


def serving(app: Path) -> Process:
    process = Process(python("-m", "ws_service", "--config", app / "config.yaml"), cwd=app)
    process.wait_for(READY)
    return process


@pytest.fixture
def publisher(app: Path) -> Iterator[Publisher]:
    publisher = Publisher({CONFIG_VARIABLE: str(app / "config.yaml")})
    yield publisher
    publisher.close()


def insist(publisher: Publisher, data: object, timeout: float = 10.0) -> Position | None:
    return publisher.publish("prices", data, raise_errors=True, idempotency_key=None, timeout=timeout)


def test_nothing_has_to_be_set_up_and_a_restart_of_the_service_needs_nothing(app: Path, publisher: Publisher) -> None:
    service = serving(app)
    try:
        first = insist(publisher, {"AAPL": 189.2})
        assert first is not None and first.offset == 1
        again = completed("-c", "from ws_service import publish; print(publish('prices', 2))", cwd=app)
        assert (again.stdout, again.stderr) == (f"Position(epoch='{first.epoch}', offset=2)\n", "")
        command = completed("-m", "ws_service", "publish", "prices", '{"AAPL": 190}', cwd=app)
        assert json.loads(command.stdout) == {"offset": 3, "epoch": first.epoch}
    finally:
        service.stop()
    with pytest.raises(PublishError, match=r"there is no hub at .* start dash-ws-service"):
        insist(publisher, 4)
    command = completed("-m", "ws_service", "publish", "prices", "5", cwd=app)
    assert (command.returncode, command.stdout) == (1, "")
    service = serving(app)
    try:
        after = insist(publisher, 6)
        assert after is not None and after.offset == 1 and after.epoch != first.epoch
    finally:
        service.stop()


def test_a_key_of_another_service_is_told(app: Path, publisher: Publisher) -> None:
    service = serving(app)
    try:
        insist(publisher, 1)
        (app / "run" / "hub.key").unlink()
        other = Publisher({CONFIG_VARIABLE: str(app / "config.yaml")})
        with pytest.raises(PublishError, match=r"does not accept the key from .*hub\.key"):
            insist(other, 2)
        other.close()
    finally:
        service.stop()


def test_a_service_that_hangs_costs_a_callback_one_timeout(app: Path, publisher: Publisher) -> None:
    with running(*python("-m", "ws_service", "--config", app / "config.yaml"), cwd=app, ready=READY) as service:
        insist(publisher, 1)
        service.send(signal.SIGSTOP)
        os.waitid(os.P_PID, service.pid, os.WSTOPPED)
        try:
            began = time.monotonic()
            published = [
                publisher.publish("prices", n, raise_errors=False, idempotency_key=None, timeout=0.5)
                for n in range(100)
            ]
            assert published == [None] * 100
            assert time.monotonic() - began < 3
        finally:
            service.send(signal.SIGCONT)


APP = """
import time
from fastapi import FastAPI, WebSocket
from ws_service import publish

app = FastAPI()


@app.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()


@app.get("/in-the-loop")
async def in_the_loop():
    began = time.monotonic()
    for n in range(100):
        publish("own", n)
    return {"took": time.monotonic() - began}


@app.get("/in-a-thread")
def in_a_thread():
    return {"offset": publish("own", "thread", raise_errors=True).offset}
"""


def test_an_endpoint_of_the_services_own_app_publishes_without_holding_up_the_loop(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "own.py").write_text(APP)
    (tmp_path / "config.yaml").write_text(f"ws_service: {{app: 'own:app', listen: '127.0.0.1:{port}', handoff: 'off'}}")

    def ask(path: str) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            found: dict[str, float] = json.load(answer)
            return found

    with running(
        *python("-m", "ws_service", "--config", tmp_path / "config.yaml"), cwd=tmp_path, ready=READY
    ) as service:
        assert ask("/in-the-loop")["took"] < 0.5
        assert ask("/in-a-thread") == {"offset": 101}
        assert "Traceback" not in service.output and "is not published" not in service.output


def test_the_hubs_own_refusals_reach_the_caller(make_hub: MakeHub) -> None:
    hub = make_hub(max_publication="2KiB", api_key="a-key-of-the-api-for-cent-and-others")
    publisher = Publisher({CONFIG_VARIABLE: str(hub.folder / "config.yaml")})
    try:
        assert insist(publisher, "x" * 2000) is not None
        with pytest.raises(ValueError, match="max_publication"):
            insist(publisher, "x" * 2048)
        far = Publisher({"DASH_WS_HUB_URL": hub.api[:-4], CONFIG_VARIABLE: str(hub.folder / "config.yaml")})
        with pytest.raises(ValueError, match="max_publication"):
            insist(far, "x" * 200_000)
        through = Publisher({"DASH_WS_HUB_URL": hub.gateway.url, CONFIG_VARIABLE: str(hub.folder / "config.yaml")})
        with pytest.raises(PublishError, match="is no hub: name the service's own listener"):
            insist(through, 1)
        far.close()
        through.close()
    finally:
        publisher.close()
