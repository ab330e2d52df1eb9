"""PROXY headers in front of a real gateway: from bytes of our own, and from HAProxy where it is installed."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.processes import free_ports, running
from tests.programs import program
from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, running_gateway, serving
from tests.system.handoff import echoes, gateway_for, hear, running_service
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import frame
from tests.wire.messages import Message, answer, handshake, request, switching

LINE = b"PROXY TCP4 198.51.100.7 192.0.2.1 56324 443\r\n"
BINARY = bytes.fromhex("0d0a0d0a000d0a515549540a2111000cc6336407c0000201dc0401bb")
LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a20000000")
HEADERS = pytest.mark.parametrize("header", [LINE, BINARY], ids=["v1", "v2"])


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin) -> Gateway:
    return shared.gateway(dash=origin.url, proxy_protocol=True, trusted_proxies=["127.0.0.1", "203.0.113.9"])


@HEADERS
def test_the_client_is_the_address_in_the_header(gateway: Gateway, origin: Origin, header: bytes) -> None:
    client = gateway.dial()
    client.send(header + request("GET /1", "X-Forwarded-For: 10.9.8.7", "X-Forwarded-Proto: https"))
    upstream = origin.accept()
    for number in (1, 2, 3):  # the first goes the ordinary way, the next ones the plain way
        asked = upstream.read_message()
        assert asked.all("X-Forwarded-For") == ["198.51.100.7"], number
        assert asked.all("X-Forwarded-Proto") == ["http"]
        upstream.send(answer("200 OK", body=b"hi"))
        assert client.read_message().body == b"hi"
        if number < 3:
            client.send(request(f"GET /{number + 1}", "X-Forwarded-For: 10.9.8.7"))
    gateway.process.wait_for(r' 198\.51\.100\.7 "GET /3" 200 ')


def test_a_proxy_behind_the_proxy_is_trusted_by_its_own_address(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(LINE.replace(b"198.51.100.7", b"203.0.113.9") + request("GET /", "X-Forwarded-For: 10.9.8.7"))
    asked = origin.accept().read_message()
    assert asked.all("X-Forwarded-For") == ["10.9.8.7, 203.0.113.9"]


def test_a_client_that_the_proxy_does_not_know_is_not_trusted(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(b"PROXY UNKNOWN\r\n" + request("GET /", "X-Forwarded-For: 10.9.8.7"))
    asked = origin.accept().read_message()
    assert asked.all("X-Forwarded-For") == ["unknown"]


def test_a_proxy_that_speaks_for_itself_is_the_client(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(LOCAL + request("GET /"))
    assert origin.accept().read_message().all("X-Forwarded-For") == ["127.0.0.1"]


@HEADERS
def test_what_follows_the_header_reaches_a_tunnel(gateway: Gateway, origin: Origin, header: bytes) -> None:
    client = gateway.dial()
    client.send(header + handshake("/live") + frame(1, b"early", mask=b"abcd"))
    upstream = origin.accept()
    assert Message(upstream.read_head()).all("X-Forwarded-For") == ["198.51.100.7"]
    upstream.send(switching())
    assert upstream.read_frame().payload == b"early"
    client.read_head()
    upstream.send(frame(1, b"late"))
    assert client.read_frame().payload == b"late"


@HEADERS
def test_a_socket_with_a_header_is_handed_over(tmp_path: Path, header: bytes) -> None:
    with running_service(tmp_path) as service:
        with gateway_for(tmp_path, service, proxy_protocol=True, trusted_proxies=["127.0.0.1"]) as gateway:
            client = gateway.dial()
            client.send(header + handshake("/who") + frame(1, b"early", mask=b"abcd"))
            client.read_head()
            met = json.loads(hear(client))
            assert (met["pid"], met["said"]) == (service.process.pid, ["198.51.100.7"])
            assert hear(client) == "early"
            gateway.process.wait_for(r' 198\.51\.100\.7 "GET /who" .*handed off -> ws')


def test_strangers_and_nonsense_are_closed_and_said_once(tmp_path: Path, origin: Origin) -> None:
    settings = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]}
    with running_gateway(tmp_path, dash=origin.url, **settings) as gateway:
        for _ in range(50):
            with socket.create_connection(
                ("127.0.0.1", gateway.port), timeout=DEADLINE, source_address=("127.0.0.2", 0)
            ) as stranger:
                stranger.sendall(LINE + request("GET /"))
                assert Wire(stranger).read_to_cut()[0] == b""
            with gateway.dial() as client:
                client.send(request("GET /"))
                assert client.read_to_cut()[0] == b""
        assert not origin.has_visitor()
        told = [line for line in gateway.process.output.splitlines() if "was closed" in line]
        assert len(told) == 1
        assert "127.0.0.2 was closed: only those in gateway.trusted_proxies" in told[0]


def test_a_stop_waits_for_a_header_as_long_as_for_a_head_and_no_longer(tmp_path: Path, origin: Origin) -> None:
    settings = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"], "timeouts": {"head": "1s"}}
    with running_gateway(tmp_path, dash=origin.url, **settings) as gateway:
        silent, half = gateway.dial(), gateway.dial()
        half.send(LINE[:20])
        whole = gateway.dial()
        whole.send(LINE + request("GET /"))
        upstream = origin.accept()
        upstream.read_message()
        began = time.monotonic()
        gateway.process.send(signal.SIGTERM)
        for wire in (silent, half):
            assert wire.read_to_cut()[0] == b""
        upstream.send(answer("200 OK", body=b"hi"))
        assert whole.read_message().body == b"hi"
        assert gateway.process.wait() == 0
        assert time.monotonic() - began < 5


# -- HAProxy

CONFIG = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen v1
  bind 127.0.0.1:{0}
  server gateway 127.0.0.1:{plain} send-proxy
listen v2
  bind 127.0.0.1:{1}
  server gateway 127.0.0.1:{plain} send-proxy-v2 check inter 100ms
listen ends-tls
  bind 127.0.0.1:{2} ssl crt {pem}
  server gateway 127.0.0.1:{plain} send-proxy-v2-ssl-cn
listen passes-tls
  bind 127.0.0.1:{3}
  server gateway 127.0.0.1:{tls} send-proxy-v2
"""


