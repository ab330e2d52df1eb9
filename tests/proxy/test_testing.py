"""What users test their apps with: each block of docs/testing.md runs as it is written, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import dash
import pytest
from dash import html

from proxy.testing import GatewayRunner, run_app
from tests.docs.blocks import blocks as blocks_of
from tests.processes import ROOT

pytestmark = pytest.mark.system

README_APP = """
import dash
from dash import html
from fastapi import WebSocket

app = dash.Dash(__name__, backend="fastapi")
app.layout = html.Div("Hello")


@app.server.websocket("/ws")
async def ws_endpoint(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_json({"msg": "hello"})
    await websocket.close()
"""

DASH_DUO = '''

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.system.browser import QUIET, executable


class Duo:
    """What a test asks of dash.testing's DashComposite, with a browser that is here."""

    def __init__(self, server, page):
        self.server, self._page = server, page

    def start_server(self, app, **kwargs):
        self.server(app, **kwargs)
        self._page.goto(self.server.url)

    def wait_for_text_to_equal(self, selector, text):
        expect(self._page.locator(selector)).to_have_text(text)


@pytest.fixture
def dash_duo(dash_thread_server):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(QUIET))
        yield Duo(dash_thread_server, browser.new_page())
        browser.close()
'''


def blocks() -> list[tuple[str, str]]:
    """Return the files of the document: name and text, in their order."""
    texts = blocks_of("docs/testing.md", "python")
    return [(name.removeprefix("# "), text) for name, _, text in (each.partition("\n") for each in texts)]


def test_the_document_is_tried_as_it_is_written(tmp_path: Path) -> None:
    found = blocks()
    assert [name for name, _ in found] == [
        "conftest.py",
        "test_app.py",
        "test_module.py",
        "test_browser.py",
        "conftest.py",
    ]
    assert README_APP.strip() in (ROOT / "README.md").read_text(), "it is the app of the README"
    (tmp_path / "app.py").write_text(README_APP)
    (tmp_path / "browser").mkdir()
    for name, text in found[:3]:
        (tmp_path / name).write_text(text)
    (tmp_path / "browser" / "conftest.py").write_text(found[4][1] + DASH_DUO)
    (tmp_path / "browser" / "test_browser.py").write_text(found[3][1])
    without = [f"-pno:{plugin}" for plugin in ("dash", "asyncio", "aiohttp", "cacheprovider")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *without, "-W", "error", tmp_path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture(scope="module")
def app() -> dash.Dash:
    app = dash.Dash(__name__)
    app.layout = html.Div("Hello")
    return app


def test_a_flask_app_runs_after_the_gateway_and_ends_whole(app: dash.Dash) -> None:
    before = dict(os.environ)
    with run_app(app, config={"ws_service": {"hub": {"enabled": False}}}) as running:
        assert running.url != running.dash_url
        assert running.websocket_url("/ws") == f"ws{running.url[4:]}/ws"
        for url in (running.url, running.dash_url):
            assert b"_dash-config" in urlopen(url).read()
        assert "gateway ready on" in running.log
        assert "ws service ready on" in running.log
        assert os.environ["DASH_WS_HUB_URL"].startswith("http://127.0.0.1:")
    assert dict(os.environ) == before
    with pytest.raises(OSError):
        urlopen(running.url)


def test_what_a_page_listens_to_is_published_from_the_test(app: dash.Dash) -> None:
    from ws_service import publish
    from ws_service.dash import Live

    for _ in range(2):  # the second finds the hub where the first was
        with run_app(app):
            publish("prices", 1, raise_errors=True)
            assert Live("prices").to_plotly_json()["props"]["token"]


def test_a_program_that_does_not_start_says_why(app: dash.Dash) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)dash-ws-proxy did not start:.*gateway\.buffer"):
        with run_app(app, config={"gateway": {"buffer": 1}}):
            raise AssertionError("it must not start")


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="not gatewy"):
        with run_app(dash.Dash(__name__), config={"gatewy": {}}):
            pass
    with pytest.raises(TypeError, match="is no Dash app"):
        with run_app("app:app"):
            pass
    with pytest.raises(TypeError, match="and not port"):
        GatewayRunner().start(dash.Dash(__name__), port=8050)
    with pytest.raises(RuntimeError, match="start an app first"):
        _ = GatewayRunner().url
