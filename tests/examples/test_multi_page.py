"""``examples/multi-page``: one connection for all pages, which stays while they change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

POINTS = "(document.querySelector('#curve .js-plotly-plot')?.data || [{y: []}])[0].y.length"


def test_pages_change_and_the_connection_stays(tmp_path: Path, tab: Tab) -> None:
    page, sockets = tab.page, []
    page.on("websocket", lambda socket: sockets.append(socket))
    with running_example("multi-page", tmp_path) as example:
        page.goto(example.url)
        expect(page.locator("#power")).to_have_text(re.compile(r"^\d+\.\d$"))
        page.get_by_role("link", name="History").click()
        page.wait_for_function(f"{POINTS} >= 2")
        page.get_by_role("link", name="Overview").click()
        expect(page.locator("#power")).to_have_text(re.compile(r"^\d+\.\d$"))
        page.get_by_role("link", name="History").click()
        page.wait_for_function(f"{POINTS} >= 3")
        assert [socket.is_closed() for socket in sockets] == [False]