def play(wire: Wire) -> None:
    """Answer with what was said about the client; echo a WebSocket's messages."""
    while True:
        asked = Message(wire.read_head())
        said = f"{asked.get('X-Forwarded-For')} {asked.get('X-Forwarded-Proto')}".encode()
        if "Upgrade" not in asked.names:
            wire.send(answer("200 OK", body=said))
            continue
        wire.send(switching() + frame(1, said))
        while True:
            wire.send(frame(1, wire.read_frame().payload))


@contextmanager
def haproxy(folder: Path, plain: Gateway, tls: Gateway, pem: Path) -> Iterator[list[int]]:
    """Run HAProxy in front of both gateways; yields its ports, in the order of CONFIG."""
    haproxy = program("haproxy")
    ports = free_ports(4)
    path = folder / "haproxy.cfg"
    path.write_text(CONFIG.format(*ports, plain=plain.port, tls=tls.port, pem=pem))
    with running(haproxy, "-W", "-f", path, ready="Loading success", cwd=folder):
        yield ports


def test_haproxy_in_front_says_who_its_clients_are(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue()
    pem = tmp_path / "both.pem"
    pem.write_text(Path(files["certificate"]).read_text() + Path(files["key"]).read_text())
    settings = {"proxy_protocol": True, "trusted_proxies": ["127.0.0.1"]}

    def dial(port: int, *, secured: bool) -> Wire:
        source = ("127.0.0.2", 0)  # so that a client is not taken for its proxy
        sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE, source_address=source)
        if secured:
            sock = authority.client().wrap_socket(sock, server_hostname="localhost")
        return Wire(sock)

    with (
        running_service(tmp_path) as service,
        serving(play) as url,
        gateway_for(tmp_path, service, **settings, upstreams={"dash": url, "ws": service.url}) as plain,
        running_gateway(tmp_path, dash=url, tls=files, **settings) as tls,
        haproxy(tmp_path, plain, tls, pem) as ports,
    ):
        for number, port in enumerate(ports):
            expected = b"127.0.0.2 https" if number >= 2 else b"127.0.0.2 http"
            with dial(port, secured=number >= 2) as client:
                for _ in range(3):
                    client.send(request("GET /"))
                    assert client.read_message().body == expected
                # Dash's own: a tunnel
                client.send(handshake("/_dash-ws-callback"))
                assert client.read_head().startswith(b"HTTP/1.1 101 ")
                assert hear(client) == expected.decode()
                assert echoes(client, "through the tunnel")
            if port != ports[3]:
                with dial(port, secured=number >= 2) as client:
                    client.send(handshake("/who"))
                    client.read_head()
                    met = json.loads(hear(client))
                    assert met["said"] == ["127.0.0.2"]
                    assert met["scheme"] == ("wss" if number >= 2 else "ws")
                    assert echoes(client, "to the service itself")
        plain.process.wait_for_count("handed off -> ws", 3)
        for gateway in (plain, tls):
            assert "was closed" not in gateway.process.output  # HAProxy's own checks are no news either


def test_without_the_setting_a_header_is_nonsense(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, trusted_proxies=["127.0.0.1"]) as gateway:
        for header in (LINE, BINARY):
            assert gateway.ask(header + request("GET /")).status == 400
        assert not origin.has_visitor()
