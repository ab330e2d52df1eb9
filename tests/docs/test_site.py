"""The site, built as ``make docs`` builds it: no link leads nowhere, no page loads anything from another server."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.processes import ROOT, python
from tests.system.browser import Tab, chromium, tab

__all__ = ["chromium", "tab"]

pytestmark = [pytest.mark.system, pytest.mark.browser]

LOADED = re.compile(r"""<(?:script|img|iframe|source)[^>]+\bsrc=["'](https?:|//)|<link[^>]+\bhref=["'](https?:|//)""")
"""What a page would load from another server."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's folder. Only the folder of the intermediate files differs from that of ``make docs``."""
    [command] = re.findall(r"^docs:.*\n\t\$\(BIN\)/sphinx-build (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    folder = tmp_path_factory.mktemp("site")
    words = command.replace("build/site", str(folder / "html")).replace("build/doctrees", str(folder / "trees"))
    argv = python("-m", "sphinx", *words.replace("$(ARGS)", "").split())
    built = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, name="the site's server")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_every_document_is_a_page_that_loads_nothing_from_another_server(site: Path) -> None:
    documents = ["README", "CHANGELOG", "CONTRIBUTING"]
    documents += [path.relative_to(ROOT).with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert {page.relative_to(site).as_posix() for page in site.rglob("*.html")} >= {
        f"{each}.html" for each in documents
    }
    loaded = [
        f"{page.name}: {found[0]}" for page in site.rglob("*.html") for found in LOADED.finditer(page.read_text())
    ]
    styles = [
        each.name
        for each in site.rglob("*.css")
        if re.search(r"(?:url\(|@import )['\"]?(?:https?:)?//", each.read_text())
    ]
    assert loaded == styles == []


def test_the_site_is_read_and_searched_without_a_network(url: str, tab: Tab) -> None:
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.page.goto(url)
    tab.page.wait_for_url("**/docs/index.html")
    symptoms = "docs/how-to/symptoms"
    for words, page in (("hand-off", "docs/handoff"), ("1006", symptoms), ("502", symptoms)):
        tab.page.get_by_placeholder("Search").first.fill(words)
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_url("**/search.html?*")
        first = tab.page.locator("#search-results .search > li a").first
        expect(first).to_have_attribute("href", re.compile(f"{page}.html"))
    for width in (320, 800, 1280):
        tab.page.set_viewport_size({"width": width, "height": 800})
        for page in ("docs/index", "README", "docs/architecture", "docs/checks", "docs/limits"):
            tab.page.goto(f"{url}{page}.html")
            assert tab.page.evaluate("document.documentElement.scrollWidth") <= width, f"{page} at {width} px"
    tab.page.emulate_media(color_scheme="dark")
    tab.page.goto(f"{url}docs/architecture.html")
    [text, lines, page] = tab.page.evaluate(
        """["text", "path", "p"].map((tag, place) => {
            const style = getComputedStyle(document.querySelector((place < 2 ? ".drawing " : "article ") + tag));
            return [style.fill, style.stroke, style.color][place];
        })"""
    )
    assert text == lines == page, "a drawing can be read in dark, too"
    assert [each for each in asked if not each.startswith((url, "data:"))] == []
