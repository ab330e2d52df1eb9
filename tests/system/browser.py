"""A real Chromium for tests, and an ear for everything that a page complains about.

A test module that uses the ``tab`` fixture marks itself ``pytest.mark.browser``
and holds plain sync tests only: Playwright's sync API leaves an event loop marked as running in the main
thread (microsoft/playwright-pytest#167), so the browser lives as long as the
module and not as the session, where it would break every async test after it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.processes import network

NAMES = ("chromium", "chromium-browser", "google-chrome")

QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Nothing but the test's own requests."""

TIMEOUT = 20_000
"""Milliseconds until a wait gives up: generous, because only a failure waits that long."""

expect.set_options(timeout=TIMEOUT)


class Tab:
    """One page in a profile of its own, and what it complained about.

    ``complaints`` gathers console errors and warnings, uncaught exceptions
    and requests that failed. The ``tab`` fixture fails the test that leaves
    one behind, unless ``forgive`` named it.
    """

    def __init__(self, browser: Browser) -> None:
        self._context = browser.new_context(accept_downloads=True)
        self._context.set_default_timeout(TIMEOUT)
        self._forgiven: list[str] = []
        self._heard: list[str] = []
        self.page: Page = self.another()

    def another(self) -> Page:
        """Open a second page in the same profile; what it complains about counts too."""
        page = self._context.new_page()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self._heard.append(f"uncaught: {error}"))
        page.on("requestfailed", self._on_failed)
        return page

    def forgive(self, pattern: str) -> None:
        """Expect complaints that match the regular expression, from now on and before."""
        self._forgiven.append(pattern)

    @property
    def complaints(self) -> list[str]:
        """What nobody forgave."""
        return [text for text in self._heard if not any(re.search(p, text) for p in self._forgiven)]

    def close(self) -> None:
        """Close the pages; what they say while they are torn down no longer counts."""
        for page in self._context.pages:
            page.remove_listener("requestfailed", self._on_failed)
            page.remove_listener("console", self._on_console)
        self._context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._heard.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _on_failed(self, request: Request) -> None:
        # ERR_ABORTED is the page's own doing: it navigated away, or the answer became a download.
        if request.failure != "net::ERR_ABORTED":
            self._heard.append(f"failed: {request.method} {request.url}: {request.failure}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium; without one the tests skip."""
    path = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


def executable() -> str:
    """Return the path of Chromium."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(NAMES)}); on Debian: apt install chromium")
    return path


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Tab]:
    """A fresh page; the test fails if anything in it complained."""
    with network(changes=False):
        tab = Tab(chromium)
        yield tab
        tab.close()
    assert not tab.complaints, "the page complained:\n" + "\n".join(tab.complaints)
