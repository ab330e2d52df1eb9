"""``examples/fastapi``: an endpoint that each page talks with, and a page that comes back when the service does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

LOST = r"WebSocket connection to .* failed"
"""What Chromium and Dash write to the console when a WebSocket breaks, or is not answered."""


def close_code(url: str, sent: str | bytes) -> int | None:
    """Send a message, read until the endpoint closes, and return its code."""
    with connect(url) as client:
        client.send(sent)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                client.recv(timeout=20)
    return closed.value.rcvd and closed.value.rcvd.code


def test_each_page_has_its_own_stream_and_comes_back_after_a_restart_of_the_service(tmp_path: Path, tab: Tab) -> None:
    page, state, sent = tab.page, tab.page.locator("#state"), tab.page.locator("#sent")
    tab.forgive(LOST)
    with running_example("fastapi", tmp_path, processes=["gateway", "dash"]) as example:
        with example.beside("ws"):
            page.goto(example.url)
            expect(sent).to_have_text("1 Hz")
            page.fill("#frequency", "2")
            expect(sent).to_have_text("2 Hz")

            url = f"ws://127.0.0.1:{example.ports['GATEWAY_PORT']}/stream"
            with connect(url) as other:
                assert json.loads(other.recv(timeout=20))["frequency"] == 1
            assert [close_code(url, bad) for bad in ("{", '{"frequency": 1e9}', b"\0")] == [1008] * 3
        expect(state).not_to_have_text("open")
        with example.beside("ws"):
            expect(state).to_have_text("open")
            expect(sent).to_have_text("2 Hz")

            example.honcho.stop()
            page.fill("#frequency", "0.5")
            expect(sent).to_have_text("0.5 Hz")  # without a gateway
