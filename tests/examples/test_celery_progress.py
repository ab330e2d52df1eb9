"""``examples/celery-progress``: a worker's progress is in the page, also after a reload, and in a second page."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

VALUE = "document.querySelector('#bar')?.value ?? -1"


def test_a_job_is_followed_over_a_reload_and_by_a_second_page(tmp_path: Path, tab: Tab) -> None:
    page, another = tab.page, tab.another()
    with running_example("celery-progress", tmp_path) as example:
        page.goto(example.url + "/?job=x%23ada")
        expect(page.locator("#job")).to_have_text("No job yet.")
        page.click("text=Start an export")
        page.wait_for_function(f"{VALUE} >= 1")
        there = page.evaluate(VALUE)
        page.reload()
        page.wait_for_function(f"{VALUE} >= {there}")
        another.goto(page.url)
        for each in (page, another):
            expect(each.locator("#text")).to_have_text("20 of 20 parts are exported")
            assert each.evaluate(VALUE) == 20
        first = page.url
        page.click("text=Start an export")
        page.wait_for_url(lambda url: url != first)
        page.wait_for_function(f"{VALUE} < 20")
        page.wait_for_function(f"{VALUE} === 20")
        example.honcho.wait_for_count("succeeded in", 2)  # a worker that is stopped at work says so
