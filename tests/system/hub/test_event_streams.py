"""Event streams through the real gateway: curl under a prefix, an EventSource in Chromium that loses its connection."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.processes import completed, running
from tests.system.browser import Tab
from tests.system.hub.hub import Hub
from tests.system.hub.relay import running_relay
from tests.wire.messages import request

STREAM = """
topic => {
    window.got = [];
    window.gaps = 0;
    const source = new EventSource("connection/uni_sse?channels=" + encodeURIComponent(topic) + "&raw=1");
    source.onmessage = event => window.got.push(JSON.parse(event.data));
    source.addEventListener("gap", () => window.gaps++);
    return new Promise(done => source.onopen = () => done());
}
"""


def until(is_so: Callable[[], object], *, timeout: float = 20) -> None:
    deadline = time.monotonic() + timeout
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def clients(hub: Hub) -> int:
    return int(hub.ask("info", {})["result"]["nodes"][0]["num_clients"])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_under_a_prefix_gets_what_a_script_publishes(hub: Hub) -> None:
    url = f"{hub.gateway.url}/app/connection/uni_sse?channels=open:curl&raw=1"
    with running("curl", "-sN", url, ready="retry: ") as curl:
        until(lambda: clients(hub))
        (hub.folder / "feed.py").write_text(
            "from ws_service import publish\nfor n in range(3): publish('open:curl', {'n': n}, raise_errors=True)\n"
        )
        done = completed("feed.py", cwd=hub.folder, **hub.env)
        assert (done.returncode, done.stderr) == (0, "")
        curl.wait_for('data: {"n":2}')
        assert [line for line in curl.output.splitlines() if line.startswith("data")] == [
            f'data: {{"n":{n}}}' for n in range(3)
        ]
    until(lambda: not clients(hub))


def test_centrifugos_form_is_served(hub: Hub) -> None:
    hub.publish("latest:a", {"x": 1})
    connect = quote(json.dumps({"subs": {"latest:a": {}}}))
    client = hub.gateway.dial()
    client.send(request(f"GET /connection/uni_sse?cf_connect={connect}"))
    client.read_until(b'data: {"channel":"latest:a","pub":{"data":{"x":1},"offset":1}}\n\n')
    client.close()
    until(lambda: not clients(hub))


def test_a_topic_without_the_right_is_refused(hub: Hub) -> None:
    answer = hub.gateway.ask(request("GET /connection/uni_sse?channels=closed:a&raw=1"))
    assert answer.status == 403


def test_a_stop_ends_the_streams_and_does_not_wait_for_them(hub: Hub) -> None:
    client = hub.gateway.dial()
    client.send(request("GET /connection/uni_sse?channels=open:stop"))
    client.read_until(b'"subscribe"')
    began = time.monotonic()
    hub.stop()
    assert time.monotonic() - began < 10, "drain is 20 s"
    client.read_until(b'data: {"disconnect":{"code":3001,"reason":"shutdown"}}\n\n')
    assert hub.service.output.count("Traceback") == 0
    hub.start()


@pytest.mark.browser
def test_an_event_source_that_loses_its_connection_gets_everything_once_and_in_order(hub: Hub, tab: Tab) -> None:
    tab.forgive("ERR_|Failed to load resource|failed: GET")
    with running_relay(hub.gateway.port) as relay:
        tab.page.goto(f"http://127.0.0.1:{relay.port}/connection/uni_sse")  # a page of this site, whatever is on it
        tab.page.evaluate(STREAM, "open:numbers")
        for first in (0, 90):
            for number in range(first, first + 90):
                hub.publish("open:numbers", number)
                if number - first == 30:
                    relay.cut()
            tab.page.wait_for_function(f"window.got.includes({first + 89})", timeout=30_000)
        assert tab.page.evaluate("window.got") == list(range(180))
        assert tab.page.evaluate("window.gaps") == 0


@pytest.mark.browser
def test_an_event_source_outlives_a_killed_service_and_is_told_of_the_gap(hub: Hub, tab: Tab) -> None:
    tab.forgive("ERR_|Failed to load resource|failed: GET")
    tab.page.goto(f"{hub.gateway.url}/connection/uni_sse")
    tab.page.evaluate(STREAM, "open:killed")
    hub.publish("open:killed", "before")
    tab.page.wait_for_function("window.got.includes('before')")
    hub.kill()
    hub.start()
    until(lambda: clients(hub))
    hub.publish("open:killed", "after")
    tab.page.wait_for_function("window.got.includes('after')")
    assert tab.page.evaluate("[window.got, window.gaps]") == [["before", "after"], 1]
