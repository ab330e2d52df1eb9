"""What a client says, in the service's log: text on one line, whoever logs it (issue 9: A9)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, free_port, python
from tests.system.conftest import Shared
from tests.system.gateway import Gateway
from tests.system.handoff import WAYS, Service, running_service
from tests.wire.connection import Wire
from tests.wire.frames import MASK, TEXT, frame
from tests.wire.messages import handshake

APP = """
import asyncio
import logging
from fastapi import FastAPI, WebSocket

app = FastAPI()
log = logging.getLogger("app")

@app.websocket("/said")
async def said(websocket: WebSocket, what: str):
    await websocket.accept()
    log.warning("asked for " + what)
    raise RuntimeError("no such thing: " + what)

@app.websocket("/feed")
async def feed(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.send_text("news")
        await asyncio.sleep(0.01)

@app.websocket("/ask")
async def ask(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.receive_text()
"""

HOSTILE = "%0d%0a2026-01-01%20INFO%20forged%1b]0;owned%07%c2%9b2J%e2%80%a8%e2%80%ae"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), app=APP) as service:
        yield service


@pytest.fixture(scope="module", params=WAYS)
def gateway(request: pytest.FixtureRequest, shared: Shared, service: Service) -> Gateway:
    return shared.gateway_by(request.param, service)


def test_what_a_client_says_makes_no_line_and_moves_no_terminal(service: Service, gateway: Gateway) -> None:
    before = len(service.process.output)
    client = gateway.dial()
    client.send(handshake(f"/said?what={HOSTILE}"))
    client.read_head()
    service.process.wait_for("RuntimeError: no such thing", after=before, timeout=10)
    output = service.process.output[before:]
    assert r"asked for \r\n2026-01-01 INFO forged\x1b]0;owned\x07\x9b2J\u2028\u202e" in output
    assert r"RuntimeError: no such thing: \r\n2026-01-01 INFO forged\x1b]0;owned" in output
    assert "Traceback (most recent call last):\n" in output, "its own lines stay"
    assert not [line for line in output.splitlines() if line.startswith("2026-01-01")]
    assert not set(output) & set("\r\x1b\x07\x9b\u2028\u202e")


@pytest.mark.parametrize("path", ["/feed", "/ask"])
@pytest.mark.parametrize("end", ["reset", "close frame"])
def test_an_endpoint_that_goes_on_without_its_client_is_a_line_and_no_traceback(
    service: Service, gateway: Gateway, path: str, end: str
) -> None:
    before = len(service.process.output)
    for _ in range(20):
        client = gateway.dial()
        client.send(handshake(path))
        assert client.read_head().startswith(b"HTTP/1.1 101 ")
        if path == "/ask":  # the other one reads nothing, so a message would keep the close frame waiting
            client.send(frame(TEXT, b"hello", mask=MASK))
        if end == "reset":
            client.reset()
        else:
            client.send(frame(0x8, b"\x03\xe8", mask=MASK))
            client.read_to_cut()
    gateway.process.wait_for_count("closed", 20)
    last = gateway.dial()
    last.send(handshake("/said?what=the-end"))
    service.process.wait_for("RuntimeError: no such thing: the-end", after=before)
    output = service.process.output[before:]
    assert output.count("Traceback") == 1, "the last one's, which is the app's own fault"
    assert output.count("the endpoint went on when its client had gone") <= 2


# -- a log that is not read

TALKATIVE = """
import logging
from fastapi import FastAPI, WebSocket

app = FastAPI()
log = logging.getLogger("app")

@app.get("/say")
async def say():
    log.warning("x" * 8000)
    return "said"

@app.websocket("/live")
async def live(websocket: WebSocket):
    await websocket.accept()
"""


class Talkative:
    """A service that writes a long line for each request, with outputs that a test chooses."""

    def __init__(self, folder: Path, workers: int = 1, **outputs: Any) -> None:
        self.port = free_port()
        (folder / "talkative.py").write_text(TALKATIVE)
        settings = {"listen": f"127.0.0.1:{self.port}", "app": "talkative:app", "handoff": "off", "workers": workers}
        (folder / "config.yaml").write_text(json.dumps({"ws_service": settings}))
        self.process = subprocess.Popen(
            python("-m", "ws_service"),
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **outputs},
        )

    def listens(self) -> None:
        """Wait until it listens, where its log cannot say so."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return Wire.to(self.port).close()
            except ConnectionRefusedError:
                assert self.process.poll() is None and time.monotonic() < deadline, "the service does not listen"
                time.sleep(0.05)

    def serves(self, count: int) -> None:
        for _ in range(count):
            with Wire.to(self.port) as wire:
                wire.send(b"GET /say HTTP/1.1\r\nHost: a\r\n\r\n")
                assert wire.read_message().body == b'"said"'

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0

    def __enter__(self) -> Talkative:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        if self.process.stderr is not None:
            self.process.stderr.close()
        self.process.wait()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_of_the_log_that_does_not_read_makes_no_client_wait(tmp_path: Path, workers: int) -> None:
    """``dash-ws-service 2>&1 | less`` without turning the page: the pipe is full after eight lines."""
    with Talkative(tmp_path, workers, stderr=subprocess.PIPE) as service:
        assert service.process.stderr is not None
        left = workers
        for line in service.process.stderr:
            left -= b"ws service ready on" in line
            if not left:
                break
        service.serves(200)
        service.stop()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_a_log_on_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full, Talkative(tmp_path, stderr=full) as service:
        service.listens()
        service.serves(5)
        service.stop()


def test_closed_outputs_stop_nothing_and_no_client_gets_their_numbers(tmp_path: Path) -> None:
    def close_outputs() -> None:
        os.close(1)
        os.close(2)

    with Talkative(tmp_path, preexec_fn=close_outputs) as service:
        service.listens()
        service.serves(5)
        if os.path.exists("/proc/self/fd"):
            names = [os.readlink(f"/proc/{service.process.pid}/fd/{number}") for number in range(3)]
            assert names == [os.devnull] * 3
        service.stop()
