"""The tutorials are done as they are written: their files in a folder, their commands in terminals, in a Chromium."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import expect

from tests.docs.blocks import read
from tests.processes import ROOT, Process, free_ports
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

TIME = re.compile(r"^\d\d:\d\d:\d\d$")

LOST = r"WebSocket connection to 'ws://[^']*' failed"
"""What a browser writes to its console when a handshake is not answered; no script can keep it from that."""

READY = {
    "dash-ws-proxy": r"gateway ready on",
    "dash-ws-service": r"ws service ready on",
    "python app.py": r"Running on http|Started server process",
}
"""The line that says that a command of a tutorial serves; others only have to go on."""


def chapter(document: str, title: str) -> str:
    """Return a chapter of a document of the repository."""
    text = (ROOT / document).read_text("utf-8")
    found = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no chapter {title}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return [block.text for block in read("", text) if block.kind == language]


def files(text: str, language: str) -> list[tuple[str, str]]:
    """Return the files of a text: name, which the first line of a block has as a comment, and block."""
    found = [(re.match(r"(?:#|//) (\S+)\n", block), block) for block in blocks(text, language)]
    return [(name[1], block) for name, block in found if name]


@dataclass
class Tutorial:
    """A folder with the files of a tutorial, on ports of this test, and what runs there."""

    folder: Path
    ports: list[int] = field(default_factory=lambda: free_ports(4))
    processes: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    def write(self, text: str) -> None:
        """Write the files of a text."""
        for language in ("python", "js", "yaml"):
            for name, block in files(text, language):
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.replace("port=8050", f"port={self.ports[3]}"), "utf-8")
        self._use_own_ports()

    def _use_own_ports(self) -> None:
        path = self.folder / "config.yaml"
        config: dict[str, Any] = yaml.safe_load(path.read_text("utf-8")) if path.exists() else {}
        gateway, admin, ws, dash = (f"127.0.0.1:{port}" for port in self.ports)
        config["gateway"] = {
            **config.get("gateway", {}),
            "listen": gateway,
            "admin": admin,
            "upstreams": {"dash": f"http://{dash}", "ws": f"http://{ws}"},
        }
        config["ws_service"] = {**config.get("ws_service", {}), "listen": ws}
        path.write_text(yaml.safe_dump(config), "utf-8")

    def start(self, line: str) -> Process:
        """Type a line into a terminal; wait until its program serves, if it is one that does."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = self.processes[line] = Process(shlex.split(line), cwd=self.folder, env={"PATH": path})
        ready = next((ready for start, ready in READY.items() if line.startswith(start)), None)
        if ready is not None:
            process.wait_for(ready)
        return process

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.stop()


@contextmanager
def done(folder: Path, text: str) -> Iterator[Tutorial]:
    """Do what a chapter says: write its files, start its commands; no program must have failed in the end."""
    tutorial = Tutorial(folder)
    tutorial.write(text)
    try:
        for line in "".join(blocks(text, "sh")).splitlines():
            tutorial.start(line)
        if gateway := tutorial.processes.get("dash-ws-proxy"):
            # It has asked Dash for its page. Of two first requests that come together Dash 4.4.1 answers one without
            # the files in assets/.
            gateway.wait_for(r"INFO Dash \d")
        yield tutorial
    finally:
        tutorial.stop()
    for line, process in tutorial.processes.items():
        assert "Traceback" not in process.output, f"{line}:\n{process.output}"


def ticks(tab: Tab) -> None:
    """Wait until the clock of the page shows a time, and then another."""
    clock = tab.page.locator("#clock")
    expect(clock).to_have_text(TIME)
    expect(clock).not_to_have_text(clock.inner_text())


FLASK = "docs/tutorials/flask.md"
INTERVAL = "docs/tutorials/from-interval.md"
FASTAPI = "docs/tutorials/fastapi.md"


def test_flask_by_the_hub_is_live_and_comes_back_after_a_restart(tmp_path: Path, tab: Tab) -> None:
    tab.forgive(LOST)
    with done(tmp_path, chapter(FLASK, "Five lines: the hub")) as tutorial:
        tab.page.goto(tutorial.url)
        ticks(tab)
        tutorial.processes["dash-ws-service"].stop()
        tutorial.start("dash-ws-service")
        ticks(tab)
        tab.page.goto("about:blank")


