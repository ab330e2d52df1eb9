"""``examples/centrifugo``: another server with the same protocol takes the service's place, and nothing else changes.

That server is not Centrifugo, which no registry of the tests has: ``tests/examples/centrifugos_place.py`` says what
it is, and what it cannot show.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cent
import jwt
import pytest
from playwright.sync_api import expect

from tests.examples.example import EXAMPLES, running_example
from tests.system.browser import Tab
from tests.system.hub.real_client import running_client
from tests.system.hub.test_scaling import block
from ws_service.hub.keys import load_keys

pytestmark = pytest.mark.browser

IN_ITS_PLACE = f"{sys.executable} -m tests.examples.centrifugos_place"


def test_the_options_are_those_of_the_document_for_several_machines() -> None:
    here = json.loads((EXAMPLES / "centrifugo" / "centrifugo.json").read_text("utf-8"))
    there = json.loads(block("json", "handler_prefix"))
    assert here["channel"]["without_namespace"] == there["channel"]["without_namespace"]


def test_the_page_and_centrifugos_clients_work_with_another_server(tmp_path: Path, tab: Tab) -> None:
    page, ready = tab.page, {"ws": "ready on http"}
    with running_example("centrifugo", tmp_path, ready=ready, env={"CENTRIFUGO": IN_ITS_PLACE}) as example:
        page.goto(example.url)
        expect(page.locator("#newest")).to_have_text(re.compile("all is well"))
        expect(page.locator("#log")).to_have_text(re.compile(r"(?:.*all is well\s+){2}"))

        keys = load_keys(example.folder / "run" / "hub.key", {})
        token = jwt.encode({"channel": "log"}, (example.folder / "run" / "hub.key").read_text().strip(), "HS256")
        url = f"ws://127.0.0.1:{example.ports['GATEWAY_PORT']}/connection/websocket"
        with running_client("python", url) as client:
            client.connect()
            client.subscribe("log", token=token)
            with cent.Client(f"http://127.0.0.1:{example.ports['WS_PORT']}/api", keys.api_keys[0]) as api:
                api.publish(cent.PublishRequest(channel="log", data="from cent\n"))
            client.wait_for("publication", topic="log", data="from cent\n")
            client.do("subscribe", topic="other")
            assert client.wait_for("unsubscribed", topic="other")["code"] == 103
        expect(page.locator("#log")).to_contain_text("from cent")
