"""``examples/exchange-feed``: trades of an exchange arrive in the page; the feed comes back when the exchange does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

SHORT_PAUSES = {"WEBSOCKETS_BACKOFF_INITIAL_DELAY": "0.2", "WEBSOCKETS_BACKOFF_MIN_DELAY": "0.2"}
"""Seconds before the library websockets tries again; up to five at first, otherwise."""

POINTS = "(document.querySelector('#graph .js-plotly-plot')?.data || [{y: []}])[0].y"


def test_trades_arrive_in_the_page_and_the_feed_comes_back_when_the_exchange_does(tmp_path: Path, tab: Tab) -> None:
    page, others = tab.page, ["gateway", "ws", "dash", "feed"]
    with running_example("exchange-feed", tmp_path, processes=others, env=SHORT_PAUSES) as example:
        with example.beside("exchange") as exchange:
            page.goto(example.url)
            page.wait_for_function(f"{POINTS}.length >= 3")
            shown = page.locator("#price").inner_text()
            assert 50 < float(shown) < 200
            assert exchange.output.count("trades that are made up") == 1
        example.honcho.wait_for("the exchange has closed the connection")
        had = page.evaluate(f"{POINTS}.length")
        with example.beside("exchange"):
            page.wait_for_function(f"{POINTS}.length > {had}")
