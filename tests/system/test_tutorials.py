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

from tests.processes import ROOT, Process, free_ports
from tests.system.browser import TIMEOUT, Tab

pytestmark = pytest.mark.browser

TIME = re.compile(r"^\d\d:\d\d:\d\d$")

LOST = r"WebSocket connection to 'ws://[^']*' failed"
"""What a browser writes to its console when a handshake is not answered; no script can keep it from that."""

READY = {
    "dash-ws-proxy": r"gateway ready on",
    "dash-ws-service": r"ws service ready on",
    "python app.py": r"Dash is running on|Uvicorn running on",
}
"""The line that says that a command of a tutorial serves; others only have to go on."""


def chapter(document: str, title: str) -> str:
    """Return a chapter of a document of the repository."""
    text = (ROOT / document).read_text("utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no chapter {title}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


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
        """Write the files of a text: those that are named in the first line of a block, as a comment."""
        for language in ("python", "js", "yaml"):
            for block in blocks(text, language):
                name = re.match(r"(?:#|//) (\S+)\n", block)
                assert name, f"a block without the name of its file:\n{block}"
                path = self.folder / name[1]
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
def done(folder: Path, *texts: str) -> Iterator[Tutorial]:
    """Do what chapters say, the later ones over the earlier; the commands are those of the last that has some."""
    tutorial = Tutorial(folder)
    for text in texts:
        tutorial.write(text)
    lines = next(found for text in reversed(texts) if (found := "".join(blocks(text, "sh")).splitlines()))
    try:
        for line in lines:
            tutorial.start(line)
        tutorial.processes["dash-ws-proxy"].wait_for(
            r"INFO Dash \d"
        )  # two first requests at once: Dash forgets assets/
        yield tutorial
    finally:
        tutorial.stop()
    for line, process in tutorial.processes.items():
        assert "Traceback" not in process.output, f"{line}:\n{process.output}"


def ticks(tab: Tab) -> None:
    """Wait until the clock of the page shows a time, and then another."""
    clock = tab.page.locator("#clock")
    expect(clock).to_have_text(TIME, timeout=TIMEOUT)
    expect(clock).not_to_have_text(clock.inner_text(), timeout=TIMEOUT)


FLASK = "docs/tutorials/flask.md"


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
