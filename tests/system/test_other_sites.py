"""Pages of other sites in a real browser: they open no WebSocket to the ws service, and the site's own pages do."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import free_port, running
from tests.programs import program
from tests.system.browser import Tab
from tests.system.gateway import Gateway, Origin, running_gateway, serving
from tests.system.handoff import running_service
from tests.system.test_dash_today import wait_until_listening
from tests.wire.connection import Wire
from tests.wire.messages import Message, answer, handshake, switching

pytestmark = pytest.mark.browser

ECHO = """(url) => new Promise((done) => {
    const socket = new WebSocket(url);
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => done(event.data);
    socket.onclose = (event) => done("closed " + event.code);
})"""

REFUSED = r"WebSocket connection to 'ws://[^']*/echo' failed: Error during WebSocket handshake: .* code: 403"
"""What the browser writes to its console; no script can keep it from that."""

LISTED = ["same", "regex:http://127[.]0[.]0[.]1:[0-9]+", "null", "file://"]


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


def test_a_page_from_a_file_is_named_as_the_log_says(site: Site, tab: Tab, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<!doctype html><title>a page</title>")
    gateway = site.gateways["tunnelling"]
    before = len(gateway.process.output)
    tab.forgive(REFUSED)
    tab.page.goto((tmp_path / "page.html").as_uri())
    assert tab.page.evaluate(ECHO, f"ws://{gateway.authority}/echo") == "closed 1006"
    # Chromium says null; with --allow-file-access-from-files, as in many web views, file://.
    gateway.process.wait_for(r'"GET /echo" 403 .*Pages of (null|file://) may not open', after=before)
    assert tab.page.evaluate(ECHO, f"ws://{site.gateways['listing'].authority}/echo") == "hello"


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


def test_a_client_that_is_no_browser_sends_no_origin(site: Site) -> None:
    client = site.gateways["tunnelling"].dial()
    client.send(handshake("/echo"))
    assert client.read_head().startswith(b"HTTP/1.1 101 ")


# -- sockets of Dash's own process


@pytest.mark.parametrize("prefix", ["/", "/team/app/"])
def test_a_socket_in_dashs_process_whose_path_only_ends_as_dashs_is_not_left_to_dash(
    tmp_path: Path, prefix: str
) -> None:
    """``@server.websocket("/room/{name}")`` in a Dash app; Dash judges the origin of its own path alone (issue 9)."""
    settings: dict[str, object] = {"routes": [{"path": "/chat", "to": "dash"}], "dash_prefix": prefix}
    with (
        serving(accept_all) as dash,
        Origin() as ws,
        running_gateway(tmp_path, dash=dash, ws=ws.url, **settings) as gateway,
    ):

        def status(target: str, origin: str) -> int | None:
            with gateway.dial() as client:
                client.send(handshake(target, f"Origin: {origin}", "Cookie: session=victim"))
                return Message(client.read_head()).status

        own = f"{prefix}_dash-ws-callback"
        assert status(own, "https://evil.example") == 101, "Dash's own socket is Dash's to judge"
        for target in (
            f"{prefix}room/_dash-ws-callback",
            f"{prefix}room%2F_dash-ws-callback",
            f"/{own}",
            f"{prefix}%5Fdash-ws-callback",
            f"{prefix}x/../_dash-ws-callback",
            "/chat",
        ):
            assert status(target, "https://evil.example") == 403, target
            assert status(target, "http://example.com") == 101, target
        assert not ws.has_visitor()


# -- behind a proxy that ends TLS

NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{ }}
http {{
  access_log off; client_body_temp_path body; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp;
  scgi_temp_path temp; ssl_certificate cert.pem; ssl_certificate_key key.pem;
  proxy_http_version 1.1; proxy_set_header Upgrade websocket; proxy_set_header Connection upgrade;
  server {{
    listen 127.0.0.1:{port} ssl;
    location /kept/ {{ proxy_pass {gateway}; proxy_set_header Host $http_host;
                       proxy_set_header Upgrade websocket; proxy_set_header Connection upgrade; }}
    location /changed/ {{ proxy_pass {gateway}; }}
    location /told/ {{ proxy_pass {believing}; proxy_set_header X-Forwarded-Host $http_host;
                       proxy_set_header X-Forwarded-Proto $scheme;
                       proxy_set_header Upgrade websocket; proxy_set_header Connection upgrade; }}
  }}
}}
"""


def accept_all(wire: Wire) -> None:
    """Answer each handshake with yes."""
    wire.read_message()
    wire.send(switching())
    wire.read_to_end()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], int | None]]:
    """nginx with TLS before two gateways, one of which believes it; yields who asks for (path, scheme of the page)."""
    nginx, openssl = program("nginx"), program("openssl")
    folder = tmp_path_factory.mktemp("nginx")
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test -days 1"
    subprocess.run(
        [openssl, *make.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
    )
    port = free_port()
    with ExitStack() as stack:
        ws = stack.enter_context(serving(accept_all))
        one, other = (
            stack.enter_context(running_gateway(folder, dash=ws, trusted_proxies=trusted))
            for trusted in ([], ["127.0.0.1"])
        )
        (folder / "nginx.conf").write_text(NGINX.format(port=port, gateway=one.url, believing=other.url))
        stack.enter_context(running(nginx, "-p", folder, "-c", "nginx.conf"))
        wait_until_listening(port)
        context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        context.check_hostname = False

        def ask(path: str, scheme: str) -> int | None:
            wire = Wire(context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10)))
            with wire:
                authority = f"app.example:{port}"
                wire.send(handshake(path, f"Origin: {scheme}://{authority}", host=authority))
                return Message(wire.read_head()).status

        yield ask


def test_a_proxy_that_keeps_host_needs_no_word_from_us(front: Callable[[str, str], int | None]) -> None:
    assert front("/kept/", "https") == 101


def test_a_proxy_that_changes_host_is_refused_until_it_is_trusted(front: Callable[[str, str], int | None]) -> None:
    assert front("/changed/", "https") == 403
    assert front("/told/", "https") == 101
    assert front("/told/", "http") == 403  # a page that came without TLS may be an eavesdropper's


FETCH = "(url) => fetch(url, {mode: 'no-cors'}).then(() => 'something', () => 'nothing')"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_site_makes_no_work_for_the_admin_listener_and_a_link_is_followed(
    site: Site, tab: Tab, host: str
) -> None:
    url = f"http://{host}:{site.gateways['tunnelling'].admin_port}/status"
    tab.forgive(r"status of 403")
    tab.page.goto(site.elsewhere)
    with tab.page.expect_response(url) as response:
        tab.page.evaluate(FETCH, url)
    assert response.value.status == 403
    tab.page.evaluate("(url) => { location.href = url; }", url)
    tab.page.wait_for_url(url)
    tab.page.locator("h1").wait_for()
    assert tab.page.evaluate("() => fetch('/status').then((answer) => answer.status)") == 200
