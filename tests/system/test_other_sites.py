"""Pages of other sites in a real browser: they open no WebSocket to the ws service, and the site's own pages do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.system.browser import Tab
from tests.system.gateway import Gateway, Wire, answer, handshake, running_gateway, serving
from tests.system.handoff import running_service

pytestmark = pytest.mark.browser

ECHO = """(url) => new Promise((done) => {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => done(event.data);
    socket.onclose = (event) => done("closed " + event.code);
})"""

REFUSED = r"WebSocket connection to 'ws://[^']*/echo' failed: Error during WebSocket handshake: .* code: 403"
"""What the browser writes to its console; no script can keep it from that."""

LISTED = ["same", "regex:http://127[.]0[.]0[.]1:[0-9]+", "null"]


def page(wire: Wire) -> None:
    """Serve an empty page, whatever is asked for."""
    while True:
        wire.read_message()
        wire.send(answer("200 OK", "Content-Type: text/html", body=b"<!doctype html><title>a page</title>"))


class Site:
    """Gateways in front of one page, and the same page where it listens itself, which is another site."""

    def __init__(self, elsewhere: str, gateways: dict[str, Gateway]) -> None:
        self.elsewhere, self.gateways = elsewhere, gateways


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        elsewhere = stack.enter_context(serving(page))
        service = stack.enter_context(running_service(tmp_path_factory.mktemp("service")))
        gateways = {
            kind: stack.enter_context(
                running_gateway(tmp_path_factory.mktemp("gateway"), dash=elsewhere, ws=service.url, **settings)
            )
            for kind, settings in {
                "handing over": {"handoff": str(service.socket_file)},
                "tunnelling": {},
                "listing": {"origins": LISTED},
            }.items()
        }
        yield Site(elsewhere, gateways)


WAYS = pytest.mark.parametrize("way", ["handing over", "tunnelling"])


@WAYS
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_opens_a_socket_to_its_own_site(site: Site, tab: Tab, way: str, host: str) -> None:
    authority = f"{host}:{site.gateways[way].port}"
    tab.page.goto(f"http://{authority}/")
    assert tab.page.evaluate(ECHO, f"ws://{authority}/echo") == "hello"


@WAYS
def test_a_page_of_another_site_opens_none_and_the_log_says_what_to_set(site: Site, tab: Tab, way: str) -> None:
    gateway = site.gateways[way]
    before = len(gateway.process.output)
    tab.forgive(REFUSED)
    tab.page.goto(site.elsewhere)
    assert tab.page.evaluate(ECHO, f"ws://{gateway.authority}/echo") == "closed 1006"
    sentence = (
        f"Pages of {site.elsewhere} may not open a WebSocket at {gateway.authority}: gateway.origins says whose may"
    )
    gateway.process.wait_for(rf'"GET /echo" 403 .*refused.*{sentence}', after=before)


def test_localhost_and_its_number_are_two_sites(site: Site, tab: Tab) -> None:
    gateway = site.gateways["tunnelling"]
    tab.forgive(REFUSED)
    tab.page.goto(f"http://localhost:{gateway.port}/")
    assert tab.page.evaluate(ECHO, f"ws://127.0.0.1:{gateway.port}/echo") == "closed 1006"


def test_a_page_in_a_sandbox_is_of_no_site(site: Site, tab: Tab) -> None:
    gateway = site.gateways["tunnelling"]
    tab.forgive(REFUSED)
    tab.page.goto(gateway.url)
    tab.page.evaluate(
        "() => { const frame = document.createElement('iframe'); frame.sandbox = 'allow-scripts';"
        " frame.srcdoc = '<p>inside'; document.body.append(frame); }"
    )
    frame = tab.page.frame_locator("iframe").locator("p")
    frame.wait_for()
    inside = tab.page.frames[1]
    assert inside.evaluate(ECHO, f"ws://{gateway.authority}/echo") == "closed 1006"
    assert inside.evaluate(ECHO, f"ws://{site.gateways['listing'].authority}/echo") == "hello"


def test_a_site_that_is_listed_opens_one(site: Site, tab: Tab) -> None:
    tab.page.goto(site.elsewhere)
    assert tab.page.evaluate(ECHO, f"ws://{site.gateways['listing'].authority}/echo") == "hello"


def test_a_refusal_is_an_answer_and_its_connection_ends(site: Site) -> None:
    client = site.gateways["tunnelling"].dial()
    client.send(handshake("/echo", "Origin: https://evil.example"))
    refusal = client.read_message()
    assert (refusal.status, refusal.get("connection")) == (403, "close")
    assert "add https://evil.example to gateway.origins" in refusal.json()["advice"]
    assert client.read_to_end() == b""


def test_whoever_is_no_browser_says_no_origin(site: Site) -> None:
    client = site.gateways["tunnelling"].dial()
    client.send(handshake("/echo"))
    assert client.read_head().startswith(b"HTTP/1.1 101 ")
