"""What the documents tell people to copy is tried as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ws_service.config.settings
from proxy.config import load_settings
from tests.processes import ROOT, free_port
from tests.system.conftest import MakeGateway
from tests.system.gateway import Gateway, serving
from tests.system.nginx import needs_nginx, running_nginx
from tests.wire.connection import Wire
from tests.wire.messages import Message, answer, handshake, switching


def blocks(document: str, language: str) -> list[str]:
    """Return what a document holds in a language, each block as it is copied."""
    text = (ROOT / document).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


HOW_TO = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "how-to").glob("*.md"))


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


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (document, text)
        for document in ("README.md", "docs/deployment.md", "docs/hub.md", *HOW_TO)
        for text in blocks(document, "yaml")
        if not text.startswith("scrape_configs:")  # Prometheus' own, which tests/prometheus.py has
    ],
)
def test_what_a_document_configures_can_be_configured(tmp_path: Path, document: str, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text, "utf-8")
    load_settings(tmp_path / "config.yaml", {})
    ws_service.config.settings.load_settings(tmp_path / "config.yaml", {})
