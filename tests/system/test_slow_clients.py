"""How slow a client, or an upstream, may be: who takes nothing or sends nothing is cut, and costs little until then."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.system.gateway import (
    DEADLINE,
    Gateway,
    Message,
    Origin,
    Wire,
    answer,
    frame,
    handshake,
    open_tunnel,
    request,
    running_gateway,
    serving,
    switching,
)

MIB = 1 << 20
MASK = b"\0\0\0\0"
PATIENCE = 0.6
"""Seconds that the gateway of these plays waits, for whatever it is."""


def memory(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.process.pid).memory_info().rss)


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, origin: Origin) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("slow")
    timeouts = {"head": "600ms", "body": "600ms", "send": "600ms", "response": "20s"}
    with running_gateway(folder, dash=origin.url, timeouts=timeouts) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _clean(gateway: Gateway, origin: Origin) -> Iterator[None]:
    yield
    gateway.hang_up()
    origin.hang_up()


class Trickle:
    """Sends a byte now and then until it is stopped, or until the other side does not want it any more."""

    def __init__(self, wire: Wire, data: bytes, pause: float) -> None:
        self._stopped = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, args=(wire, data, pause), name="trickle", daemon=True)
        self._thread.start()

    def _run(self, wire: Wire, data: bytes, pause: float) -> None:
        with suppress(OSError):
            for byte in data:
                wire.sock.send(bytes((byte,)))
                self.sent += 1
                if self._stopped.wait(pause):
                    return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(DEADLINE)


# -- slow readers


BIG = 24 * MIB


def large_answer(kind: str) -> bytes:
    if kind == "Content-Length":
        return answer("200 OK", f"Content-Length: {BIG}", body=None) + b"x" * BIG
    if kind == "chunked":
        return answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"%x\r\n%b\r\n" % (BIG, b"x" * BIG)
    return answer("200 OK", "Connection: close", body=None) + b"x" * BIG


def ask_big(gateway: Gateway, origin: Origin, kind: str, way: str) -> tuple[Wire, Wire]:
    """Ask for a large answer and read nothing of it; returns both ends.

    way: ``plain`` is carried without a parser, because a connection to the upstream waits for it.
    """
    client = gateway.dial(receive_buffer=4096)
    version = "1.0" if kind == "until close, HTTP/1.0" else "1.1"
    if way == "plain":
        client.send(request("GET /small"))
        upstream = origin.accept()
        upstream.read_head()
        upstream.send(answer("200 OK"))
        client.read_message()
    client.send(request("GET /big").replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
    if way != "plain":
        upstream = origin.accept()
    upstream.read_head()
    upstream.send_later(large_answer(kind))
    return client, upstream


@pytest.mark.parametrize("kind", ["Content-Length", "chunked", "until close", "until close, HTTP/1.0"])
@pytest.mark.parametrize("way", ["plain", "ordinary"])
def test_a_client_that_takes_nothing_is_cut(kind: str, way: str, gateway: Gateway, origin: Origin) -> None:
    behind = len(gateway.process.output)
    client, upstream = ask_big(gateway, origin, kind, way)
    began = time.monotonic()
    upstream.read_to_cut()  # the exchange with the upstream ends with the client's
    assert PATIENCE * 0.9 < time.monotonic() - began < PATIENCE * 4
    line = gateway.process.wait_for(r'^.*"GET /big" .*$', timeout=10, after=behind)[0]
    assert "200" in line
    assert " too slow " in line
    assert client.read_to_cut()[1] == "reset", "half an answer must not look like a whole one"


def test_a_client_that_takes_a_little_now_and_then_is_not_cut(gateway: Gateway, origin: Origin) -> None:
    client, _ = ask_big(gateway, origin, "Content-Length", "ordinary")
    client.read_head()
    until = time.monotonic() + 4 * PATIENCE
    while time.monotonic() < until:
        assert client.sock.recv(256 * 1024)
        time.sleep(PATIENCE / 4)
    got = 0
    client.sock.settimeout(DEADLINE)
    while got < BIG // 2:
        got += len(client.sock.recv(MIB))


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_a_side_of_a_tunnel_that_takes_nothing_is_cut(role: str, gateway: Gateway, origin: Origin) -> None:
    behind = len(gateway.process.output)
    client, upstream = open_tunnel(gateway, origin)
    slow, fast = (client, upstream) if role == "client" else (upstream, client)
    for _ in range(16):
        fast.send_later(frame(2, b"x" * (4 * MIB), mask=MASK if fast is client else b""))
    began = time.monotonic()
    _, how = fast.read_to_cut()
    # Two seconds for the goodbye: it is given to whoever does take something.
    assert PATIENCE < time.monotonic() - began < PATIENCE * 2 + 5
    line = gateway.process.wait_for(r"^.*tunnel closed.*$", timeout=10, after=behind)[0]
    assert " too slow by=gateway code=1013" in line
    slow.read_to_cut()


def test_who_talks_to_an_upstream_that_takes_nothing_is_told_to_come_back(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    sender = client.send_later(frame(2, b"x" * (64 * MIB), mask=MASK))
    goodbye = client.read_frame()
    assert (goodbye.opcode, goodbye.payload[:2]) == (8, (1013).to_bytes(2, "big"))
    client.read_to_cut()
    sender.join(DEADLINE)
    upstream.read_to_cut()


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_a_side_of_a_tunnel_that_is_only_slow_is_not_cut(role: str, gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    slow, fast = (client, upstream) if role == "client" else (upstream, client)
    size = 32 * MIB
    fast.send_later(frame(2, b"x" * size, mask=MASK if fast is client else b""))
    until = time.monotonic() + 4 * PATIENCE
    got = 0
    while time.monotonic() < until:
        got += len(slow.sock.recv(256 * 1024))
        time.sleep(PATIENCE / 4)
    slow.sock.settimeout(DEADLINE)
    while got < size:
        got += len(slow.sock.recv(MIB))


def test_an_idle_tunnel_is_not_a_slow_one(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    time.sleep(3 * PATIENCE)
    upstream.send(frame(1, b"still here"))
    assert client.read_frame().payload == b"still here"
