"""Draw ``demo.png``: the demo as a browser shows it, for the README.

``python docs/pictures/demo.py`` starts the three programs on free ports, waits until the page is live, and takes the
picture. It needs Chromium, and playwright of the extra ``dev``.
"""

from __future__ import annotations

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
NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZE = {"width": 1200, "height": 800}
POINTS = 150
"""How many points of the chart to wait for: an empty chart shows nothing."""


def main(path: Path = HERE / "demo.png") -> None:
    """Draw the picture into a file."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, demo(Path(folder)) as url:
        browser = playwright.chromium.launch(executable_path=next(filter(None, map(shutil.which, NAMES))))
        page = browser.new_page(viewport=SIZE)
        page.goto(url)
        wait_until_live(page)
        page.screenshot(path=path)
        browser.close()


def wait_until_live(page: Page) -> None:
    """Wait until the page shows that its socket is open, and the chart has its points."""
    page.wait_for_function("document.querySelector('#state')?.textContent === 'live'")
    page.wait_for_function(
        f"document.querySelector('.js-plotly-plot')?.data?.[0].y.filter((y) => y !== null).length > {POINTS}"
    )


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Run the demo on free ports for the length of a ``with`` block; yields the address of its page."""
    gateway, admin, ws, dash = (f"127.0.0.1:{port}" for port in free_ports(4))
    config = folder / "config.yaml"
    config.write_text(
        f"gateway:\n  listen: {gateway}\n  admin: {admin}\n  access_log: off\n"
        f"  upstreams: {{dash: 'http://{dash}', ws: 'http://{ws}'}}\n"
        f"ws_service: {{listen: '{ws}', app: 'dash_app.app:app'}}\n"
        f"dash_app: {{listen: '{dash}'}}\n"
    )
    with ExitStack() as stack:
        for module in ("proxy", "ws_service", "dash_app"):
            argv = [sys.executable, "-m", module, "--config", str(config)]
            program = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            stack.enter_context(program)  # waits for its end
            stack.callback(program.send_signal, signal.SIGTERM)
            wait_for(program, "ready on")
        yield f"http://{gateway}"


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
