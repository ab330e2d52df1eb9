"""``examples/notify-everybody``: one command, and the notice is on every page, open or opened later."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

NOTICE = "The site is down from 18:00 to 18:10"


def test_a_notice_is_on_every_page_until_it_is_taken_back(tmp_path: Path, tab: Tab) -> None:
    open_now, open_too, later = tab.page, tab.another(), tab.another()
    with running_example("notify-everybody", tmp_path) as example:
        for page in (open_now, open_too):
            page.goto(example.url)
            page.fill("#work", "half a sentence")
        example.python("notify.py", NOTICE)
        later.goto(example.url)
        for page in (open_now, open_too, later):
            expect(page.locator("#notice")).to_have_text(NOTICE)
        expect(open_now.locator("#work")).to_have_value("half a sentence")
        example.python("notify.py")
        for page in (open_now, open_too, later):
            expect(page.locator("#notice")).to_be_hidden()
