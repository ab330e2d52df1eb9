"""What is measured as a hub: how each server is found, started and published to."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import accounting
from benchmarks.dialects import TOPIC, Centrifugo, Dialect, Plain, SocketIO
from benchmarks.peers import FROM_NPM, Missing, NotHere, installed
from benchmarks.processes import ROOT, Child, Cores, free_port, started

ORDER = ("hub", "ws on Node", "FastAPI loop", "python-socketio")
"""Every server, in the order of the tables."""

API_KEY = "a-key-of-the-benchmarks-on-loopback"

SERVERS = ROOT / "benchmarks" / "servers"


@dataclass(frozen=True)
class HubTarget:
    """A running server. port, path: where subscribers connect. dialect: makes one for each subscriber.

    publish_port, request: where and how publications are sent. children: all processes whose costs count.
    """

    port: int
    path: str
    dialect: Callable[[], Dialect]
    publish_port: int
    request: Callable[[bytes], bytes]
    children: Sequence[Child]

    def cpu(self) -> float:
        """Return the seconds of CPU that the server has used."""
        return sum(accounting.cpu(child.session) for child in self.children)

    def memory(self) -> float:
        """Return the KiB that the server holds."""
        return float(sum(accounting.pss(child.session) for child in self.children))

    def check(self) -> None:
        """Raise Failed if a process has ended."""
        for child in self.children:
            child.check()


@dataclass(frozen=True)
class Place:
    """Where a server works. folder: for its files. cores: those of what is measured."""

    folder: Path
    cores: Cores


Run = Callable[[Place], AbstractAsyncContextManager[HubTarget]]


@dataclass(frozen=True)
class HubServer:
    """A server that can be started. version, log: for tables. run: for the length of a ``with`` block."""

    name: str
    version: str
    log: str
    run: Run


def post(path: str, body: bytes, *fields: str) -> bytes:
    """Return a POST of JSON."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _api(data: bytes) -> bytes:
    return post("/api/publish", b'{"channel":"%b","data":%b}' % (TOPIC.encode(), data), f"X-API-Key: {API_KEY}")


@asynccontextmanager
async def _hub(place: Place) -> AsyncIterator[HubTarget]:
    """Run the service, and the gateway that hands its subscribers over; both count."""
    port, service_port = free_port(), free_port()
    namespace = {"history": 1000, "recovery": "stream", "subscribe": "anyone"}
    config = {
        "gateway": {
            "listen": f"127.0.0.1:{port}",
            "admin": f"unix:{place.folder}/hub-admin.sock",
            "upstreams": {"dash": "http://127.0.0.1:9", "ws": f"http://127.0.0.1:{service_port}"},
            "handoff": "hub.sock",
            "access_log": "text",
            "limits": dict.fromkeys(("connections_per_client", "websockets_per_client", "handshakes_per_second")),
        },
        "ws_service": {
            "listen": f"127.0.0.1:{service_port}",
            "handoff": "hub.sock",
            "hub": {"api_key": API_KEY, "namespaces": {"bench": namespace}},
        },
    }
    path = place.folder / "hub.yaml"
    path.write_text(json.dumps(config), "utf-8")
    argv = (installed("dash-ws-service", "pip install -e ."), installed("dash-ws-proxy", "pip install -e ."))
    async with AsyncExitStack() as stack:
        children = [
            await stack.enter_async_context(
                started(name, [command, "--config", str(path)], at, folder=place.folder, cores=place.cores)
            )
            for name, command, at in (("hub", argv[0], service_port), ("hub-gateway", argv[1], port))
        ]
        await children[1].said("takes WebSockets over")
        yield HubTarget(port, "/connection/websocket", Centrifugo, service_port, _api, children)


def _alone(argv: Sequence[str], path: str, dialect: Callable[[], Dialect], env: dict[str, str] | None = None) -> Run:
    """Return how a server of one process is run. argv: its port is added."""

    @asynccontextmanager
    async def run(place: Place) -> AsyncIterator[HubTarget]:
        port = free_port()
        running = started("server", [*argv, str(port)], port, folder=place.folder, cores=place.cores, env=env)
        async with running as child:
            yield HubTarget(port, path, dialect, port, lambda data: post("/publish", data), [child])

    return run


@cache
def find(name: str) -> HubServer | Missing:
    """Look for a server of ``ORDER``; once."""
    try:
        return _FINDERS[name](name)
    except NotHere as error:
        return Missing(name, str(error))


def _ours(name: str) -> HubServer:
    return HubServer(name, version("dash-ws-proxy"), "the gateway's: a line for each socket", _hub)


def _ws(name: str) -> HubServer:
    node = installed("node", "Debian: apt-get install nodejs npm")
    modules = FROM_NPM / "node_modules"
    if not (modules / "ws").is_dir():
        raise NotHere("ws is not installed (npm install ws)")
    found = json.loads((modules / "ws" / "package.json").read_text("utf-8"))["version"]
    run = _alone([node, str(SERVERS / "ws_loop.cjs")], "/ws", Plain, {"NODE_PATH": str(modules)})
    return HubServer(name, found, "none", run)


def _fastapi(name: str) -> HubServer:
    run = _alone([sys.executable, "-m", "benchmarks.servers.fastapi_loop"], "/ws", Plain)
    return HubServer(name, f"{version('fastapi')}, uvicorn {version('uvicorn')}", "none", run)


def _socketio(name: str) -> HubServer:
    try:
        found = version("python-socketio")
    except PackageNotFoundError:
        raise NotHere("python-socketio is not installed (pip install python-socketio)") from None
    path = "/socket.io/?EIO=4&transport=websocket"
    run = _alone([sys.executable, "-m", "benchmarks.servers.socketio_emit"], path, SocketIO)
    return HubServer(name, f"{found}, uvicorn {version('uvicorn')}", "none", run)


_FINDERS: dict[str, Callable[[str], HubServer]] = {
    "hub": _ours,
    "ws on Node": _ws,
    "FastAPI loop": _fastapi,
    "python-socketio": _socketio,
}
