"""A line that is missing in nginx is named; tests/docs and test_howto_proxies.py try what the documents have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import free_port
from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, serving
from tests.system.nginx import needs_nginx, running_nginx
from tests.wire.connection import Wire
from tests.wire.messages import Message, answer, handshake, switching


def dash(wire: Wire) -> None:
    """Answer requests with how long their body was, and handshakes with a 101."""
    while True:
        asked = Message(wire.read_head())
        if "Upgrade" in asked.names:
            wire.send(switching())
            wire.read_to_end()
            return
        body = wire.read(int(asked.get("Content-Length", "0")))
        wire.send(answer("200 OK", body=b"%d" % len(body)))


@pytest.fixture
def gateway(make_gateway: MakeGateway) -> Iterator[Gateway]:
    with serving(dash) as url:
        yield make_gateway(dash=url, trusted_proxies=["127.0.0.1"])


@needs_nginx
def test_nginx_without_its_two_lines_is_named_in_the_log(tmp_path: Path, gateway: Gateway) -> None:
    port = free_port()
    site = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {gateway.url}; }} }}"
    with running_nginx(tmp_path, site):
        for _ in range(2):
            with Wire.to(port) as client:
                client.send(handshake("/live"))
                assert client.read_message().status == 200
    gateway.process.wait_for(r'"GET /live" 200 -> dash .* \[Sec-WebSocket-Key without Upgrade: websocket\]')
    lost = r"^WARNING a WebSocket handshake from 127.0.0.1 came without Upgrade: websocket, .*proxy_set_header Upgrade"
    gateway.process.wait_for(lost)
    assert len(re.findall(lost, gateway.process.output, re.MULTILINE)) == 1
