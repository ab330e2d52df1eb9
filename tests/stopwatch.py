"""``python -m tests.stopwatch``: the seconds from a clone to a live page, and from a ``dcc.Interval`` to a live page.

Live is the first message that a WebSocket of the page gets, in Chromium. Both are done as README.md and
docs/tutorials/from-interval.md say, on free ports; what a person types and reads in between is not in the figures.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.processes import ROOT, Process, free_ports
from tests.system.browser import QUIET, executable
from tests.system.test_tutorials import INTERVAL, chapter, done

PORTS = ("8000", "8001", "8050", "8765")
"""Those that the demo's config.yaml has."""


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print how long a ``with`` block took."""
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:7.1f} s  {name}", flush=True)


def wait_until_live(url: str) -> None:
    """Open a page, and wait for a message of a WebSocket of it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=list(QUIET))
        page = browser.new_page()
        with page.expect_websocket(lambda socket: bool(socket.wait_for_event("framereceived"))):
            page.goto(url)
        browser.close()


def from_a_clone(folder: Path) -> None:
    """Clone this repository, and let ``make run`` do the rest."""
    clone = folder / "dash-ws-proxy"
    with step("git clone"):
        subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", clone], check=True)
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    text = (clone / "config.yaml").read_text("utf-8")
    (clone / "config.yaml").write_text(re.sub("|".join(PORTS), lambda match: ports[match[0]], text), "utf-8")
    demo = Process(["make", "run"], cwd=clone, env={"PYTHONPATH": ""})
    try:
        with step("make run, until the gateway listens"):
            demo.wait_for("gateway ready on", timeout=600)
        with step("the page is live"):
            wait_until_live(f"http://127.0.0.1:{ports['8000']}")
    finally:
        demo.stop(signal.SIGINT)  # as Ctrl-C: honcho ends what it has started


def from_an_interval(folder: Path) -> None:
    """Make the tutorial's app live, in an environment that has Dash already."""
    venv.create(folder / ".venv", with_pip=True)
    pip = [folder / ".venv" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, "dash"], check=True)
    with step("pip install /path/to/the/clone, beside Dash"):
        subprocess.run([*pip, ROOT], check=True)
    sys.executable = str(folder / ".venv" / "bin" / "python")  # whose programs the tutorial's commands are
    began = time.monotonic()
    with done(folder, chapter(INTERVAL, "After")) as tutorial:
        print(f"{time.monotonic() - began:7.1f} s  four programs are started")
        with step("the page is live"):
            wait_until_live(tutorial.url)


if __name__ == "__main__":
    for title, measured in (("From a clone", from_a_clone), ("From dcc.Interval", from_an_interval)):
        print(title)
        with tempfile.TemporaryDirectory() as place:
            measured(Path(place))
