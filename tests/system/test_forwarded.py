"""What a proxy in front says, in whatever form: the log, Dash over HTTP and an endpoint on both ways read the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.processes import free_port, python, running
from tests.system.conftest import Shared
from tests.system.gateway import Gateway
from tests.system.handoff import WAYS, Service, hear
from tests.wire.connection import Wire
from tests.wire.messages import handshake, request

pytest.importorskip("gunicorn")

WSGI = """
from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__)


@app.route("/")
def who():
    return {
        "scheme": request.scheme,
        "host": request.host,
        "server's scheme": request.environ["werkzeug.proxy_fix.orig"]["wsgi.url_scheme"],
        "route": list(request.access_route),
    }


app.wsgi_app = ProxyFix(app.wsgi_app, x_for=0, x_proto=1, x_host=1, x_port=1)
"""

ASGI = """
import json


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    told = {"client": scope["client"][0], "scheme": scope["scheme"]}
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})
"""

TRUSTED = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
SITE = "app.example"


class Case(NamedTuple):
    """Lines of a head, and how they are to be read."""

    name: str
    lines: tuple[str, ...]
    client: str = "203.0.113.7"
    scheme: str = "https"
    host: str = SITE


FOR = "X-Forwarded-For: 203.0.113.7"
HTTPS = "X-Forwarded-Proto: https"

CASES = [
    Case("nothing", (), "127.0.0.1", "http"),
    Case("one of each", (FOR, HTTPS)),
    Case("a list of two schemes", (FOR, "X-Forwarded-Proto: https,http")),
    Case("a list of one scheme twice", (FOR, "X-Forwarded-Proto: https, https")),
    Case("two fields with a scheme", (FOR, HTTPS, "X-Forwarded-Proto: http")),
    Case("an odd list of schemes", (FOR, 'X-Forwarded-Proto: , "HTTPS",x')),
    Case("the scheme of a handshake", (FOR, "X-Forwarded-Proto: wss")),
    Case("a scheme that is none", (FOR, "X-Forwarded-Proto: gopher"), scheme="http"),
    Case("X-Forwarded-Ssl alone", (FOR, "X-Forwarded-Ssl: on")),
    Case("X-Forwarded-Ssl against X-Forwarded-Proto", (FOR, HTTPS, "X-Forwarded-Ssl: off")),
    Case("X-Forwarded-Protocol: ssl", (FOR, "X-Forwarded-Protocol: ssl")),
    Case("X-Forwarded-Protocol: https", (FOR, "X-Forwarded-Protocol: https")),
    Case("X-Forwarded-Scheme", (FOR, "X-Forwarded-Scheme: https")),
    Case("Front-End-Https", (FOR, "Front-End-Https: on")),
    Case("X-Url-Scheme", (FOR, "X-Url-Scheme: https")),
    Case("an address with a port", ("X-Forwarded-For: 203.0.113.7:51008", HTTPS)),
    Case("trusted addresses with ports", ("X-Forwarded-For: 6.6.6.6, 203.0.113.7:51008, 10.0.0.4:40112", HTTPS)),
    Case("trusted addresses without", ("X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.4", HTTPS)),
    Case("IPv6 with a port", ("X-Forwarded-For: [2001:DB8::7]:4711", HTTPS), "2001:db8::7"),
    Case("IPv6 in quotes", ('X-Forwarded-For: "[2001:db8::7]:4711", [fd00::1]:1', HTTPS), "2001:db8::7"),
    Case("IPv6 alone", ("X-Forwarded-For: 2001:db8:0::7", HTTPS), "2001:db8::7"),
    Case("IPv4 as IPv6", ("X-Forwarded-For: ::ffff:203.0.113.7, ::ffff:10.0.0.4", HTTPS)),
    Case("empty members", ("X-Forwarded-For: 203.0.113.7, , ,", HTTPS)),
    Case("nobody knows", ("X-Forwarded-For: 6.6.6.6, unknown", HTTPS), "unknown"),
    Case("nobody says", ("X-Forwarded-For: _hidden", HTTPS), "unknown"),
    Case("X-Real-IP alone", ("X-Real-IP: 203.0.113.7", HTTPS)),
    Case("X-Real-IP against X-Forwarded-For", ("X-Real-IP: 10.0.0.4", FOR, HTTPS)),
    Case("Forwarded alone", ('Forwarded: for="203.0.113.7:80";proto=https;host=app.example, for=10.0.0.4;proto=http',)),
    Case("Forwarded beside an older name", ("Forwarded: for=203.0.113.7;host=app.example", "X-Forwarded-Ssl: on")),
    Case("Forwarded against the others", (FOR, HTTPS, "Forwarded: for=6.6.6.6;proto=http;host=evil.example")),
    Case("a host with a port", (FOR, HTTPS, "X-Forwarded-Host: app.example:8443"), host="app.example:8443"),
    Case(
        "a host with a port and another port",
        (FOR, HTTPS, "X-Forwarded-Host: app.example:8443", "X-Forwarded-Port: 443"),
        host="app.example:8443",
    ),
    Case("a port alone", (FOR, HTTPS, "X-Forwarded-Port: 8443"), host="app.example:8443"),
    Case("the port of an inner proxy", (FOR, HTTPS, "X-Forwarded-Port: 80")),
    Case("a list of hosts", (FOR, HTTPS, "X-Forwarded-Host: app.example, inner:8000")),
    Case("IPv6 as host", (FOR, HTTPS, "X-Forwarded-Host: [2001:db8::1]:8443"), host="[2001:db8::1]:8443"),
]


@pytest.fixture(scope="module")
def wsgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of gunicorn as it comes, with a Flask server that looks through ProxyFix."""
    folder, port = tmp_path_factory.mktemp("wsgi"), free_port()
    (folder / "who.py").write_text(WSGI)
    argv = python("-m", "gunicorn", "--worker-class", "gthread", "--bind", f"127.0.0.1:{port}", "who:app")
    with running(*argv, ready="Booting worker", cwd=folder):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def asgi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of uvicorn that trusts the same proxies."""
    folder, port = tmp_path_factory.mktemp("asgi"), free_port()
    (folder / "who.py").write_text(ASGI)
    trust = ("--forwarded-allow-ips", ",".join(TRUSTED))
    argv = python("-m", "uvicorn", "--port", str(port), "--lifespan", "off", *trust, "who:app")
    with running(*argv, ready="Uvicorn running on", cwd=folder):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module", params=WAYS)
def gateway(request: pytest.FixtureRequest, shared: Shared, service: Service, wsgi: str) -> Gateway:
    """A gateway that believes this host, for WebSockets by either way."""
    handoff = str(service.socket_file) if request.param == "handed over" else "off"
    gateway = shared.gateway(dash=wsgi, ws=service.url, handoff=handoff, trusted_proxies=TRUSTED)
    if handoff != "off":
        gateway.process.wait_for("takes WebSockets over")
    return gateway


@pytest.fixture(scope="module")
def before_uvicorn(shared: Shared, asgi: str) -> Gateway:
    return shared.gateway(dash=asgi, trusted_proxies=TRUSTED)


@pytest.fixture(scope="module")
def strict(shared: Shared, wsgi: str) -> Gateway:
    """A gateway that believes nobody."""
    return shared.gateway(dash=wsgi)


def is_a_proxy(address: str) -> bool:
    """Tell whether an address in a chain is a trusted proxy's."""
    try:
        return any(ip_address(address) in ip_network(trusted) for trusted in TRUSTED)
    except ValueError:
        return False


