"""The pages about prefixes, Socket.IO and migrating, done as they are written: several apps after one gateway."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import expect
from websockets.sync.client import connect

from proxy.dash.page_config import read_page
from tests.docs.blocks import blocks
from tests.processes import Process, completed, free_port, free_ports, running
from tests.redis_server import redis_server
from tests.system.browser import Tab
from tests.system.deployed import environment
from tests.system.nginx import needs_nginx, running_nginx
from tests.system.test_init import get
from tests.wire.connection import DEADLINE

pytestmark = [pytest.mark.system, pytest.mark.browser]

MIGRATING, PREFIXES, SOCKET_IO = (f"docs/how-to/{name}.md" for name in ("migrating", "prefixes", "socket-io"))

SALES = """
from dash import html
from ws_service.dash import Live

app.layout = html.Div(["Sales", Live("public:clock", into="clock", prop="children"), html.Div(id="clock")])
server = app.server
"""
OWN_SOCKET_IO = """
import socketio

sio = socketio.Server(async_mode="threading")
sio.on("shout", lambda sid, text: text.upper())
server.wsgi_app = socketio.WSGIApp(sio, server.wsgi_app, socketio_path="own.io")
"""
"""What Flask-SocketIO does to a Flask app; its rule is for a path of its own here."""

ENDPOINT = """
from fastapi import WebSocket


