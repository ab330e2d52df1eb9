"""The words of the page about symptoms are those that browsers show."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.processes import ROOT, free_port
from tests.system.browser import Tab
from tests.system.conftest import MakeGateway
from tests.system.gateway import serving
from tests.system.handoff import gateway_for, running_service
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import Message, answer

pytestmark = pytest.mark.browser

PAGE = (ROOT / "docs" / "how-to" / "symptoms.md").read_text("utf-8")
OPENING = PAGE.partition("## A WebSocket that does not open")[2].partition("\n## ")[0]

TRY = """([url, closes]) => new Promise((done) => {
    const socket = new WebSocket(url)
    socket.onclose = (event) => done(event.code)
    if (closes) socket.close()
})"""


def refuse(wire: Wire) -> None:
    """Answer each request with the status that is its path."""
    while True:
        path = Message(wire.read_head()).line.split(" ")[1]
        status = path[1:] if path[1:].isdecimal() else "200"
        wire.send(answer(f"{status} Words", "Content-Type: text/html", body=b"<link rel=icon href=data:,>"))


def test_chromium_shows_the_words_of_the_page(make_gateway: MakeGateway, tab: Tab) -> None:
    codes = sorted({int(code) for code in re.findall(r"^\| (\d{3})\b", OPENING, re.MULTILINE)})
    assert codes == [200, 302, 400, 403, 404, 429, 500, 502, 503, 504]
    with serving(refuse) as upstream:
        gateway = make_gateway(dash=upstream)
        tab.forgive("WebSocket connection to")
        tab.page.goto(gateway.url)
        for target, closes, words in [
            *((f"{gateway.authority}/{code}", False, f"Unexpected response code: {code}") for code in codes),
            (f"{gateway.authority}/401", False, "HTTP Authentication failed"),
            (f"127.0.0.1:{free_port()}/live", False, "ERR_CONNECTION_REFUSED"),
            (f"{gateway.authority}/live", True, "closed before the connection is established"),
        ]:
            assert re.sub(r": \d{3}$", "", words) in OPENING, words
            with tab.page.expect_console_message(lambda message, words=words: words in message.text):  # type: ignore[misc]
                assert tab.page.evaluate(TRY, [f"ws://{target}", closes]) == 1006


ENDPOINTS = """
from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/raises-later")
async def raises_later(websocket: WebSocket):
    await websocket.accept()
    raise RuntimeError("on purpose")


@app.websocket("/raises")
async def raises(websocket: WebSocket):
    raise RuntimeError("on purpose")


@app.websocket("/refuses")
async def refuses(websocket: WebSocket):
    await websocket.close()
"""


def test_what_an_endpoint_does_is_seen_as_the_page_says(tmp_path: Path) -> None:
    with running_service(tmp_path, app=ENDPOINTS) as service, gateway_for(tmp_path, service) as gateway:

        def status(path: str) -> int:
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://{gateway.authority}{path}", origin=Origin(gateway.url))
            return refused.value.response.status_code

        assert (status("/raises"), status("/refuses"), status("/nothing")) == (500, 403, 404)
        service.process.wait_for("/refuses: refused by its endpoint")
        service.process.wait_for("no endpoint for a WebSocket at /nothing: answered with 404; .*/raises")
        with connect(f"ws://{gateway.authority}/raises-later") as client, pytest.raises(ConnectionClosedError):
            client.recv(timeout=DEADLINE)
        assert client.close_code == 1006
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{gateway.authority}/refuses", origin=Origin("http://localhost:8050"))
        assert refused.value.response.status_code == 403
        gateway.process.wait_for("localhost:8050")
