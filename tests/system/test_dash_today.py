"""Today's Dash behind the gateway, in a real browser: what works without the gateway works with it."""

from __future__ import annotations

import hashlib
import random
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.processes import free_port, python, running
from tests.system.browser import TIMEOUT, Tab
from tests.system.gateway import running_gateway

pytestmark = pytest.mark.browser

APPS = Path(__file__).parent / "apps"

BACKENDS = ("flask", "fastapi")

UNREACHABLE = "http://127.0.0.1:1"
"""The ws service of these gateways: nothing here may need one."""

expect.set_options(timeout=TIMEOUT)


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