@app.websocket("/sales/ws")
async def sales(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text("sold")
    await websocket.close()
"""


class Site:
    """Two apps of Dash, a service and the gateway that the pages configure."""

    process: Process

    def __init__(self, folder: Path, redis: str) -> None:
        self.folder, self.redis = folder, redis
        self.port, self.dash, self.sales, self.ws = free_ports(4)
        self.url = f"http://127.0.0.1:{self.port}"
        self._write_apps()
        (folder / "config.yaml").write_text(json.dumps(self._config()))
        web = "exec gunicorn --threads 8 --bind 127.0.0.1"
        (folder / "Procfile").write_text(
            f"dash: {web}:{self.dash} app:server\nsales: {web}:{self.sales} sales:server\n"
            "ws: exec dash-ws-service --config config.yaml\ngateway: exec dash-ws-proxy --config config.yaml\n"
        )

    def _write_apps(self) -> None:
        [app] = blocks(MIGRATING, "python")
        server, _ = blocks(SOCKET_IO, "python")
        (self.folder / "app.py").write_text(app + OWN_SOCKET_IO)
        [prefixed] = blocks(PREFIXES, "python")
        (self.folder / "sales.py").write_text("import dash\n" + prefixed.replace("/board/", "/sales/") + SALES)
        (self.folder / "sockets.py").write_text(server + ENDPOINT)

    def _config(self) -> dict[str, Any]:
        """Return what the three pages configure, together, on ports of this test."""
        [apps], [socket_io], [hub] = (blocks(page, "yaml") for page in (PREFIXES, SOCKET_IO, MIGRATING))
        config, more = yaml.safe_load(apps), yaml.safe_load(socket_io)
        config["gateway"]["routes"] += [*more["gateway"]["routes"], {"path": "/own.io/", "to": "dash"}]
        config["gateway"]["upstreams"] = {
            name: f"http://127.0.0.1:{port}"
            for name, port in {"dash": self.dash, "sales": self.sales, "ws": self.ws}.items()
        }
        config["gateway"] |= {"listen": f"127.0.0.1:{self.port}", "admin": "off"}
        config["ws_service"] = {**more["ws_service"], **yaml.safe_load(hub)["ws_service"]}
        config["ws_service"]["listen"] = f"127.0.0.1:{self.ws}"
        return config

    def publish(self, topic: str, data: Any) -> None:
        told = completed("-m", "ws_service", "publish", topic, json.dumps(data), cwd=self.folder)
        assert told.returncode == 0, told.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        site = Site(folder, stack.enter_context(redis_server("valkey", folder)).url)
        env = environment(REDIS_URL=site.redis)
        process = stack.enter_context(running("honcho", "start", cwd=folder, env=env, ready="takes WebSockets over"))
        for line in (r"gateway.1.*INFO Dash \d", "dash.1.*Booting worker", "sales.1.*Booting worker"):
            process.wait_for(line)
        site.process = process
        yield site
        assert "Traceback" not in process.output, process.output


@needs_nginx
def test_two_apps_and_the_hub_share_a_port_and_nginx_removes_no_prefix(site: Site, tmp_path: Path, tab: Tab) -> None:
    port = free_port()
    shared, whole = blocks(PREFIXES, "nginx")[0], blocks("docs/how-to/nginx.md", "nginx")[0]
    (tmp_path / "snippets").mkdir()
    lines = re.search(r"( +proxy_http_version.*)    \}\n\}", whole, re.DOTALL)
    assert lines
    (tmp_path / "snippets" / "gateway.conf").write_text(lines[1])
    location = shared.replace("/board/", "/sales/").replace("127.0.0.1:8000", f"127.0.0.1:{site.port}")
    front = f"{whole.partition('server {')[0]}\nserver {{ listen 127.0.0.1:{port}; {location} }}"
    site.publish("public:clock", "12:00")
    with running_nginx(tmp_path, front):
        for number in (site.port, port):
            tab.page.goto(f"http://127.0.0.1:{number}/sales/")
            expect(tab.page.locator("#clock")).to_have_text("12:00")
            with connect(f"ws://127.0.0.1:{number}/sales/ws") as client:
                assert client.recv(timeout=DEADLINE) == "sold"
    found = read_page(get(site.port, "/")[1].decode())
    assert found and found.requests_pathname_prefix == "/"


def test_the_component_of_dash_extensions_shows_what_is_published(site: Site, tab: Tab) -> None:
    tab.page.goto(site.url)
    site.process.wait_for(r"/connection/websocket\?channels=public:clock&raw=1\" - handed off")
    site.publish("public:clock", "12:01")
    expect(tab.page.locator("#clock")).to_have_text("12:01")


def beside_playwright(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread: in the main one Playwright's loop is marked as running."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result(60)


def test_socket_io_is_served_by_the_service_and_hears_what_other_processes_emit(site: Site, tmp_path: Path) -> None:
    socketio = pytest.importorskip("socketio")
    script = tmp_path / "emit.py"
    script.write_text(blocks(SOCKET_IO, "python")[1])

    async def talk() -> None:
        client = socketio.AsyncClient()
        heard = asyncio.get_running_loop().create_future()
        client.on("price", heard.set_result)
        await client.connect(site.url, wait_timeout=20, headers={"Origin": site.url})
        assert (client.transport(), await client.call("shout", "hello", timeout=20)) == ("websocket", "HELLO")
        emitted = await asyncio.to_thread(completed, script, cwd=tmp_path, REDIS_URL=site.redis)
        assert emitted.returncode == 0, emitted.stderr
        assert await asyncio.wait_for(heard, 20) == {"AAPL": 189.2}
        await client.disconnect()

    beside_playwright(talk())
    polls = "/socket.io/?EIO=4&transport=polling"
    origins = site.url, "https://evil.example"
    assert [get(site.port, polls, f"Origin: {origin}")[0] for origin in origins] == [200, 400]


def test_socket_io_in_dashs_own_process_stays_there_by_a_rule(site: Site) -> None:
    socketio = pytest.importorskip("socketio")

    async def talk() -> None:
        client = socketio.AsyncClient()
        await client.connect(site.url, wait_timeout=20, socketio_path="own.io", headers={"Origin": site.url})
        assert (client.transport(), await client.call("shout", "hello", timeout=20)) == ("websocket", "HELLO")
        await client.disconnect()

    beside_playwright(talk())
