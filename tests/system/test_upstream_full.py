"""An upstream that has all the requests it may have: the next ones wait in turn, for a while, and not too many."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.system.gateway import Gateway, Origin, running_gateway
from tests.wire.connection import Wire
from tests.wire.messages import answer, handshake, request, switching


def told(gateway: Gateway) -> dict[str, Any]:
    """Return what /readyz says of Dash."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/readyz", timeout=10) as answered:
        known: dict[str, Any] = json.load(answered)["upstreams"]["dash"]
    return known


def wait_until(gateway: Gateway, **expected: int) -> None:
    until = time.monotonic() + 10
    while (seen := told(gateway)).items() < expected.items() or any(seen[k] != v for k, v in expected.items()):
        assert time.monotonic() < until, seen
        time.sleep(0.01)


def asked(gateway: Gateway, target: str) -> Wire:
    client = gateway.dial()
    client.send(request(f"GET {target}"))
    return client


def test_those_who_wait_are_served_in_the_order_in_which_they_came(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, limits={"in_flight": 2}) as gateway:
        clients = []
        for number in range(6):
            clients.append(asked(gateway, f"/{number}"))
            wait_until(gateway, in_flight=min(number + 1, 2), waiting=max(number - 1, 0))
        serving = [origin.accept(), origin.accept()]
        assert not origin.has_visitor(), "the others wait here, not there"
        for number in range(6):
            upstream = serving[number % 2]
            assert upstream.read_message().line == f"GET /{number} HTTP/1.1"
            upstream.send(answer("200 OK", body=b"%d" % number))
            assert clients[number].read_message().body == b"%d" % number
        wait_until(gateway, in_flight=0, waiting=0)


def test_who_waits_too_long_is_told_when_to_come_again(tmp_path: Path, origin: Origin) -> None:
    settings: dict[str, Any] = {"limits": {"in_flight": 1}, "timeouts": {"queue": "200ms"}}
    with running_gateway(tmp_path, dash=origin.url, **settings) as gateway:
        first = asked(gateway, "/first")
        upstream = origin.accept()
        upstream.read_message()
        got = gateway.ask(request("POST /second", "Content-Length: 2", body=b"{}"))
        assert (got.status, got.get("retry-after")) == (503, "5")
        assert "could take no other request within 0.2 s" in got.json()["error"]
        upstream.send(answer("200 OK", body=b"1"))
        assert first.read_message().status == 200


def test_when_the_queue_is_full_too_the_answer_comes_at_once(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, limits={"in_flight": 1, "waiting": 1}) as gateway:
        asked(gateway, "/in-flight")
        wait_until(gateway, in_flight=1)
        waiting = asked(gateway, "/waiting")
        wait_until(gateway, waiting=1)
        began = time.monotonic()
        assert gateway.ask(request("GET /too-many")).status == 503
        assert time.monotonic() - began < 5
        waiting.close()
        wait_until(gateway, in_flight=1, waiting=0)


def test_tunnels_do_not_count_and_streams_do(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, limits={"in_flight": 1}) as gateway:
        for _ in range(3):
            client = gateway.dial()
            client.send(handshake())
            upstream = origin.accept()
            upstream.read_head()
            upstream.send(switching())
            assert client.read_message().status == 101
        stream = asked(gateway, "/events")
        upstream = origin.accept()
        upstream.read_message()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        stream.read_head()
        wait_until(gateway, in_flight=1)
        stream.close()
        wait_until(gateway, in_flight=0)
