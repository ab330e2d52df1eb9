"""``examples/llm-tokens``: the answer grows token by token, in the page that asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

RECORD = """() => {
    window.lengths = [];
    window.wasDisabled = false;
    new MutationObserver(() => {
        lengths.push(document.querySelector("#answer").innerText.length);
        wasDisabled ||= document.querySelector("#ask").disabled;
    }).observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
}"""
"""Note how long the answer is whenever it changes: a look from outside could come too late."""

BEGAN_ANEW = "lengths.some(length => length < 60) && document.querySelector('#answer').innerText.includes('and once.')"


def test_the_tokens_come_one_by_one_to_the_page_that_asked(tmp_path: Path, tab: Tab) -> None:
    page, another = tab.page, tab.another()
    with running_example("llm-tokens", tmp_path) as example:
        for each in (page, another):
            each.goto(example.url)
            expect(each.locator("#ask")).to_be_enabled()
        answer = page.locator("#answer")
        page.evaluate(RECORD)
        page.click("#ask")
        expect(answer).to_contain_text("in order and once.")
        lengths = page.evaluate("lengths")
        assert lengths == sorted(lengths), "it only grows"
        assert len(set(lengths)) > 3
        assert page.evaluate("wasDisabled")
        expect(page.locator("#ask")).to_be_enabled()

        page.evaluate("() => { lengths.length = 0; }")
        page.click("#ask")
        page.wait_for_function(BEGAN_ANEW)
        expect(answer.locator("strong")).to_have_text("no language model")
        expect(answer.locator("li")).to_have_count(3)
        expect(page.locator("#ask")).to_be_enabled()
        expect(another.locator("#answer")).to_have_text("")
