"""``examples/valkey-two-services``: a page at each of the two; one is restarted, and neither page misses a number."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.examples.example import running_example
from tests.system.browser import Tab
from tests.system.live_page import LOST

pytestmark = pytest.mark.browser

LAST = "Number(document.querySelector('#last').textContent)"


def wait_for_more(page: Page) -> None:
    """Wait for numbers that are published from now on; none may be missing."""
    last = page.evaluate(LAST)
    page.wait_for_function(f"{LAST} > {last + 3}")
    expect(page.locator("#missing")).to_have_text("0")


def test_one_service_is_restarted_and_neither_page_misses_a_number(tmp_path: Path, tab: Tab) -> None:
    pages = [tab.page, tab.another()]
    tab.forgive(LOST)
    others = ["valkey", "gateway", "dash", "feed"]
    with running_example("valkey-two-services", tmp_path, processes=others) as example, example.beside("ws_b"):
        with example.beside("ws"):
            example.honcho.wait_for_count("takes WebSockets over", 2)
            for page in pages:
                page.goto(example.url)
                expect(page.locator("#state")).to_have_text("open")
                wait_for_more(page)
        with example.beside("ws"):
            for page in pages:
                wait_for_more(page)
                expect(page.locator("#state")).to_have_text(re.compile("open|recovered"))
            assert sorted(page.locator("#state").inner_text() for page in pages) == ["open", "recovered"]
