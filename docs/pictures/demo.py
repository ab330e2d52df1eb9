"""Draw ``demo.png``, the demo as a browser shows it, for the README: ``python docs/pictures/demo.py``.

It starts ``Procfile.demo`` on free ports, waits until the chart has its points, and takes the picture. It needs
Chromium, and the packages of the extra ``dev``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome")
PORTS = ("8000", "8001", "8050", "8765")
"""Those that the demo's files have."""
POINTS = 250
"""How many points of the chart to wait for, ten a second: an empty chart shows nothing."""


def main(path: Path = HERE / "demo.png") -> None:
    """Draw the picture into a file."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, demo(Path(folder)) as url:
        browser = playwright.chromium.launch(executable_path=next(filter(None, map(shutil.which, NAMES))))
        page = browser.new_page(viewport={"width": 1100, "height": 850})
        page.goto(url)
        wait_until_drawn(page)
        page.screenshot(path=path)
        browser.close()


def wait_until_drawn(page: Page) -> None:
    """Wait until the chart has its points."""
    drawn = "document.querySelector('#pulse .js-plotly-plot')?.data?.[0].y.filter((y) => y !== null).length"
    page.wait_for_function(f"{drawn} >= {POINTS}", timeout=60_000)


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Run the demo for the length of a ``with`` block, with its files in a folder; yields the address of its page."""
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    config = re.sub("|".join(PORTS), lambda match: str(ports[match[0]]), (ROOT / "config.yaml").read_text("utf-8"))
    (folder / "config.yaml").write_text(config.replace("gateway:\n", "gateway:\n  access_log: off\n", 1), "utf-8")
    programs = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    argv = [str(programs / "honcho"), "start", "-f", str(ROOT / "Procfile.demo"), "-d", str(folder)]
    with subprocess.Popen(argv, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as honcho:
        try:
            wait_for(honcho, "INFO Dash ")
            yield f"http://127.0.0.1:{ports['8000']}"
        finally:
            honcho.send_signal(signal.SIGINT)
            honcho.communicate(timeout=20)  # reads what it still prints, or it would not end


def wait_for(program: subprocess.Popen[str], text: str) -> None:
    """Wait until a program prints a line with a text. RuntimeError with its output where it ends before."""
    assert program.stdout is not None
    lines: list[str] = []
    for line in program.stdout:
        lines.append(line)
        if text in line:
            return
    raise RuntimeError("".join(lines))


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that are free at the moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
