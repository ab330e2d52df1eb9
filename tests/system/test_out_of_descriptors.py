"""A gateway process that may open no more: it pauses, says so, serves who is there, and comes back by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from tests.system.gateway import Gateway, Origin, open_tunnel, running_gateway
from tests.system.handoff import echoes, gateway_for, open_socket, running_service
from tests.wire.connection import Wire
from tests.wire.frames import frame
from tests.wire.messages import answer, handshake, request

LIMIT = 64
MANY: dict[str, Any] = {"limits": {"connections": 1000}}
"""More than there are descriptors for; by itself the gateway leaves room for the upstreams."""

CROWD = 100
SAID = "no connection is accepted: this process has no descriptor left, of 64; raise it (LimitNOFILE="


def crowd(gateway: Gateway) -> list[Wire]:
    """Come in greater numbers than there are descriptors, and wait until it is noticed."""
    clients = [gateway.dial() for _ in range(CROWD)]
    gateway.process.wait_for("no connection is accepted", timeout=10)
    return clients


def test_without_descriptors_it_pauses_and_serves_who_is_there_and_goes_on(tmp_path: Path) -> None:
    with (
        Origin() as origin,
        running_gateway(
            tmp_path,
            dash=origin.url,
            descriptors=LIMIT,
            timeouts={"upstream_idle": 0},
            **MANY,
        ) as gateway,
    ):
        gateway.process.wait_for(f"{LIMIT} files may be open")
        client, upstream = open_tunnel(gateway, origin)
        there = gateway.dial()
        there.send(request("GET /before"))
        wire = origin.accept()
        wire.read_message()
        wire.send(answer("200 OK", body=b"before"))
        assert there.read_message().body == b"before"
        gateway.process.wait_for('"GET /before" 200')  # late enough for its descriptor to be free again

        clients = crowd(gateway)
        late = gateway.dial()
        late.send(request("GET /late"))

        # It is paused, and does not spin: in the time of four tries it does next to nothing.
        process = psutil.Process(gateway.process.pid)
        before = sum(process.cpu_times()[:2])
        client.send(frame(1, b"still here", mask=b"abcd"))
        assert upstream.read_frame().payload == b"still here"
        upstream.send(frame(1, b"and here"))
        assert client.read_frame().payload == b"and here"

        there.send(request("GET /during"))
        refused = there.read_message()
        assert (refused.status, refused.get("Retry-After")) == (503, "1")
        assert refused.json()["error"] == "The gateway cannot open another connection."
        gateway.process.wait_for(r'"GET /during" 503 .*out of descriptors.*(?i:too many open files); see LimitNOFILE')
        for _ in range(4):
            there.send(request("GET /during"))
            assert there.read_message().status == 503
        assert not late.has_something()
        assert sum(process.cpu_times()[:2]) - before < 1

        for one in clients:
            one.close()
        accepted = origin.accept()
        assert accepted.read_message().line == "GET /late HTTP/1.1"
        accepted.send(answer("200 OK", body=b"late"))
        assert late.read_message().body == b"late"
        assert [line.count(SAID) for line in gateway.process.output.splitlines() if "accepted" in line] == [1]


def test_a_socket_is_handed_over_without_a_descriptor_to_spare(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, gateway_for(tmp_path, service, descriptors=LIMIT, **MANY) as gateway:
        clients = crowd(gateway)
        handed = [open_socket_on(client) for client in clients[:3]]
        for client in handed:
            assert echoes(client, "over there")
        for one in clients:
            one.close()
        assert echoes(open_socket(gateway), "again")


def open_socket_on(client: Wire) -> Wire:
    client.send(handshake("/echo"))
    assert client.read_head().startswith(b"HTTP/1.1 101 ")
    return client
