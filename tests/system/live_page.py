"""A Dash app with ``Live`` under gunicorn, the hub, and a gateway in front of both; and what its pages hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.processes import Process, completed, free_port, running
from tests.system.browser import TIMEOUT
from tests.system.hub.hub import Hub, running_hub

APPS = Path(__file__).parent / "apps"

PYTHON = os.environ.get("DASH_PYTHON", sys.executable)
"""The interpreter of the Dash server: ``python -m tests.dash_versions`` sets those of other versions."""

NAMESPACES: dict[str, dict[str, object]] = {
    "kept": {"history": 20_000, "recovery": "stream", "ttl": "1h"},
    "few": {"history": 5, "recovery": "stream"},
}

LOST = r"WebSocket connection to 'ws://[^']*/connection/websocket' failed"
"""What a browser writes to its console when a socket breaks or is not answered; no script can keep it from that."""

OFFLINE = rf"{LOST}|_dash-update-component|Callback failed: the server did not respond"
"""And what it and Dash write where the page's requests break too."""

DRAWN = """() => document.querySelector("#graph .js-plotly-plot")
    && (!window.dash_ag_grid || document.querySelector("#grid .ag-root"))"""
"""Both load scripts of their own."""

SHORT_SCRIPT = (
    "import sys, json; from ws_service import publish; publish(sys.argv[1], json.loads(sys.argv[2]), raise_errors=True)"
)


class Site:
    """What runs. url: of the home page, through the gateway."""

    def __init__(self, hub: Hub, dash: Process, prefix: str) -> None:
        self.hub, self.dash, self.prefix = hub, dash, prefix
        self.url = hub.gateway.url + prefix

    def publish_elsewhere(self, topic: str, data: str) -> None:
        """Publish from a process of its own, as a cron script does. data: JSON."""
        done = completed("-c", SHORT_SCRIPT, topic, data, cwd=self.hub.folder, **self.hub.env)
        assert done.returncode == 0, done.stderr

    def publish_all(self, topic: str, messages: list[object]) -> None:
        """Publish many, in order, in few requests."""
        for first in range(0, len(messages), 500):
            commands = [{"publish": {"channel": topic, "data": data}} for data in messages[first : first + 500]]
            replies = self.hub.ask("batch", {"commands": commands})["replies"]
            assert all("error" not in reply for reply in replies), replies[:3]


@contextmanager
def running_site(
    folder: Path, *, prefix: str = "/", debug: bool = False, app: Path = APPS, env: Mapping[str, str] | None = None
) -> Iterator[Site]:
    """Run all three for the length of a ``with`` block. debug: with Dash's own server and its reloader.

    app: the folder with ``live.py``. env: of all three, beside our own and the hub's key.
    """
    port = free_port()
    hub_settings: dict[str, Any] = {"namespaces": NAMESPACES, "env": env}
    with running_hub(folder, dash=f"http://127.0.0.1:{port}", **hub_settings) as hub:
        env = {**hub.env, "PREFIX": prefix, "PORT": str(port)}
        argv = [PYTHON, "live.py"] if debug else gunicorn(port)
        ready = r"Dash is running on" if debug else r"Booting worker"
        with running(*argv, ready=ready, cwd=app, env=env) as dash:
            yield Site(hub, dash, prefix)
            assert "Traceback" not in dash.output, dash.output


def gunicorn(port: int) -> list[str]:
    """One worker; tests.system.test_dash_today says why."""
    kind = ["--worker-class", "gthread", "--threads", "8", "--workers", "1"]
    return [PYTHON, "-m", "gunicorn", *kind, "--bind", f"127.0.0.1:{port}", "live:server"]


def opened(page: Page, url: str) -> Page:
    """Load a page and wait until it is drawn and listens."""
    page.goto(url)
    page.wait_for_function(DRAWN)
    expect(page.locator("#live-state")).to_have_text("open 0")
    expect(page.locator("#numbers-live-state")).to_have_text("open 0")
    expect(page.locator("#shelf-live-state")).to_have_text("open 0")
    expect(page.locator("#few-live-state")).to_have_text("open 0")
    return page


def wait_for_count(page: Page, name: str, count: int, timeout: float = TIMEOUT) -> list[int]:
    """Wait until a list of the page has so many entries; return it."""
    page.wait_for_function(f"(window.{name} || []).length >= {count}", timeout=timeout)
    entries: list[int] = page.evaluate(f"window.{name}")
    return entries


def points(page: Page) -> list[float]:
    """Return the y values of the graph."""
    found: list[float] = page.evaluate("document.querySelector('#graph .js-plotly-plot').data[0].y")
    return found
