"""The demo behind the gateway, in a real browser: live, answered, and back by itself after a restart."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.processes import Process, free_port, python, running
from tests.system.browser import TIMEOUT, Tab

pytestmark = pytest.mark.browser

expect.set_options(timeout=TIMEOUT)

POINTS = """() => {
    const plot = document.querySelector("#pulse .js-plotly-plot");
    return plot && plot.data ? plot.data[0].y.filter((y) => y !== null).length : 0;
}"""
"""How many values the first trace of the figure holds."""

REFUSED = r"WebSocket connection to 'ws://[^']*/live' failed"
"""What a browser writes to its console when nobody answers a handshake; no script can keep it from that."""


class Stack:
    """Gateway, ws service and demo as three processes that one config file describes."""

    def __init__(self, folder: Path) -> None:
        self.ports = {name: free_port() for name in ("gateway", "admin", "ws", "dash")}
        self.url = self.at("gateway")
        self.dashes: list[Process] = []
        """Those that were started; the last one runs."""
        self.config = folder / "config.yaml"
        self.config.write_text(
            f"gateway:\n"
            f"  listen: 127.0.0.1:{self.ports['gateway']}\n"
            f"  admin: 127.0.0.1:{self.ports['admin']}\n"
            f"  upstreams:\n"
            f"    dash: {self.at('dash')}\n"
            f"    ws: {self.at('ws')}\n"
            f"ws_service:\n"
            f"  listen: 127.0.0.1:{self.ports['ws']}\n"
            f"  app: dash_app.app:app\n"
            f"dash_app:\n"
            f"  listen: 127.0.0.1:{self.ports['dash']}\n"
        )

    def at(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def start(self, module: str) -> Process:
        """Start one of the three and wait until it serves."""
        process = Process(python("-m", module, "--config", self.config), cwd=self.config.parent)
        try:
            process.wait_for(r"ready on http://")
        except BaseException:
            process.stop(signal.SIGKILL)
            raise
        return process


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The gateway and the demo; a test that needs the ws service starts its own."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    serve = ("--config", stack.config)
    dashes = stack.dashes = [stack.start("dash_app")]
    try:
        with running(*python("-m", "proxy", *serve), ready=r"ready on http://", cwd=stack.config.parent) as gateway:
            yield stack
            for process in (*dashes, gateway):
                assert "Traceback" not in process.output, process.output
    finally:
        dashes[-1].stop()


@pytest.fixture
def service(stack: Stack) -> Iterator[list[Process]]:
    """The ws service that runs at the moment, as the last of a list; a test that restarts it appends the new one."""
    processes = [stack.start("ws_service")]
    yield processes
    processes[-1].stop()
    for process in processes:
        assert "Traceback" not in process.output, process.output


def gains_points(tab: Tab, count: int) -> None:
    """Wait until the figure holds ``count`` values more than now."""
    before = tab.page.evaluate(POINTS)
    tab.page.wait_for_function(f"({POINTS})() >= {before + count}")


def test_the_page_is_live_and_its_callback_answers(
    stack: Stack, service: list[Process], tab: Tab, tmp_path: Path
) -> None:
    page, sockets, answers = tab.page, [], []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.on("response", lambda response: answers.append((response.status, response.url)))
    page.goto(stack.url)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#round-trip")).to_contain_text(" ms")
    expect(page.locator("#ws-who")).to_have_text(f"process {service[-1].pid}")
    gains_points(tab, 20)

    expect(page.locator("#processes tbody tr")).not_to_have_count(0)
    expect(page.locator("#verdict")).to_contain_text("Two processes on one port.")
    with page.expect_response("**/_dash-update-component*") as answer:
        page.click("text=by CPU time")
    assert answer.value.ok

    assert f"ws://127.0.0.1:{stack.ports['gateway']}/live" in sockets
    assert {status for status, _ in answers} <= {200, 204, 304}
    assert all(url.startswith(stack.url) for _, url in answers), "everything is on the one port, nothing on a CDN"
    page.screenshot(path=tmp_path / "demo.png", full_page=True)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        pytest.param(signal.SIGTERM, "the service restarts", id="stopped"),  # close code 1012 came through
        # Without a word where the service had the socket itself; 1012 by the gateway where the page came within the
        # second in which the gateway finds a new service, and was tunnelled.
        pytest.param(signal.SIGKILL, "connection lost|the service restarts", id="killed"),
    ],
)
def test_the_page_recovers_by_itself_when_the_ws_service_alone_is_restarted(
    stack: Stack, service: list[Process], tab: Tab, number: int, reason: str
) -> None:
    page = tab.page
    tab.forgive(REFUSED)
    page.goto(stack.url)
    expect(page.locator("#state")).to_have_text("live")
    gains_points(tab, 10)
    page.evaluate("window.samePage = true")

    service[-1].stop(number)
    expect(page.locator("#state")).to_have_text(re.compile(rf"^reconnecting: ({reason}), try \d+$"))
    expect(page.locator("#round-trip")).to_have_text("…")
    with page.expect_response("**/_dash-update-component*") as answer:  # the rest of the page does not notice
        page.click("#again")
    assert answer.value.ok

    service.append(stack.start("ws_service"))
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#ws-who")).to_have_text(f"process {service[-1].pid}")
    gains_points(tab, 10)
    assert page.evaluate("window.samePage"), "recovered without loading the page anew"


def test_the_page_lives_on_over_a_restart_of_dash(
    stack: Stack, service: list[Process], tab: Tab, tmp_path: Path
) -> None:
    """Its sockets are not Dash's; what asks Dash meanwhile waits, callbacks too."""
    page = tab.page
    page.goto(stack.url)
    expect(page.locator("#state")).to_have_text("live")
    gains_points(tab, 10)
    page.evaluate("window.samePage = true")

    stack.dashes[-1].stop(signal.SIGKILL)
    with page.expect_response("**/_dash-update-component*") as answer:
        page.click("#again")
        gains_points(tab, 10)
        stack.dashes.append(stack.start("dash_app"))
    assert answer.value.ok, "it was held, and nobody had to click again"
    assert page.evaluate("window.samePage"), "nothing has loaded the page anew"
