"""The pages about proxies in front: each block is loaded as it is written, with an app of Dash on Flask after it."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser

from tests.certificates import Authority
from tests.docs.blocks import blocks
from tests.processes import ROOT, free_port, python, running
from tests.system.deployed import FLASK, Deployed, deploy, environment
from tests.system.front_proxies import running_caddy, running_haproxy
from tests.system.nginx import needs_nginx, running_nginx

pytestmark = [pytest.mark.system, pytest.mark.browser]

APP = FLASK.replace(
    "\nif __name__",
    """
from flask import request, url_for


@app.server.route("/who", methods=["GET", "POST"])
def who():
    return {
        "client": request.remote_addr, "link": url_for("who", _external=True), "bytes": len(request.get_data()),
    }


if __name__""",
)
ENDPOINTS = """
from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/live")
async def live(websocket: WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{text} from {websocket.headers['x-forwarded-for']}")
"""
UPLOAD = 5 << 20

MADE_UP = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "81",
    "X-Original-Host": "evil.example",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;proto=http;host=evil.example",
}
"""What a client may say of itself, and nobody may believe."""

IN_THE_PAGE = """async (size) => {
    const socket = new WebSocket("wss://" + location.host + "/live")
    const said = await new Promise((done) => {
        socket.onopen = () => socket.send("hello")
        socket.onmessage = (event) => done(event.data)
        socket.onclose = (event) => done("closed " + event.code)
    })
    const answer = await fetch("/who", {method: "POST", body: new Uint8Array(size)})
    return [said, await answer.json()]
}"""


class Site:
    """An app that ``init`` has been run on, and its three processes.

    gateway: its ``host:port``. one_hop: the port of a Dash that has a gateway in front of it, and no other proxy.
    """

    def __init__(self, deployed: Deployed, authority: Authority, one_hop: int) -> None:
        self.deployed, self.authority, self.one_hop = deployed, authority, one_hop
        self.gateway = f"127.0.0.1:{deployed.port}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    deployed = deploy(folder / "board", APP, "--host", "dash.example.com")
    (deployed.folder / "live.py").write_text(ENDPOINTS)
    deployed.use_own_ports(app="live:app")
    argv = shlex.split(deployed.text("Procfile").partition("web:")[2])
    env, one_hop = environment(PORT=str(deployed.port), PROXY_HOPS="2"), free_port()
    also = ["gunicorn", "--bind", f"127.0.0.1:{one_hop}", "--threads", "2", "wsgi:server"]
    with (
        running(*also, cwd=deployed.folder, env=environment(PROXY_HOPS="1"), ready="Listening at"),
        running(*argv, cwd=deployed.folder, env=env, ready="takes WebSockets over", timeout=60),
    ):
        yield Site(deployed, Authority(folder), one_hop)


# -- the pages have what init writes


@pytest.mark.parametrize(
    ("page", "language", "written"),
    [
        ("nginx", "nginx", "deploy/nginx.conf"),
        ("caddy", "caddy", "deploy/Caddyfile"),
        ("serve-dash", "python", "wsgi.py"),
    ],
)
def test_a_page_shows_the_file_that_init_writes(
    tmp_path: Path, site: Site, page: str, language: str, written: str
) -> None:
    assert blocks(f"docs/how-to/{page}.md", language)[0] == site.deployed.text(written).replace(
        f"127.0.0.1:{site.deployed.port}", "127.0.0.1:8000"
    )


def test_the_units_of_the_page_are_those_that_init_writes(site: Site) -> None:
    written = {path.name for path in (site.deployed.folder / "deploy" / "systemd").iterdir()}
    [commands, _] = blocks("docs/how-to/systemd.md", "sh")
    units = re.findall(r"board-[\w.]+", commands.partition("enable --now")[2])
    assert {unit if "." in unit else f"{unit}.service" for unit in units} | {"board.env"} == written
    table = re.findall(r"^\| `(board-[\w.]+)`", (ROOT / "docs" / "how-to" / "systemd.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(units)


# -- each proxy


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Put a test's ports and files in the place of what a page has."""
    for written, here in pairs:
        assert written in text, written
        text = text.replace(written, here)
    return text


@contextmanager
def nginx(site: Site, folder: Path, port: int) -> Iterator[None]:
    """With a certificate of one's own, as the page has it."""
    block, own = blocks("docs/how-to/nginx.md", "nginx")
    files = site.authority.issue("localhost")
    text = replaced(
        block,
        ("    listen 80;\n    listen [::]:80;\n", own),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("    listen [::]:443 ssl;\n", ""),
        ("/etc/ssl/dash.example.com.pem", files["certificate"]),
        ("/etc/ssl/dash.example.com.key", files["key"]),
        ("127.0.0.1:8000", site.gateway),
    )
    with running_nginx(folder, text):
        yield


@contextmanager
def caddy(site: Site, folder: Path, port: int) -> Iterator[None]:
    [block] = blocks("docs/how-to/caddy.md", "caddy")
    name = f"https://localhost:{port} {{\n\tbind 127.0.0.1\n\ttls internal"
    with running_caddy(folder, replaced(block, ("dash.example.com {", name), ("127.0.0.1:8000", site.gateway))):
        yield


def in_one_file(site: Site, folder: Path) -> str:
    files = site.authority.issue("localhost")
    pem = folder / "both.pem"
    pem.write_text(Path(files["certificate"]).read_text() + Path(files["key"]).read_text())
    return str(pem)


@contextmanager
def haproxy(site: Site, folder: Path, port: int) -> Iterator[None]:
    block, _ = blocks("docs/how-to/haproxy.md", "haproxy")
    text = replaced(
        block,
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/haproxy/dash.example.com.pem", in_one_file(site, folder)),
        ("127.0.0.1:8000", site.gateway),
    )
    with running_haproxy(folder, text):
        yield


@contextmanager
def gateway_with_tls(site: Site, folder: Path, page: str, port: int) -> Iterator[None]:
    """Run a gateway by the block of a page that has ``tls``, before the Dash that has no other proxy."""
    [config] = [found for found in map(yaml.safe_load, blocks(page, "yaml")) if "tls" in found["gateway"]]
    files = site.authority.issue("localhost")
    upstreams = {"dash": f"http://127.0.0.1:{site.one_hop}", "ws": f"http://127.0.0.1:{site.deployed.ws}"}
    own: dict[str, Any] = {"listen": f"127.0.0.1:{port}", "admin": "off", "upstreams": upstreams, "handoff": "off"}
    config["gateway"] |= {**own, "tls": {name: files[name] for name in config["gateway"]["tls"]}}
    path = folder / "config.yaml"
    path.write_text(json.dumps(config))
    with running(*python("-m", "proxy", "--config", path), ready="gateway ready on"):
        yield


@contextmanager
def haproxy_for_tcp(site: Site, folder: Path, port: int) -> Iterator[None]:
    _, block = blocks("docs/how-to/haproxy.md", "haproxy")
    gateway = free_port()
    text = replaced(block, ("bind :443", f"bind 127.0.0.1:{port}"), ("127.0.0.1:8000", f"127.0.0.1:{gateway}"))
    with gateway_with_tls(site, folder, "docs/how-to/haproxy.md", gateway), running_haproxy(folder, text):
        yield


@contextmanager
def no_proxy(site: Site, folder: Path, port: int) -> Iterator[None]:
    with gateway_with_tls(site, folder, "docs/how-to/https.md", port):
        yield


def from_another_address(port: int) -> Any:
    """Ask who the client is, from 127.0.0.2, with an address and a host that the client has made up."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    client = http.client.HTTPSConnection("localhost", port, source_address=("127.0.0.2", 0), context=unverified)
    client.request("GET", "/who", headers=MADE_UP)
    found = json.load(client.getresponse())
    client.close()
    return found


@pytest.mark.parametrize(
    "front",
    [pytest.param(nginx, marks=needs_nginx), caddy, haproxy, haproxy_for_tcp, no_proxy],
    ids=lambda front: front.__name__,
)
def test_pages_websockets_uploads_and_https_pass(
    site: Site, tmp_path: Path, chromium: Browser, front: Callable[[Site, Path, int], Any]
) -> None:
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(front(site, tmp_path, port))
        context = chromium.new_context(ignore_https_errors=True)
        stack.callback(context.close)
        page = context.new_page()
        page.goto(f"https://localhost:{port}/")
        page.get_by_text("Hello World").wait_for()
        link = f"https://localhost:{port}/who"
        assert page.evaluate(IN_THE_PAGE, UPLOAD) == [
            "hello from 127.0.0.1",
            {"client": "127.0.0.1", "link": link, "bytes": UPLOAD},
        ]
        assert from_another_address(port) == {"client": "127.0.0.2", "link": link, "bytes": 0}


def test_with_one_hop_too_few_dash_takes_nginx_for_the_browser_and_its_links_are_https_still(site: Site) -> None:
    fields = {"X-Forwarded-For": "198.51.100.7, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "443"}
    client = http.client.HTTPConnection("127.0.0.1", site.one_hop)
    client.request("GET", "/who", headers=fields | {"X-Forwarded-Host": "dash.example.com"})
    found = json.load(client.getresponse())
    client.close()
    assert found == {"client": "127.0.0.1", "link": "https://dash.example.com/who", "bytes": 0}
    assert "or it takes nginx's address for the browser's" in (ROOT / "docs/how-to/nginx.md").read_text()
