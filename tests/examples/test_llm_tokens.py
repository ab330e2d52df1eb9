"""``examples/llm-tokens``: the answer grows token by token, in the page that asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.examples.example import running_example
from tests.system.browser import TIMEOUT, Tab

pytestmark = pytest.mark.browser

expect.set_options(timeout=TIMEOUT)

LAST = "in order and once."


def test_the_tokens_come_one_by_one_to_the_page_that_asked(tmp_path: Path, tab: Tab) -> None:
    page, another = tab.page, tab.another()
    with running_example("llm-tokens", tmp_path) as example:
        for each in (page, another):
            each.goto(example.url)
            expect(each.locator("#ask")).to_be_enabled()
        answer = page.locator("#answer")
        for _ in range(2):
            page.click("#ask")
            expect(answer.locator("strong")).to_have_text("no language model")
            expect(answer).not_to_contain_text(LAST)
            expect(page.locator("#ask")).to_be_disabled()
            expect(answer).to_contain_text(LAST)
            expect(answer.locator("li")).to_have_count(3)
            expect(answer.locator("strong")).to_have_count(1)
            expect(page.locator("#ask")).to_be_enabled()
        expect(another.locator("#answer")).to_have_text("")
