"""Today's Dash behind the gateway, in a real browser: what works without the gateway works with it."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, expect

from tests.processes import Process, free_port, python, running
from tests.system.browser import Tab
from tests.system.gateway import running_gateway

pytestmark = pytest.mark.browser

APPS = Path(__file__).parent / "apps"

BACKENDS = ("flask", "fastapi")

UNREACHABLE = "http://127.0.0.1:1"
"""The ws service of these gateways: nothing here may need one."""


def served(backend: str, app: str, port: int) -> tuple[list[str], str]:
    """Return the command line that one serves such an app with, and the line that says it does.

    One worker: a second one that is asked for several scripts at once, before it has
    built a page of its own, answers some with 500. Dash 4.4.1 marks its set-up as done
    when it begins (Dash._setup_server), so the other threads overtake it.
    """
    if backend == "flask":
        gunicorn = python("-m", "gunicorn", "--worker-class", "gthread", "--threads", "8", "--workers", "1")
        return [*gunicorn, "--bind", f"127.0.0.1:{port}", f"{app}:server"], r"Booting worker"
    return python("-m", "uvicorn", "--port", str(port), f"{app}:server"), r"Uvicorn running on"


def wait_until_listening(port: int) -> None:
    """Wait for a server that prints nothing when it is ready."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, f"nobody listens on port {port}"
            time.sleep(0.02)


