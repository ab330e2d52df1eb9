"""Upstreams that are away or slow, clients that leave or do not read: nobody else notices, and nothing is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.processes import free_port
from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, open_tunnel, running_gateway, serving
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import frame
from tests.wire.messages import Message, answer, handshake, request, switching

MANY = 500
MIB = 1 << 20


def descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def memory(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.process.pid).memory_info().rss)


def eventually(is_so: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait for a state of another process that tells nobody when it is reached."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, what()
        threading.Event().wait(0.02)


def back_to(base: int, gateway: Gateway) -> None:
    eventually(lambda: descriptors(gateway) <= base, lambda: f"{descriptors(gateway)} descriptors, {base} at first")


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin) -> Gateway:
    """A gateway that keeps no idle connection, so that what is open is in use."""
    gateway = shared.gateway(dash=origin.url, timeouts={"upstream_idle": 0, "hold": 0})
    gateway.ask(b"nonsense\r\n\r\n")  # with its first connection the loop opens a descriptor of its own
    return gateway


def test_an_upstream_that_is_down_is_answered_at_once_and_holds_nothing(tmp_path: Path) -> None:
    with running_gateway(tmp_path, dash=f"http://127.0.0.1:{free_port()}", timeouts={"hold": 0}) as gateway:
        gateway.ask(request("GET /"))
        base = descriptors(gateway)
        began = time.monotonic()
        for _ in range(100):
            with gateway.dial() as client:
                client.send(request("GET /"))
                assert client.read_message().status == 503
            with gateway.dial() as client:
                client.send(handshake())
                assert client.read_message().status == 503
        assert time.monotonic() - began < 5
        back_to(base, gateway)


def test_an_upstream_that_does_not_answer_delays_no_other_one(tmp_path: Path) -> None:
    """A hundred is the limit that aiohttp's client shares among everything; 300 hang here, of both kinds."""
    go = threading.Event()

    def play(wire: Wire) -> None:
        while True:
            asked = Message(wire.read_head())
            if "/slow" in asked.line:
                go.wait(DEADLINE)
            elif "Upgrade" in asked.names:
                wire.send(switching())
                wire.send(wire.read_frame().raw)
            else:
                wire.send(answer("200 OK", body=b"quick"))

    with serving(play) as url, running_gateway(tmp_path, dash=url) as gateway:
        for number in range(300):
            gateway.dial().send(request("GET /slow") if number % 2 else handshake("/slow"))
        began = time.monotonic()
        for _ in range(20):
            assert gateway.ask(request("GET /quick")).body == b"quick"
        client = gateway.dial()
        client.send(handshake("/quick") + frame(1, b"hello", mask=b"abcd"))
        client.read_head()
        assert client.read_frame().payload == b"hello"
        assert time.monotonic() - began < 5
        gateway.hang_up()
        go.set()


def test_clients_that_leave_take_their_requests_with_them(gateway: Gateway, origin: Origin) -> None:
    base = descriptors(gateway)
    clients = [gateway.dial() for _ in range(100)]
    for number, client in enumerate(clients):
        client.send(request("GET /") if number % 2 else handshake())
    upstreams = [origin.accept() for _ in clients]
    for upstream in upstreams:
        upstream.read_head()
    for number, client in enumerate(clients):
        if number % 3:
            client.close()
        else:
            client.reset()
    for upstream in upstreams:
        upstream.read_to_cut()  # ends at once, though no answer was given
    back_to(base, gateway)
    gateway.process.wait_for(r"(?s)(?>.*?client gone){100}", timeout=10)  # the log is written in batches


def test_refused_handshakes_leave_no_descriptor_behind(gateway: Gateway, origin: Origin) -> None:
    base = descriptors(gateway)
    for number in range(MANY):
        with gateway.dial() as client:
            client.send(handshake())
            with origin.accept() as upstream:
                upstream.read_head()
                if number % 5:
                    upstream.send(answer("403 Forbidden", body=b"no"))
                    assert client.read_message().status == 403
                else:
                    upstream.reset()
                    assert client.read_message().status == 502
    back_to(base, gateway)


