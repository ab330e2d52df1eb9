"""The admin listener beside somebody who means ill: another user of the host, and another site's page."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, running_gateway, serving
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import Message, answer, request

ALLOWED = 512
"""Files that the gateway may open."""


def play(wire: Wire) -> None:
    while True:
        wire.read_message()
        wire.send(answer("200 OK", body=b"hi"))


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Iterator[Gateway]:
    with serving(play) as dash:
        yield make_gateway(dash=dash, descriptors=ALLOWED)


def ready(gateway: Gateway, host: str = "127.0.0.1") -> Message:
    with Wire(socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=DEADLINE)) as wire:
        wire.send(request("GET /readyz", host=host))
        return wire.read_message()


def silent(stack: ExitStack, port: int) -> socket.socket:
    sock = stack.enter_context(socket.socket())
    sock.settimeout(DEADLINE)
    sock.connect(("127.0.0.1", port))
    return sock


def descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def test_silent_connections_block_no_health_check_and_take_no_descriptor_from_clients(gateway: Gateway) -> None:
    """More than the gateway may open files; every one of them stays (issue 9, A14)."""
    with ExitStack() as stack:
        for number in range(ALLOWED + 100):
            silent(stack, gateway.admin_port)
            if number % 100 == 0:
                began = time.monotonic()
                assert ready(gateway).status == 200
                assert time.monotonic() - began < 1
        assert ready(gateway).json()["connections"] == 0
        assert descriptors(gateway) < 64
        client = gateway.dial()
        for _ in range(3):
            client.send(request("GET /"))
            assert client.read_message().body == b"hi"


@pytest.mark.parametrize("beginning", [b"", b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_who_asks_nothing_is_gone_behind_a_deadline(gateway: Gateway, beginning: bytes) -> None:
    before = descriptors(gateway)
    with Wire(socket.create_connection(("127.0.0.1", gateway.admin_port), timeout=DEADLINE)) as wire:
        wire.send(beginning)
        began = time.monotonic()
        assert wire.read_to_cut()[0] == b""
        assert 4 < time.monotonic() - began < 8
    assert descriptors(gateway) <= before


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "user@127.0.0.1"])
def test_a_page_whose_name_was_led_here_reads_nothing(gateway: Gateway, host: str) -> None:
    """DNS rebinding (issue 9, A11)."""
    told = ready(gateway, f"{host}:{gateway.admin_port}")
    assert told.status == 403
    assert "gateway.admin_hosts" in told.json()["advice"]
    assert b"upstreams" not in told.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_an_address_and_localhost_are_answered(gateway: Gateway, host: str) -> None:
    assert ready(gateway, f"{host}:{gateway.admin_port}").status == 200


def test_a_name_that_is_configured_is_answered_and_a_unix_socket_asks_for_none(tmp_path: Path) -> None:
    with running_gateway(tmp_path, dash="http://127.0.0.1:1", admin_hosts=["gateway"]) as gateway:
        assert ready(gateway, "Gateway:8001").status == 200
        assert ready(gateway, "gateway.evil.example").status == 403
    with (
        running_gateway(tmp_path, dash="http://127.0.0.1:1", admin="unix:admin.sock"),
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.settimeout(DEADLINE)
        sock.connect(str(tmp_path / "admin.sock"))
        sock.sendall(request("GET /readyz", host="evil.example"))
        head, _, body = b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(body)["status"] == "ready"
