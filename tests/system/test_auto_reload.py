"""``dash-ws-service --reload``: what a developer and an open page see when the code changes, is wrong, or ends."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.processes import Process, free_port, python, running
from tests.system.browser import Tab
from tests.system.gateway import Gateway, running_gateway
from tests.wire.messages import Message, handshake

ENDPOINT = """
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket

@asynccontextmanager
async def lifespan(app):
    {startup}
    yield

app = FastAPI(lifespan=lifespan)

@app.websocket("/live")
async def live(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("{text}")
    async for message in websocket.iter_text():
        os._exit(int(message))
"""

PAGE = """
from dash import Dash, html

app = Dash(__name__)
app.layout = html.Div("nothing yet", id="heard")
app.run(port={port})
"""

SCRIPT = """
window.codes = [];
function listen() {
  const socket = new WebSocket("ws://" + location.host + "/live");
  const show = (text) => { const place = document.getElementById("heard"); if (place) place.textContent = text; };
  socket.onmessage = (event) => show(event.data);
  socket.onclose = (event) => { window.codes.push(event.code); show("closed"); setTimeout(listen, 200); };
}
addEventListener("load", () => setTimeout(listen, 500));
"""


class Developed:
    """A service under development. save: writes its app."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.process: Process

    def save(self, text: str, startup: str = "pass") -> None:
        (self.folder / "live.py").write_text(ENDPOINT.format(text=text, startup=startup))

    def ready(self, count: int) -> None:
        """Wait until it serves for so many times."""
        self.process.wait_for_count("ws service ready on", count)

    def health(self) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, str(json.load(error)["message"])


@contextmanager
def developed(folder: Path, interpreter: str | None = None) -> Iterator[Developed]:
    port = free_port()
    made = Developed(folder, port)
    made.save("the first text")
    (folder / "config.yaml").write_text(json.dumps({"ws_service": {"listen": f"127.0.0.1:{port}", "app": "live:app"}}))
    argv = [interpreter or python()[0], "-m", "ws_service", "--reload"]
    with running(*argv, ready="ws service ready on", cwd=folder) as made.process:
        yield made
        assert made.process.stop() == 0


@contextmanager
def gateway_before(service: Developed, dash: str = "http://127.0.0.1:9") -> Iterator[Gateway]:
    url, file = f"http://127.0.0.1:{service.port}", str(service.folder / "run" / "ws.sock")
    with running_gateway(service.folder, dash=dash, ws=url, handoff=file) as gateway:
        gateway.process.wait_for("takes WebSockets over")
        yield gateway


def answer_of(gateway: Gateway) -> Message:
    """Return what a handshake is answered with."""
    with gateway.dial() as client:
        client.send(handshake("/live"))
        return client.read_message()


@pytest.mark.browser
def test_an_open_page_has_the_new_text_without_a_hand_on_the_keyboard(tab: Tab, tmp_path: Path) -> None:
    tab.forgive("WebSocket connection to 'ws://[^']*/live' failed")
    site, port = tmp_path / "site", free_port()
    (site / "assets").mkdir(parents=True)
    (site / "assets" / "listen.js").write_text(SCRIPT)
    (site / "page.py").write_text(PAGE.format(port=port))
    (tmp_path / "service").mkdir()
    with (
        running(*python("page.py"), ready="Dash is running on", cwd=site),
        developed(tmp_path / "service") as service,
        gateway_before(service, f"http://127.0.0.1:{port}") as gateway,
    ):
        page, heard = tab.page, tab.page.locator("#heard")
        page.goto(gateway.url)
        page.evaluate("window.isThisLoad = true")
        expect(heard).to_have_text("the first text")

        service.save("the second one")
        service.ready(2)
        expect(heard).to_have_text("the second one")
        assert page.evaluate("window.codes")[0] == 1012

        (service.folder / "live.py").write_text("def broken(:\n")
        service.process.wait_for("importing live .* failed: SyntaxError")
        service.process.wait_for("without an app: every handshake for it gets 503")
        expect(heard).to_have_text("closed")
        refused = answer_of(gateway)
        assert refused.status == 503 and b"SyntaxError" in refused.body and b"second" not in refused.body

        service.save("the third, corrected")
        service.ready(4)
        expect(heard).to_have_text("the third, corrected")
        assert page.evaluate("window.isThisLoad"), "the page was not loaded again"


@pytest.mark.timeout(600)  # the first run installs the environment of the report
def test_what_is_wrong_is_served_until_it_is_corrected(interpreter: str, tmp_path: Path) -> None:
    with developed(tmp_path, interpreter) as service, gateway_before(service) as gateway:
        assert service.health()[0] == 200 and answer_of(gateway).status == 101

        service.save("b", startup="raise RuntimeError('no database')")
        service.ready(2)
        assert "RuntimeError: no database" in service.process.output
        status, problem = service.health()
        assert status == 503 and "the startup of the app failed" in problem
        assert answer_of(gateway).status == 503

        service.save("cc")
        service.ready(3)
        assert service.health()[0] == 200
        with gateway.dial() as client:
            client.send(handshake("/live") + b"\x81\x81\0\0\0\0" + b"7")
            client.read_to_cut()
        service.process.wait_for("ERROR the process of the app has ended with exit code 7")
        service.ready(4)
        assert "exit code 7" in service.health()[1]

        (tmp_path / "config.yaml").write_text('{"ws_service": {"ap": "live:app"}}')
        service.save("ddd")
        service.process.wait_for(r"ws_service.ap: is not a setting; did you mean app\?")