def test_handshakes_that_the_gateway_refuses_leave_no_descriptor_behind(gateway: Gateway, origin: Origin) -> None:
    base = descriptors(gateway)
    for _ in range(MANY):
        with gateway.dial() as client:
            client.send(handshake().replace(b"Version: 13", b"Version: 7"))
            assert client.read_message().status == 426
            assert client.read_to_end() == b""
    assert not origin.has_visitor()
    back_to(base, gateway)


@pytest.mark.parametrize("way", ["client closes", "client vanishes", "upstream closes", "upstream vanishes"])
def test_tunnels_that_end_leave_no_descriptor_behind(way: str, gateway: Gateway, origin: Origin) -> None:
    base = descriptors(gateway)
    for _ in range(50):
        client, upstream = open_tunnel(gateway, origin)
        one, other = (client, upstream) if way.startswith("client") else (upstream, client)
        if way.endswith("vanishes"):
            one.reset()
        else:
            one.close()
        if way.startswith("client"):
            other.read_to_cut()
        else:
            assert other.read_frame().payload == (1012).to_bytes(2, "big")
        other.close()
    back_to(base, gateway)


def test_a_client_that_does_not_read_holds_a_bounded_amount(gateway: Gateway, origin: Origin) -> None:
    gateway.ask(b"warm up\r\n\r\n")
    client = gateway.dial(receive_buffer=65536)
    client.send(request("GET /big"))
    upstream = origin.accept()
    upstream.read_head()
    size = 256 * MIB
    before = memory(gateway)
    upstream.send(answer("200 OK", f"Content-Length: {size}", body=None))
    sender = upstream.send_later(b"x" * size)
    client.read_head()
    sender.join(1.0)  # far longer than it would take to pass
    assert sender.is_alive(), "the upstream is made to wait"
    assert memory(gateway) - before < 4 * MIB
    got = 0
    while got < size:
        got += len(client.read(min(MIB, size - got)))
    sender.join(DEADLINE)
    assert memory(gateway) - before < 8 * MIB


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_a_side_of_a_tunnel_that_does_not_read_holds_a_bounded_amount(
    role: str, gateway: Gateway, origin: Origin
) -> None:
    client, upstream = open_tunnel(gateway, origin)
    slow, fast = (client, upstream) if role == "client" else (upstream, client)
    before = memory(gateway)
    data = frame(2, b"x" * (128 * MIB), mask=b"\0\0\0\0" if role == "upstream" else b"")
    sender = fast.send_later(data)
    sender.join(1.0)
    assert sender.is_alive(), "the sender is made to wait"
    assert memory(gateway) - before < 4 * MIB
    got = 0
    while got < len(data):
        got += len(slow.read(min(MIB, len(data) - got)))
    sender.join(DEADLINE)


def test_an_upstream_that_does_not_read_an_upload_holds_a_bounded_amount(gateway: Gateway, origin: Origin) -> None:
    size = 128 * MIB
    client = gateway.dial()
    client.send(request("POST /upload", f"Content-Length: {size}"))
    upstream = origin.accept()
    upstream.read_head()
    before = memory(gateway)
    sender = client.send_later(b"x" * size)
    sender.join(1.0)
    assert sender.is_alive(), "the client is made to wait"
    assert memory(gateway) - before < 4 * MIB
    got = 0
    while got < size:
        got += len(upstream.read(min(MIB, size - got)))
    upstream.send(answer("200 OK", body=b"thanks"))
    assert client.read_message().body == b"thanks"


def test_a_client_that_never_asks_is_shown_out(tmp_path: Path) -> None:
    with running_gateway(tmp_path, dash="http://127.0.0.1:9", timeouts={"head": "200ms"}) as gateway:
        silent, slow = gateway.dial(), gateway.dial()
        slow.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow")
        assert silent.read_to_end() == b""
        assert slow.read_message().status == 408
        assert slow.read_to_cut() == (b"", "end")
