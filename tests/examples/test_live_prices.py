"""``examples/live-prices``: the numbers and the graph move, and a page that is opened later begins with what was."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

POINTS = "(document.querySelector('#graph .js-plotly-plot')?.data || [{y: []}]).map(trace => trace.y.length)"


def test_the_prices_and_the_graph_are_live(tmp_path: Path, tab: Tab) -> None:
    page, another = tab.page, tab.another()
    with running_example("live-prices", tmp_path) as example:
        page.goto(example.url)
        for symbol in ("AAPL", "GOOG"):
            price = page.locator(f"#{symbol}")
            expect(price).not_to_have_text("...")
        expect(page.locator("#AAPL")).not_to_have_text(page.locator("#AAPL").inner_text())
        page.wait_for_function(f"{POINTS}.every(count => count >= 3)")
        there = page.evaluate(POINTS)[0]

        another.goto(example.url)
        another.wait_for_function(f"{POINTS}.length === 2")
        another.wait_for_function(f"{POINTS}[0] > 0")
        assert another.evaluate(POINTS)[0] >= there, "it begins with what is kept"