def told_over_http(wire: Wire, *lines: str) -> dict[str, Any]:
    """Ask who asks, on a connection that is kept."""
    wire.send(request("GET /", *lines, host=SITE))
    answer = wire.read_message()
    assert answer.status == 200, (lines, answer.body)
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_all_programs_read_the_same(gateway: Gateway, before_uvicorn: Gateway, case: Case) -> None:
    client = gateway.dial()
    origin = f"Origin: {case.scheme}://{case.host}"
    client.send(handshake("/who", origin, *case.lines, host=SITE))
    head = client.read_head()
    assert head.startswith(b"HTTP/1.1 101 "), head
    endpoint = json.loads(hear(client))
    assert endpoint["client"][0] == case.client
    assert endpoint["scheme"] == {"http": "ws", "https": "wss"}[case.scheme]
    assert endpoint["said"] == [case.client]
    gateway.process.wait_for(rf"\S+ {case.client} \"GET /who\" ".replace("[", r"\["))
    client.close()

    with gateway.dial() as wire:
        for _ in range(2):  # the first goes the ordinary way, the next one the plain way
            flask = told_over_http(wire, *case.lines)
            route = flask.pop("route")
            assert flask == {"scheme": case.scheme, "host": case.host, "server's scheme": case.scheme}
            # The chain, from the last one on: how many proxies there are is for ProxyFix(x_for=...) to know.
            assert next((hop for hop in reversed(route) if not is_a_proxy(hop)), route[0]) == case.client
    with before_uvicorn.dial() as wire:
        for _ in range(2):
            assert told_over_http(wire, *case.lines) == {"client": case.client, "scheme": case.scheme}


