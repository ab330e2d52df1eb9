"""The JavaScript of docs/hub.md, in a real page: what is published reaches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.system.browser import Tab, chromium, tab
from tests.system.live_page import running_site

__all__ = ["chromium", "tab"]

pytestmark = [pytest.mark.system, pytest.mark.browser]

APP = """
from dash import Dash, html
from ws_service.dash import Live

app = Dash()
app.layout = html.Div([Live("ticks"), html.Span("open", id="open")])
server = app.server
"""


def test_scripts_of_the_page_get_what_is_published(tmp_path: Path, tab: Tab) -> None:
    on, stream = (text.rstrip().partition(";   //")[0] for text in blocks("docs/hub.md", "js"))
    assert "prices,news" in stream and "token=…" in stream
    stream = stream.replace("prices,news", "open:prices,open:news").replace("&token=…", "")  # topics without a token
    (tmp_path / "live.py").write_text(APP)
    with running_site(tmp_path, app=tmp_path) as site:
        tab.page.goto(site.url)
        tab.page.wait_for_selector("#open")
        tab.page.evaluate(
            f"""() => {{
                window.got = [];
                const draw = data => got.push(data), show = draw, refetch = () => got.push("gap");
                {on};
                {stream};
                window.end = () => source.close();
                return new Promise(done => source.onopen = () => done());
            }}"""
        )
        site.hub.publish("open:news", {"n": 1})
        site.hub.publish("ticks", {"n": 2})
        tab.page.wait_for_function("got.length === 2")
        assert sorted(each["n"] for each in tab.page.evaluate("got")) == [1, 2]
        tab.page.evaluate("end()")  # the gateway would wait for it when it stops