@contextmanager
def behind_the_gateway(backend: str, app: str, folder: Path) -> Iterator[str]:
    """Serve one of the apps behind the gateway; yields its URL."""
    port = free_port()
    argv, ready = served(backend, app, port)
    with (
        running(*argv, ready=ready, cwd=APPS, env={"BACKEND": backend}) as dash,
        running_gateway(folder, dash=f"http://127.0.0.1:{port}", ws=UNREACHABLE) as gateway,
    ):
        yield gateway.url
        assert "Traceback" not in dash.output, dash.output


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def today(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with behind_the_gateway(backend, "today", tmp_path_factory.mktemp("today")) as url:
        yield url


@pytest.fixture(scope="module")
def pages(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with behind_the_gateway(backend, "pages", tmp_path_factory.mktemp("pages")) as url:
        yield f"{url}/team/app/"


def test_a_page_with_its_assets_and_an_ordinary_callback(backend: str, today: str, tab: Tab) -> None:
    page = tab.page
    page.goto(today)
    expect(page).to_have_title(f"Today on {backend}")
    expect(page.locator("#greeting")).to_have_text("Hello, stranger")
    page.fill("#name", "Ada")
    expect(page.locator("#greeting")).to_have_text("Hello, Ada")
    expect(page.locator("h1")).to_have_css("color", "rgb(1, 2, 3)")
    assert page.evaluate("window.todayAsset") == "served"


def test_an_upload_of_20_mb_arrives_whole(today: str, tab: Tab, tmp_path: Path) -> None:
    data = random.Random(20).randbytes(20 * 1000 * 1000)
    file = tmp_path / "large.bin"
    file.write_bytes(data)
    tab.page.goto(today)
    tab.page.set_input_files("#upload input[type=file]", file)
    digest = hashlib.sha256(data).hexdigest()
    expect(tab.page.locator("#digest")).to_have_text(f"large.bin: {len(data)} bytes, {digest}")


def test_a_download_arrives_whole(today: str, tab: Tab) -> None:
    tab.page.goto(today)
    with tab.page.expect_download() as download:
        tab.page.click("#fetch")
    assert download.value.suggested_filename == "squares.bin"
    assert Path(download.value.path()).read_bytes() == bytes(range(256)) * 16 * 1024


@pytest.mark.parametrize("backend", ["fastapi"], indirect=True, scope="module")
def test_a_websocket_callback_of_dash_goes_to_dash_over_its_socket(today: str, tab: Tab) -> None:
    page, posts = tab.page, []
    page.goto(today)
    page.fill("#name", "Ada")
    expect(page.locator("#greeting")).to_have_text("Hello, Ada")
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    for clicks in (1, 2):
        page.click("#ask")
        expect(page.locator("#answer")).to_have_text(f"answer {clicks} for Ada")
        expect(page.locator("#progress")).to_have_text(f"working on {clicks}")
    assert posts == []


def test_a_multi_page_app_below_a_prefix(pages: str, tab: Tab) -> None:
    page = tab.page
    page.goto(pages)
    expect(page.locator("h2")).to_have_text("Home")
    page.click("#to-report")
    expect(page.locator("h2")).to_have_text("Report on sales, cheerful")
    expect(page).to_have_url(f"{pages}report/sales?tone=cheerful")
    page.click("#count")
    expect(page.locator("#total")).to_have_text("counted 1")
    page.go_back()
    expect(page.locator("h2")).to_have_text("Home")


def test_a_page_below_a_prefix_opens_by_its_own_address(pages: str, tab: Tab) -> None:
    tab.page.goto(f"{pages}report/sales%20north?tone=a%2Fb")
    expect(tab.page.locator("h2")).to_have_text("Report on sales%20north, a/b")  # as without the gateway
    expect(tab.page.locator("#total")).to_have_text("counted 0")


def test_hot_reload_follows_assets_and_code(backend: str, tab: Tab, tmp_path: Path) -> None:
    script = shutil.copy(APPS / "hot.py", tmp_path)
    (tmp_path / "assets").mkdir()
    style = tmp_path / "assets" / "style.css"
    style.write_text("h1 { color: rgb(10, 0, 0); }")
    port = free_port()
    environment = {"BACKEND": backend, "PORT": str(port)}
    with (
        running(*python(Path(script).name), cwd=tmp_path, env=environment),
        running_gateway(tmp_path, dash=f"http://127.0.0.1:{port}", ws=UNREACHABLE) as gateway,
    ):
        wait_until_listening(port)
        page = tab.page
        with page.expect_response("**/_reload-hash"):  # the page compares all later ones with its first
            page.goto(gateway.url)
        expect(page.locator("#out")).to_have_text("echo 1")
        heading = page.locator("h1")
        expect(heading).to_have_css("color", "rgb(10, 0, 0)")

        page.evaluate("window.samePage = true")
        style.write_text("h1 { color: rgb(20, 0, 0); }")
        expect(heading).to_have_css("color", "rgb(20, 0, 0)")
        assert page.evaluate("window.samePage"), "a stylesheet is exchanged without loading the page anew"

        # While the reloader starts Dash anew, nobody listens; the page's poll waits, and hears of the new code.
        code = Path(script).read_text()
        Path(script).write_text(code.replace('"first"', '"second"'))
        expect(heading).to_have_text("second")
        if backend == "flask":
            # On FastAPI Dash 4.4.1 names no packages before it has served a page, and its own page takes that for a
            # change that needs loading anew, with a gateway or without.
            assert page.evaluate("window.samePage"), "and the code too: no answer of ours has spoiled that"
        page.fill("#in", "2")
        expect(page.locator("#out")).to_have_text("echo 2")


LISTEN = """
const ask = window.fetch;
window.fetch = async (...asked) => {
    const answer = await ask(...asked);
    if (String(asked[0]).includes("_reload-hash")) {
        const told = await answer.clone().json().catch(() => ({}));
        const packages = JSON.stringify((told.packages || []).toSorted());
        if (told.hard || packages !== (sessionStorage.packages || packages)) sessionStorage.hard = "true";
        sessionStorage.packages = packages;
    }
    return answer;
};
"""
"""Notes whether Dash has told the page to load itself anew. Dash does so when any file in its own packages comes or
goes, also a temporary one of another process, and tells the page that asks first. It also does when it names other
packages than before: none, to a page that asks before another request has set it up (Dash 4.4.1)."""


class Opened:
    """A page under development, and what a restart of Dash does to it."""

    def __init__(self, tab: Tab, url: str) -> None:
        self.tab, self.page = tab, tab.page
        self.alerts: list[str] = []
        self.page.on("dialog", self._on_dialog)
        tab.forgive("Failed to load resource|Failed to fetch|failed: GET")  # while Dash is gone
        self.page.add_init_script(LISTEN)
        with self.page.expect_response("**/_reload-hash"):  # the page compares all later ones with its first
            self.page.goto(url)
        expect(self.page.locator("#out")).to_have_text("echo 1")
        self.page.fill("#in", "2")
        expect(self.page.locator("#out")).to_have_text("echo 2")
        self.page.evaluate("window.samePage = true")

    def after(self, heading: str) -> tuple[object, ...]:
        """Return what has become of it when the heading has come: its input, what its callback says, alerts."""
        expect(self.page.locator("h1")).to_have_text(heading)
        expect(self.page.locator("#out")).to_have_text(re.compile("echo [12]"))
        return self.page.input_value("#in"), self.page.text_content("#out"), self.alerts

    @property
    def was_loaded_anew(self) -> bool:
        """Whether the page was loaded anew although Dash has not told it to."""
        return bool(self.page.evaluate("!window.samePage && !sessionStorage.hard"))

    def _on_dialog(self, dialog: Dialog) -> None:
        self.alerts.append(dialog.message)
        dialog.dismiss()


def test_a_restart_of_dash_does_to_an_open_page_what_it_does_without_the_gateway(
    backend: str, tab: Tab, chromium: Browser, tmp_path: Path
) -> None:
    """Two pages of one Dash, one of them through the gateway: their polls are held, then cut, then answered."""
    script = Path(shutil.copy(APPS / "hot.py", tmp_path))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    other = Tab(chromium)
    with running_gateway(tmp_path, dash=url, ws=UNREACHABLE, timeouts={"hold": "500ms"}) as gateway:
        with killed_at_the_end(script, backend, port):
            through, direct = Opened(tab, gateway.url), Opened(other, url)
        gateway.process.wait_for(r'"GET /_reload-hash" 444 ')
        if backend == "flask":
            through.page.fill("#in", "3")
            tab.forgive("Callback error")
            _sees_why(tab)
        script.write_text(script.read_text().replace('"first"', '"second"'))
        with killed_at_the_end(script, backend, port):
            assert through.after("second") == direct.after("second")
            assert (through.was_loaded_anew, direct.was_loaded_anew) == (False, False)
    other.close()


@contextmanager
def killed_at_the_end(script: Path, backend: str, port: int) -> Iterator[None]:
    """Run a Dash in debug mode; it closes nothing, and waits for no page, when it goes."""
    process = Process(python(script.name), cwd=script.parent, env={"BACKEND": backend, "PORT": str(port)})
    try:
        wait_until_listening(port)
        yield
    finally:
        process.stop(signal.SIGKILL)


def _sees_why(tab: Tab) -> None:
    """Look into Dash's own list of errors: the gateway's answer to a callback is there, and none of it is cut."""
    tab.page.get_by_text("Errors").click()
    tab.page.get_by_text("Callback error updating").first.click()
    told = tab.page.locator(".dash-backend-error pre")
    expect(told).to_contain_text("The upstream dash cannot be reached")
    for place in ("e", "e.parentElement", "e.parentElement.parentElement"):
        assert told.evaluate(f"e => {place}.scrollWidth <= {place}.clientWidth"), f"{place} is cut on the right"