NAMES_OF_THE_SCHEME = {
    "X-Forwarded-Proto": ("https", "http", "wss", "https,http"),
    "X-Forwarded-Protocol": ("ssl", "https", "http"),
    "X-Forwarded-Ssl": ("on", "off"),
    "X-Forwarded-Scheme": ("https", "http"),
    "Front-End-Https": ("on", "off"),
    "X-Url-Scheme": ("https", "http"),
    "X-Forwarded-HTTPS": ("on", "off"),
    "Forwarded": ("proto=https", "proto=http"),
}
LINES = [f"{name}: {value}" for name, values in NAMES_OF_THE_SCHEME.items() for value in values]


def test_gunicorn_never_hears_of_two_schemes(gateway: Gateway) -> None:
    """It answers 400 where the fields that it knows differ, and it knows three."""
    with gateway.dial() as wire:
        for one, other in product(LINES, LINES):
            told = told_over_http(wire, one, other)
            assert told["server's scheme"] == told["scheme"], (one, other)


def test_forwarding_headers_of_an_untrusted_peer_reach_no_program(strict: Gateway) -> None:
    lies = [*LINES, FOR, "X-Real-IP: 203.0.113.7", "Forwarded: for=203.0.113.7", "X-Forwarded-Host: evil.example"]
    lies += [line.replace("-", sign) for line in lies for sign in "_."]
    with strict.dial() as wire:
        for lie in lies:
            told = told_over_http(wire, lie)
            assert (told["route"], told["scheme"], told["host"]) == (["127.0.0.1"], "http", SITE), lie
            assert told["server's scheme"] == "http", lie


def test_a_client_of_a_unix_socket_is_whom_its_proxy_says(tmp_path: Path, service: Service) -> None:
    clients = {}
    for way in WAYS:
        path = tmp_path / f"{way}.sock"
        config = {
            "listen": f"unix:{path}",
            "admin": f"unix:{path}.admin",
            "upstreams": {"ws": service.url},
            "handoff": str(service.socket_file) if way == "handed over" else "off",
            "trusted_proxies": ["unix"],
        }
        (tmp_path / "unix.yaml").write_text(json.dumps({"gateway": config}))
        argv = python("-m", "proxy", "--config", tmp_path / "unix.yaml")
        with running(*argv, ready="gateway ready on unix:", cwd=tmp_path), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            wire = Wire.__new__(Wire)  # without TCP_NODELAY
            wire.sock, wire.deadline, wire._held = sock, 10, bytearray()
            wire.send(handshake("/who", "X-Forwarded-For: [2001:db8::7]:4711", HTTPS))
            assert wire.read_message().status == 101
            clients[way] = json.loads(hear(wire))
    told = {"client": ["2001:db8::7", 0], "scheme": "wss", "said": ["2001:db8::7"], "pid": service.process.pid}
    assert clients == dict.fromkeys(WAYS, told)
