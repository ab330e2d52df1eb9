"""``examples/behind-caddy``: https with a certificate that Caddy has made, and the visitor as Dash sees it."""

from __future__ import annotations

import json
import re
import ssl
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.examples.example import running_example

pytestmark = pytest.mark.browser

ASK = {
    "output": "visitor.children",
    "outputs": {"id": "visitor", "property": "children"},
    "inputs": [{"id": "visitor", "property": "id", "value": "visitor"}],
    "changedPropIds": ["visitor.id"],
}
"""What the page asks when it is loaded."""


def visitor(port: int, root: Path, **headers: str) -> str:
    """Ask as a visitor with another address than the two proxies. root: the certificate that is trusted."""
    trusted = ssl.create_default_context(cafile=root)
    fields = {"Content-Type": "application/json", **headers}
    with closing(HTTPSConnection("localhost", port, context=trusted, source_address=("127.0.0.2", 0))) as client:
        client.request("POST", "/_dash-update-component", json.dumps(ASK), fields)
        answer = json.load(client.getresponse())
    return str(answer["response"]["visitor"]["children"])


def test_the_page_is_live_over_https_and_dash_knows_its_visitor(tmp_path: Path, chromium: Browser) -> None:
    data, heard = tmp_path / "data", []
    env = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(data), "XDG_CONFIG_HOME": str(tmp_path)}
    with running_example("behind-caddy", tmp_path, env=env) as example:
        port, root = example.ports["HTTPS_PORT"], data / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        page = chromium.new_context(ignore_https_errors=True).new_page()  # nothing has told Chromium of the certificate
        page.on("console", lambda message: heard.append(message.text))
        page.on("websocket", lambda socket: heard.append(socket.url))
        page.goto(f"https://localhost:{port}")
        expect(page.locator("#visitor")).to_have_text(f"127.0.0.1, https://localhost:{port}")
        expect(page.locator("#clock")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
        page.context.close()

        assert visitor(port, root) == f"127.0.0.2, https://localhost:{port}"
        forged = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http"}
        assert visitor(port, root, **forged) == f"127.0.0.2, https://localhost:{port}"
    assert heard == [f"wss://localhost:{port}/connection/websocket"]
