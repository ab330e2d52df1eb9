"""Peers that vanish without a word: found within 45 s, whatever they were doing. Who lives and is slow is left alone.

The network is a real one: a namespace of its own, joined by a veth pair, whose way back is taken away.
"""

from __future__ import annotations

import ctypes
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.processes import free_ports, network
from tests.programs import program
from tests.system.gateway import Gateway, running_gateway, serving
from tests.system.handoff import APP, running_service
from tests.system.test_admin import ready
from tests.wire.connection import Wire
from tests.wire.frames import frame
from tests.wire.messages import answer, handshake, request, switching

FOUND = 45.0
"""Seconds within which a peer is to be found."""

FLOOD = 64 << 20

TICKS = """

@app.websocket("/ticks")
async def ticks(websocket: WebSocket):
    import asyncio
    await websocket.accept()
    while True:
        await websocket.send_text("tick")
        await asyncio.sleep(0.5)
"""


class Namespace:
    """A network of its own, in which clients live; ``silence`` lets nothing more come out of it."""

    def __init__(self, name: str, ours: str, theirs: str) -> None:
        self._name, self._ours, self.theirs = name, ours, theirs
        if os.geteuid() != 0:
            pytest.skip("only root can make such a network namespace")
        self._ip = program("ip", "iproute2")
        self._do("netns", "add", name)
        try:
            self._do("link", "add", f"{name}-a", "type", "veth", "peer", "name", f"{name}-b", "netns", name)
            self._do("addr", "add", f"{ours}/30", "dev", f"{name}-a")
            self._do("link", "set", f"{name}-a", "up")
            self._inside("addr", "add", f"{theirs}/30", "dev", f"{name}-b")
            self._inside("link", "set", f"{name}-b", "up")
        except AssertionError:
            self.close()
            raise
        # A thread that has gone into the namespace makes sockets that belong to it, whoever uses them then.
        self._thread = ThreadPoolExecutor(1, initializer=self._enter)

    def dial(self, port: int, tls: ssl.SSLContext | None = None) -> Wire:
        """Connect from inside. tls: None for plain TCP."""
        sock = self._thread.submit(socket.create_connection, (self._ours, port), 10).result()
        return Wire(sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost"))

    def silence(self) -> None:
        """Throw away whatever is sent from inside: no answer comes, no FIN and no reset."""
        self._inside("route", "add", "blackhole", f"{self._ours}/32")

    def close(self) -> None:
        """Remove it. A socket of it that is still open keeps its own end, so the link goes first."""
        if Path(f"/sys/class/net/{self._name}-a").exists():
            self._do("link", "del", f"{self._name}-a")
        self._do("netns", "del", self._name)
        if hasattr(self, "_thread"):
            self._thread.shutdown()

    def _enter(self) -> None:
        with open(f"/run/netns/{self._name}") as name:
            assert ctypes.CDLL(None, use_errno=True).setns(name.fileno(), 0) == 0, os.strerror(ctypes.get_errno())

    def _inside(self, *words: str) -> None:
        self._do("-n", self._name, *words)

    def _do(self, *words: str) -> None:
        done = subprocess.run([self._ip, *words], capture_output=True, text=True, check=False)
        if "Operation not permitted" in done.stderr:
            pytest.skip(f"this machine permits no network namespace: {done.stderr.strip()}")
        assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    prefix = f"10.213.{os.getpid() % 256}"  # two suites may run on one host
    with network(changes=True):
        space = Namespace(f"v{os.getpid()}", f"{prefix}.1", f"{prefix}.2")
        try:
            yield space
        finally:
            space.close()


def play(wire: Wire) -> None:
    """Be a Dash: events without end, an answer that never comes, one that is large, sockets that speak or do not."""
    while True:
        head = wire.read_head()
        path = head.split(b" ")[1]
        if b"Sec-WebSocket-Key" in head:
            key = head.partition(b"Sec-WebSocket-Key: ")[2].split(b"\r\n")[0]
            wire.send(switching(key=key))
            while path.endswith(b"?beats"):
                wire.send(frame(1, b"beat"))
                time.sleep(0.5)
            wire.deadline = 300
            wire.read_to_end()
            return
        if path == b"/never":
            wire.deadline = 300
            wire.read_to_end()
            return
        if path == b"/flood":
            wire.send(answer("200 OK", f"Content-Length: {FLOOD}", body=None))
            wire.deadline = 300
            wire.send(bytes(FLOOD))
            continue
        wire.send(answer("200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", body=None))
        while True:
            wire.send(b"9\r\ndata: a\n\n\r\n")
            time.sleep(0.5)


@contextmanager
def everything(folder: Path, certificate: dict[str, str]) -> Iterator[tuple[Gateway, Gateway]]:
    """Run a Dash, a service, a gateway that hands over to it and one with TLS, all addresses of this host listening."""
    port, secure_port = free_ports(2)
    timeouts = {"send": "10m", "keepalive": "10m"}
    with (
        serving(play) as dash,
        running_service(folder, app=APP + TICKS) as service,
        running_gateway(
            folder,
            dash=dash,
            ws=service.url,
            handoff=str(service.socket_file),
            listen=f"0.0.0.0:{port}",
            timeouts=timeouts,
        ) as gateway,
        running_gateway(
            folder, dash=dash, listen=f"0.0.0.0:{secure_port}", timeouts=timeouts, tls=certificate
        ) as secure,
    ):
        gateway.process.wait_for("takes WebSockets over")
        gateway.port, secure.port = port, secure_port
        yield gateway, secure


def test_who_vanishes_is_found_and_who_is_slow_is_not(tmp_path: Path, namespace: Namespace) -> None:
    authority = Authority(tmp_path)
    with everything(tmp_path, authority.issue()) as (gateway, secure):
        slow = gateway.dial(receive_buffer=4096)
        slow.send(request("GET /flood"))
        assert slow.read_head()
        clients = []
        for target in ("/_dash-ws-callback", "/_dash-ws-callback?beats", "/echo", "/ticks"):
            client = namespace.dial(gateway.port)
            client.send(handshake(target))
            assert client.read_head().startswith(b"HTTP/1.1 101 "), target
            clients.append(client)
        for target in ("/events", "/never"):
            client = namespace.dial(gateway.port)
            client.send(request(f"GET {target}"))
            clients.append(client)
        clients[4].read_head()
        for target in ("/_dash-ws-callback", "/_dash-ws-callback?beats"):
            client = namespace.dial(secure.port, authority.client())
            client.send(handshake(target))
            assert client.read_head().startswith(b"HTTP/1.1 101 "), f"{target} over TLS"
            clients.append(client)
        gateway.process.wait_for_count(" handed off -> ws", 2)
        assert ready(gateway).json()["websockets"] == 4
        assert ready(secure).json()["websockets"] == 2
        namespace.silence()
        began = time.monotonic()
        left: dict[str, int] = {}
        over_tls: dict[str, int] = {}
        while time.monotonic() - began < FOUND:
            told = ready(gateway).json()
            left = {key: told[key] for key in ("websockets", "connections", "in_flight")}
            over_tls = {key: ready(secure).json()[key] for key in left}
            if left == {"websockets": 0, "connections": 1, "in_flight": 1} and not any(over_tls.values()):
                break
            time.sleep(0.5)
        assert left == {"websockets": 0, "connections": 1, "in_flight": 1}, gateway.process.output
        assert not any(over_tls.values()), secure.process.output
        assert time.monotonic() - began > 20, "they were not only lost, they were cut too early"
        gateway.process.wait_for(r'"GET /events" 200 .*client gone')
        gateway.process.wait_for(r'"GET /never" 499 .*client gone')
        slow.deadline = 120
        assert len(slow.read(FLOOD)) == FLOOD, "who takes nothing for a while is there all the same"
        for client in clients:
            client.close()


def test_an_upstream_that_vanishes_is_found(tmp_path: Path, namespace: Namespace) -> None:
    """On another host, whose cable is pulled while a callback is computed."""
    listener = namespace._thread.submit(socket.create_server, (namespace.theirs, 0)).result()
    url = f"http://{namespace.theirs}:{listener.getsockname()[1]}"
    connections: list[Wire] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connections.append(Wire(listener.accept()[0]))

    thread = threading.Thread(target=accept, name="upstream", daemon=True)
    thread.start()
    with running_gateway(tmp_path, dash=url, timeouts={"hold": 0}) as gateway:
        client = gateway.dial()
        client.send(request("POST /", "Content-Length: 2", body=b"{}"))
        until = time.monotonic() + 10
        while not connections:
            assert time.monotonic() < until
            time.sleep(0.01)
        connections[0].read_head()
        namespace.silence()
        client.deadline = FOUND
        assert client.read_message().status == 502
    listener.close()
