"""What a person sees who comes while Dash is away: a page that says so, and then, by itself, Dash."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.processes import free_port, python, running
from tests.system.browser import Tab
from tests.system.gateway import running_gateway

pytestmark = pytest.mark.browser


def test_the_page_of_an_unreachable_upstream_becomes_the_page_that_was_asked_for(tab: Tab, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "index.html").write_text("<!doctype html><link rel=icon href=data:,><h1>Here</h1>")
    with running_gateway(tmp_path, dash=f"http://127.0.0.1:{port}", timeouts={"hold": "300ms"}) as gateway:
        tab.forgive(r"503 \(Service Unavailable\)")
        page = tab.page
        page.goto(f"{gateway.url}/?of=mine#there")
        expect(page.locator("h1")).to_have_text("Dash is starting")
        expect(page.locator("p").first).to_have_text("This page opens by itself as soon as it is there.")
        with running(*python("-m", "http.server", "--bind", "127.0.0.1", str(port)), cwd=tmp_path):
            expect(page.locator("h1")).to_have_text("Here")
            expect(page).to_have_url(f"{gateway.url}/?of=mine#there")
