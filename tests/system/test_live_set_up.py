"""Live pages as they are set up: the example of the documents, under a prefix, during development."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.processes import ROOT
from tests.system.browser import Tab
from tests.system.live_page import LOST, opened, running_site

pytestmark = pytest.mark.browser


def test_the_example_of_the_documents_works_as_it_is_written(tmp_path: Path, tab: Tab) -> None:
    """Also without a key, a URL or a route in any of the three programs."""
    chapter = (ROOT / "docs" / "hub.md").read_text("utf-8").partition("\n## In the page\n")[2]
    example = re.search(r"```python\n(.*?)```", chapter, re.DOTALL)
    assert example is not None
    (tmp_path / "live.py").write_text(example[1])
    with running_site(tmp_path, app=tmp_path, env={"DASH_WS_HUB_KEY": ""}) as site:
        site.publish_elsewhere("prices", '{"AAPL": 189.2}')
        tab.page.goto(site.url)
        expect(tab.page.locator("#shown")).to_have_text('{"AAPL":189.2}')
        site.publish_elsewhere("prices", '{"AAPL": 189.3}')
        expect(tab.page.locator("#shown")).to_have_text('{"AAPL":189.3}')
        assert (tmp_path / "run" / "hub.key").stat().st_mode & 0o777 == 0o600


def test_it_works_under_a_prefix(tmp_path: Path, tab: Tab) -> None:
    with running_site(tmp_path, prefix="/desk/7/") as site:
        sockets: list[str] = []
        tab.page.on("websocket", lambda socket: sockets.append(socket.url))
        opened(tab.page, site.url)
        site.publish_all("prices", [{"AAPL": 8}])
        expect(tab.page.locator("#shown")).to_have_text('{"AAPL":8}')
        assert sockets == [f"ws://{site.hub.gateway.authority}/desk/7/connection/websocket"]


def test_it_lives_on_over_a_hot_reload(tmp_path: Path, tab: Tab) -> None:
    """With ``debug=True``: Dash puts a new layout into the page when the app's file changes."""
    app = tmp_path / "app"
    app.mkdir()
    source = (Path(__file__).parent / "apps" / "live.py").read_text("utf-8")
    (app / "live.py").write_text(source)
    tab.forgive(rf"{LOST}|dash-version\.plotly\.com")  # with debug=True, Dash asks there for newer versions
    with running_site(tmp_path, debug=True, app=app) as site:
        with tab.page.expect_response("**/_reload-hash"):  # the page compares all later ones with its first
            page = opened(tab.page, site.url)
        (app / "live.py").write_text(source.replace('html.H2("home")', 'html.H2("new home")'))
        expect(page.locator("h2")).to_have_text("new home")
        site.publish_all("prices", [{"AAPL": 9}])
        expect(page.locator("#shown")).to_have_text('{"AAPL":9}')
        expect(page.locator("#live-state")).to_have_text("open 0")
