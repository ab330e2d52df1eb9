"""What the gateway learns from a real Dash, and what a program in Dash's place cannot make of that."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from pathlib import Path

from tests.processes import Process, completed, free_port, python, running
from tests.system.gateway import Gateway, running_gateway, serving
from tests.system.test_admin import ready
from tests.wire.connection import Wire
from tests.wire.messages import Message, answer, handshake, request, switching

APPS = Path(__file__).parent / "apps"

EVIL, PARTNER = "https://evil.example", "https://partner.example"

ROUTES = [{"path": "/x", "to": "dash"}]


def dash_at(port: int, prefix: str, heartbeat: int = 30_000) -> AbstractContextManager[Process]:
    env = {"PREFIX": prefix, "HEARTBEAT": str(heartbeat)}
    argv = python("-m", "uvicorn", "--port", str(port), "judging:server")
    return running(*argv, ready="Uvicorn running on", cwd=APPS, env=env)


def status(gateway: Gateway, target: str, origin: str) -> int | None:
    with gateway.dial() as client:
        client.send(handshake(target, f"Origin: {origin}"))
        return Message(client.read_head()).status


def test_dash_is_asked_at_the_start_and_after_each_restart(tmp_path: Path) -> None:
    port = free_port()
    with running_gateway(tmp_path, dash=f"http://127.0.0.1:{port}", health={"interval": "100ms"}) as gateway:
        log = gateway.process
        assert ready(gateway).json()["dash"] == {"known": False, "why": "it was not asked yet"}
        with dash_at(port, "/one/"):
            log.wait_for(
                r"INFO Dash \S+ at /one/; its WebSocket checks origins at /one/_dash-ws-callback, "
                r"has a heartbeat every 30 s, and is closed after 120 s without a byte"
            )
            told = ready(gateway).json()["dash"]
            assert (told["prefix"], told["websocket"]["idle_timeout"]) == ("/one/", 120)
            assert status(gateway, "/one/_dash-ws-callback", PARTNER) == 101, "Dash allows it"
            assert status(gateway, "/one/_dash-ws-callback", "http://example.com") == 101, "its own page"
            assert status(gateway, "/one/_dash-ws-callback", EVIL) == 403
            log.wait_for(r'"GET /one/_dash-ws-callback" 403 -> dash .* served ')  # Dash's answer, not the gateway's
            config = next(tmp_path.glob("gateway-*.yaml"))
            url = "ws://example.com/one/_dash-ws-callback"
            explained = completed("-m", "proxy", "explain", "--config", config, url, cwd=tmp_path).stdout.splitlines()
            assert explained[0].endswith("by the rule 'dash socket'; Dash checks the origin")
            assert explained[1].startswith("Dash ")
        log.wait_for(r"dash is unreachable, after [0-9.]+ s up")
        assert ready(gateway).json()["dash"]["websocket"]["origin_checked_by_dash"] == []
        with dash_at(port, "/two/", heartbeat=45_000):
            log.wait_for(r"INFO Dash \S+ at /two/; .* checks origins at /two/_dash-ws-callback, .* after 180 s ")
            assert status(gateway, "/one/_dash-ws-callback", PARTNER) == 403
            assert status(gateway, "/two/_dash-ws-callback", PARTNER) == 101


def stranger(wire: Wire) -> None:
    """Be another program in Dash's place: its page claims all that Dash's does, and each handshake is accepted."""
    asked = Message(wire.read_head())
    if key := asked.get("Sec-WebSocket-Key"):
        wire.send(switching(key=key.encode()))
        wire.read_to_end()
        return
    socket = {"enabled": True, "url": "/chat/_dash-ws-callback", "heartbeat_interval": 1}
    claim = {"dash_version": "4.4.1", "requests_pathname_prefix": "/chat/", "websocket": socket}
    page = f'<script id="_dash-config" type="application/json">{json.dumps(claim)}</script>'
    wire.send(answer("200 OK", "Content-Type: text/html", body=page.encode()))


def test_a_program_in_dashs_place_opens_nothing_to_other_sites(tmp_path: Path) -> None:
    """Its endpoint ``/chat/{name}`` checks no origin, and its page says that Dash does, just there."""
    with (
        serving(stranger) as dash,
        running_gateway(tmp_path, dash=dash, health={"interval": "1s"}, routes=ROUTES) as gateway,
    ):
        gateway.process.wait_for(
            r"INFO Dash 4\.4\.1 at /chat/; its WebSocket is for the pages that gateway\.origins allows, "
            r"has a heartbeat every 0\.001 s, and is closed after 60 s"
        )
        for target in ("/chat/_dash-ws-callback", "/_dash-ws-callback", "/x"):
            assert status(gateway, target, EVIL) == 403, target
            assert status(gateway, target, "http://example.com") == 101, target


def below_a_prefix(wire: Wire) -> None:
    """Be a Dash on Flask with ``url_base_pathname="/app/"``: it answers 404 at the root."""
    claim = {"dash_version": "4.4.1", "requests_pathname_prefix": "/app/"}
    page = f'<script id="_dash-config" type="application/json">{json.dumps(claim)}</script>'
    while True:
        path = Message(wire.read_head()).line.split(" ")[1]
        is_here = path.startswith("/app/")
        wire.send(answer("200 OK" if is_here else "404 Not Found", body=page.encode() if path == "/app/" else b"{}"))


def test_a_dash_that_is_not_at_the_root_is_found_when_a_page_is_opened(tmp_path: Path) -> None:
    with serving(below_a_prefix) as dash, running_gateway(tmp_path, dash=dash, health={"interval": "5s"}) as gateway:
        gateway.process.wait_for(r"INFO Dash's page is not known: GET / answered 404; .* gateway\.dash_prefix")
        assert gateway.ask(request("GET /app/_dash-layout")).status == 200
        gateway.process.wait_for(r"INFO Dash 4\.4\.1 at /app/; it has no WebSocket of its own")
