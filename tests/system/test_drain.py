"""SIGTERM and SIGINT: what is served ends well, what is new is sent away, and the exit code is 0."""

from __future__ import annotations

import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.gateway import Gateway, Origin, answer, frame, open_tunnel, request, running_gateway


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def gateway(tmp_path: Path, origin: Origin) -> Iterator[Gateway]:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "5s"}) as gateway:
        yield gateway


def is_ready(gateway: Gateway) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/readyz", timeout=10) as answered:
            return int(answered.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_gateway_stops_at_once(number: int, gateway: Gateway) -> None:
    idle = gateway.dial()
    began = time.monotonic()
    gateway.process.send(number)
    assert gateway.process.wait() == 0
    assert time.monotonic() - began < 2
    assert idle.read_to_cut()[0] == b""
    assert "stopped" in gateway.process.output


def test_a_request_under_way_is_finished(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /slow"))
    upstream = origin.accept()
    upstream.read_head()
    gateway.process.send(signal.SIGTERM)
    gateway.process.wait_for("stopping")
    assert is_ready(gateway) == 503
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.port))
    upstream.send(answer("200 OK", body=b"done"))
    assert client.read_message().body == b"done"
    assert client.read_to_end() == b""
    assert gateway.process.wait() == 0


def test_a_tunnel_is_closed_with_1012_between_two_frames(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    whole = frame(2, b"x" * 1000)
    upstream.send(whole[:500])
    assert client.read(500) == whole[:500]
    gateway.process.send(signal.SIGTERM)
    assert upstream.read_frame().payload == (1012).to_bytes(2, "big")
    upstream.send(whole[500:])
    assert client.read(len(whole) - 500) == whole[500:]
    goodbye = client.read_frame()
    assert (goodbye.opcode, goodbye.payload) == (8, (1012).to_bytes(2, "big"))
    client.send(frame(8, goodbye.payload, mask=b"abcd"))
    assert client.read_to_end() == b""
    assert gateway.process.wait() == 0
    assert "drained by=gateway code=1012" in gateway.process.output


def test_two_hundred_tunnels_hear_1012(gateway: Gateway, origin: Origin) -> None:
    tunnels = [open_tunnel(gateway, origin) for _ in range(200)]
    gateway.process.send(signal.SIGTERM)
    for client, _ in tunnels:
        assert client.read_frame().payload == (1012).to_bytes(2, "big")
        client.close()
    assert gateway.process.wait() == 0


def test_what_does_not_end_is_cut_at_the_deadline(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "300ms"}) as gateway:
        client = gateway.dial()
        client.send(request("GET /forever"))
        origin.accept().read_head()
        began = time.monotonic()
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait() == 0
        assert time.monotonic() - began < 3
        assert client.read_to_cut()[0] == b""
        assert "cutting 0 tunnels and 1 request" in gateway.process.output


def test_a_second_signal_stops_at_once(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "60s"}) as gateway:
        client = gateway.dial()
        client.send(request("GET /forever"))
        origin.accept().read_head()
        gateway.process.send(signal.SIGTERM)
        gateway.process.wait_for("stopping")
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait(timeout=5) == 0