def test_flask_with_a_websocket_of_its_own_survives_a_leaving_client_and_a_restart(tmp_path: Path, tab: Tab) -> None:
    tab.forgive(LOST)
    own = chapter(FLASK, "A WebSocket of your own")
    with done(tmp_path, own) as tutorial:
        service = tutorial.processes["dash-ws-service --reload"]
        tab.page.goto(tutorial.url)
        ticks(tab)
        tab.page.reload()  # a client that leaves
        ticks(tab)
        before = len(service.output)
        (tmp_path / "endpoints.py").write_text((tmp_path / "endpoints.py").read_text() + "\n# edited\n")
        service.wait_for(READY["dash-ws-service"], after=before)
        ticks(tab)
        tutorial.processes["python app.py"].stop()
        tutorial.write(chapter(FLASK, "With dash-extensions"))
        tutorial.start("python app.py")
        tab.page.goto(tutorial.url)
        ticks(tab)
        tab.page.goto("about:blank")


@pytest.mark.parametrize("document", [FLASK, INTERVAL, FASTAPI])
def test_each_block_of_a_tutorial_is_a_file_or_a_command_that_is_tried_here(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    named = [name for language in ("python", "js", "yaml") for name, _ in files(text, language)]
    lines = "".join(blocks(text, "sh")).splitlines()
    others = [line for line in lines if not line.startswith((*READY, "python feed.py"))]
    assert others == (["pip install /path/to/the/clone dash"] if document == FLASK else [])
    in_the_console = 1 if document == FASTAPI else 0
    assert len(re.findall("^```", text, re.MULTILINE)) == 2 * (len(named) + len(blocks(text, "sh")) + in_the_console)


def asked_callbacks(tab: Tab) -> list[str]:
    """Return a list to which each request for a callback is added."""
    asked: list[str] = []
    is_callback = "/_dash-update-component"
    tab.page.on("request", lambda request: is_callback in request.url and asked.append(request.url))
    return asked


def changes(tab: Tab, times: int) -> None:
    """Wait until the value of the page has changed so many times."""
    value = tab.page.locator("#value")
    expect(value).to_have_text(re.compile(r"\d °C"))
    for _ in range(times):
        expect(value).not_to_have_text(value.inner_text())


def test_an_app_with_dcc_interval_becomes_live_and_then_asks_nothing(tmp_path: Path, tab: Tab) -> None:
    asked = asked_callbacks(tab)
    with done(tmp_path, chapter(INTERVAL, "Before")) as before:
        tab.page.goto(f"http://127.0.0.1:{before.ports[3]}")
        changes(tab, 2)
        assert len(asked) >= 2
        tab.page.goto("about:blank")
    with done(tmp_path, chapter(INTERVAL, "After")) as tutorial:
        tab.page.goto(tutorial.url)
        changes(tab, 2)
        tab.page.goto("about:blank")
        tutorial.processes["python app.py"].stop()
        tutorial.write(chapter(INTERVAL, "Without a callback"))
        tutorial.start("python app.py")
        asked.clear()
        tab.page.goto(tutorial.url)
        changes(tab, 3)
        assert asked == []
        tab.page.goto("about:blank")


def test_the_script_of_the_report_says_hello_to_the_browsers_console(tmp_path: Path, tab: Tab) -> None:
    text = (ROOT / FASTAPI).read_text("utf-8")
    [typed] = blocks(text, "js")
    tab.forgive(r"dash-version\.plotly\.com")  # Dash's dev tools ask there for the newest version, by debug=True
    with done(tmp_path, text) as tutorial:
        tab.page.goto(tutorial.url)
        expect(tab.page.get_by_text("Hello")).to_be_visible()
        [printed] = re.findall("^It prints `(.+)`", text, re.MULTILINE)
        with tab.page.expect_console_message(lambda message: message.text == printed):
            tab.page.evaluate(f"() => {{ {typed} }}")  # Dash writes lines of its own
        tab.page.goto("about:blank")


def test_the_readmes_app_on_flask_tells_all_open_pages(tmp_path: Path, tab: Tab) -> None:
    with done(tmp_path, chapter("README.md", "Dash on Flask: live data")) as tutorial:
        page, another = tab.page, tab.another()
        for each in (page, another):
            each.goto(tutorial.url)
            each.get_by_role("button").wait_for()
        page.get_by_role("button").click()
        for each in (page, another):
            expect(each.locator("#news")).to_have_text("Hello number 1")
            each.goto("about:blank")
