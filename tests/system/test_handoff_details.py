"""What a socket that is handed over looks like, to its client, to the app, and in the gateway's log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import Process, free_port, python, running
from tests.system.gateway import Gateway
from tests.system.handoff import (
    Service,
    code_of,
    echoes,
    gateway_for,
    hear,
    open_socket,
    open_sockets,
    running_service,
    say,
)
from tests.system.test_nothing_is_tied_up import eventually
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import MASK, TEXT, frame
from tests.wire.messages import handshake, request


@pytest.fixture
def gateway(tmp_path: Path, service: Service) -> Iterator[Gateway]:
    with gateway_for(tmp_path, service) as gateway:
        yield gateway
        assert "tunnel open" not in gateway.process.output


def asked(client: Wire) -> dict[str, object]:
    told: dict[str, object] = json.loads(hear(client))
    return told


def address_of(client: Wire) -> list[object]:
    return list(client.sock.getsockname())


# -- who the client is


def test_the_app_sees_the_clients_own_address_and_port(gateway: Gateway, service: Service) -> None:
    client = open_socket(gateway, "/who", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https")
    told = asked(client)
    assert (told["client"], told["scheme"]) == (address_of(client), "ws")
    assert told["said"] == ["127.0.0.1"]
    assert told["pid"] == service.process.pid


def test_behind_a_trusted_proxy_the_app_sees_the_address_in_the_head(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service, trusted_proxies=["127.0.0.1"]) as gateway:
        client = open_socket(gateway, "/who", "X-Forwarded-For: 6.6.6.6, 203.0.113.9", "X-Forwarded-Proto: https")
        told = asked(client)
        assert (told["client"], told["scheme"]) == (["203.0.113.9", 0], "wss")
        assert told["said"] == ["203.0.113.9"]
        gateway.process.wait_for(r'203\.0\.113\.9 "GET /who" - handed off')


def test_a_client_of_a_unix_socket_is_handed_over_too(tmp_path: Path, service: Service) -> None:
    config = {
        "listen": f"unix:{tmp_path / 'gateway.sock'}",
        "admin": f"unix:{tmp_path / 'admin.sock'}",
        "upstreams": {"ws": service.url},
        "handoff": str(service.socket_file),
    }
    (tmp_path / "unix.yaml").write_text(json.dumps({"gateway": config}))
    argv = python("-m", "proxy", "--config", tmp_path / "unix.yaml")
    with running(*argv, ready="gateway ready on unix:", cwd=tmp_path) as process:
        client = socket.socket(socket.AF_UNIX)
        with client:
            client.settimeout(DEADLINE)
            client.connect(str(tmp_path / "gateway.sock"))
            wire = Wire.__new__(Wire)  # without TCP_NODELAY
            wire.sock, wire.deadline, wire._held = client, DEADLINE, bytearray()
            wire.send(handshake("/who"))
            assert wire.read_message().status == 101
            told = asked(wire)
            assert told["client"] == ["unix", 0], "as it would be told of a tunnelled one"
            process.wait_for(r'unix "GET /who" - handed off')
        process.wait_for("hand-off closed .* client closed by=client code=- .*the system does not tell its bytes")


# -- what passes


def test_frames_in_the_packet_of_the_handshake_reach_the_app(gateway: Gateway) -> None:
    ahead = frame(TEXT, b"one", mask=MASK) + frame(TEXT, b"two" * 1000, mask=MASK) + frame(TEXT, b"three", mask=MASK)
    client = open_socket(gateway, ahead=ahead[:-4])
    assert hear(client) == "one"
    client.send(ahead[-4:])
    assert (hear(client), hear(client)) == ("two" * 1000, "three")


def test_frames_that_are_sent_while_the_service_sleeps_stay_in_the_kernel(gateway: Gateway, service: Service) -> None:
    open_socket(gateway).close()  # the channel is there
    service.process.send(signal.SIGSTOP)
    try:
        client = gateway.dial()
        client.send(handshake("/echo"))
        # A request of another client that is answered later than ours was read: the gateway has done what it can.
        assert gateway.ask(request("GET /", "Host: another")).status == 400
        say(client, "are you there?")
        assert not client.has_something()
    finally:
        service.process.send(signal.SIGCONT)
    assert client.read_message().status == 101
    assert hear(client) == "are you there?"


def test_a_refusal_arrives_with_its_body_and_ends_the_connection(gateway: Gateway) -> None:
    """Whatever is pipelined behind the handshake: no second request may reach a server that trusts the gateway."""
    client = gateway.dial()
    client.send(handshake("/refused") + request("GET /healthz") + request("GET /healthz"))
    refusal = client.read_message()
    assert (refusal.status, refusal.body) == (401, b"not you")
    assert client.read_to_cut()[0] == b""
    gateway.process.wait_for(r'"GET /refused" 401 hand-off closed -> ws .* served by=upstream code=-')


def test_an_unknown_path_is_refused_with_its_name_and_the_known_ones(gateway: Gateway) -> None:
    client = gateway.dial()
    client.send(handshake("/nowhere"))
    refusal = client.read_message()
    assert refusal.status == 404
    assert b"no endpoint for a WebSocket at /nowhere.\nlive:app has:\n  /broken\n  /bye\n" in refusal.body
    assert client.read_to_end() == b""


def test_an_app_that_fails_is_a_500(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, gateway_for(tmp_path, service) as gateway:
        client = gateway.dial()
        client.send(handshake("/broken"))
        assert client.read_message().status == 500
        assert client.read_to_end() == b""
        gateway.process.wait_for(r'"GET /broken" 500 hand-off closed')


def test_dashs_own_socket_is_never_handed_over(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service, timeouts={"hold": 0}) as gateway:
        answer = gateway.ask(handshake("/_dash-ws-callback"))
        assert answer.status == 503, "it goes to Dash, and there is none"
        assert "handed off" not in gateway.process.output


# -- what the gateway knows


def test_the_log_has_a_line_when_a_socket_is_handed_over_and_one_when_it_ends(gateway: Gateway) -> None:
    client = open_socket(gateway, "/echo?token=secret", ahead=frame(TEXT, b"hello", mask=MASK))
    assert hear(client) == "hello"
    assert echoes(client, "x" * 5000)
    client.send(frame(8, b"\x03\xe9", mask=MASK))
    assert code_of(client.read_frame()) == 1001
    assert client.read_to_end() == b""
    line = gateway.process.wait_for(r"^.*hand-off closed.*$")[0]
    assert re.search(r' 127\.0\.0\.1 "GET /echo\?token=\*\*\*" 101 hand-off closed -> ws \(websocket\) [\d.]+ms ', line)
    assert " client closed by=client code=1001 id=" in line
    received, sent = map(int, re.findall(r"(?:in|out)=(\d+)", line))
    assert received == 11 + 5008 + 8
    assert 7 + 5004 + 4 < sent < 7 + 5004 + 4 + 500, "the frames, and the answer to the handshake"
    opened = gateway.process.wait_for(r"^.* - handed off -> ws \(websocket\) id=(\w+)$")
    assert line.endswith(f"id={opened[1]}")


def test_the_app_that_closes_is_the_one_who_did(gateway: Gateway) -> None:
    client = open_socket(gateway, "/bye")
    assert code_of(client.read_frame()) == 3001
    client.send(frame(8, b"\x0b\xb9", mask=MASK))
    client.read_to_end()
    gateway.process.wait_for(r'"GET /bye" 101 hand-off closed .* upstream closed by=upstream code=3001')


def test_a_client_that_vanishes_is_told_from_one_that_leaves(gateway: Gateway) -> None:
    open_socket(gateway).reset()
    gateway.process.wait_for(r"hand-off closed .* reset by=client code=-")
    open_socket(gateway).close()
    gateway.process.wait_for(r"hand-off closed .* client closed by=client code=-")


def test_the_json_log_has_the_same(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service, access_log="json") as gateway:
        open_socket(gateway, "/bye").close()
        told = gateway.process.wait_for(r'^\{.*"hand-off closed".*$')[0]
        opened = json.loads(gateway.process.wait_for(r'^\{.*"handed off".*$')[0])
        closed = json.loads(told)
        assert opened["id"] == closed["id"]
        assert "status" not in opened
        assert (closed["status"], closed["closed_by"], closed["close_code"]) == (101, "upstream", 3001)
        assert closed["duration"] >= 0


# -- nothing is left


def descriptors(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_a_thousand_hand_offs_leave_no_descriptor_behind(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service) as gateway:
        for client in open_sockets(gateway, 10):
            client.close()
        gateway.process.wait_for_count("hand-off closed", 10)
        bases = {process: descriptors(process) for process in (gateway.process, service.process)}
        clients = open_sockets(gateway, 1000)
        eventually(lambda: descriptors(gateway.process) <= bases[gateway.process], lambda: "the gateway keeps some")
        assert descriptors(service.process) >= 1000 + bases[service.process] - 10
        for client in clients:
            client.close()
        gateway.process.wait_for_count("hand-off closed", 1010)
        for process, base in bases.items():
            eventually(lambda p=process, b=base: descriptors(p) <= b, lambda: f"{bases}")  # type: ignore[misc]


# -- several processes


def test_the_workers_share_the_sockets(tmp_path: Path) -> None:
    with running_service(tmp_path, workers=3) as service, gateway_for(tmp_path, service) as gateway:
        gateway.process.wait_for_count("takes WebSockets over", 3)
        clients = [open_socket(gateway, "/who") for _ in range(30)]
        pids = [asked(client)["pid"] for client in clients]
        assert sorted(pids.count(pid) for pid in set(pids)) == [10, 10, 10]
        assert {place.name for place in service.socket_file.parent.iterdir()} >= {"ws.sock", "ws.sock.1", "ws.sock.2"}
        service.process.send(signal.SIGTERM)
        for client in clients:
            assert code_of(client.read_frame()) == 1012
            client.close()
        assert service.process.wait() == 0
        gateway.process.wait_for_count("code=1012", 30)


def test_a_worker_that_dies_takes_its_own_sockets_alone_and_is_replaced(tmp_path: Path) -> None:
    with running_service(tmp_path, workers=2) as service, gateway_for(tmp_path, service) as gateway:
        gateway.process.wait_for_count("takes WebSockets over", 2)
        clients = {
            pid: client for client in (open_socket(gateway, "/who") for _ in range(2)) if (pid := asked(client)["pid"])
        }
        assert len(clients) == 2
        (victim, its), (_, other) = clients.items()
        os.kill(int(str(victim)), signal.SIGKILL)
        assert its.read_to_cut()[0] == b""
        assert echoes(other, "still here")
        gateway.process.wait_for_count("takes WebSockets over", 3)
        assert len(psutil.Process(service.process.pid).children()) >= 2


def test_workers_that_are_replaced_one_by_one_leave_no_gap(tmp_path: Path) -> None:
    """uvicorn starts a successor before it stops a worker, so there are more places than workers for a while."""
    with running_service(tmp_path, workers=2) as service, gateway_for(tmp_path, service) as gateway:
        gateway.process.wait_for_count("takes WebSockets over", 2)
        clients = {asked(client)["pid"]: client for client in (open_socket(gateway, "/who") for _ in range(2))}
        service.process.send(signal.SIGUSR1)
        for client in clients.values():
            assert code_of(client.read_frame()) == 1012
            client.close()
            again = open_socket(gateway, "/who")
            assert asked(again)["pid"]
            again.close()
        gateway.process.wait_for_count("takes WebSockets over", 4)
        gateway.process.wait_for_count("is gone", 2)
        successors = {asked(open_socket(gateway, "/who"))["pid"] for _ in range(2)}
        assert len(successors) == 2
        assert not successors & set(clients)
        assert "tunnel open" not in gateway.process.output


# -- the socket file


def test_the_socket_file_is_for_its_owner_alone_and_goes_with_the_service(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        file = service.socket_file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750
        assert service.process.stop() == 0
    assert not file.exists()


def test_a_second_service_on_one_path_says_what_is_wrong_and_leaves_the_first_alone(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, gateway_for(tmp_path, service) as gateway:
        for workers in (1, 2):
            path = tmp_path / "second.yaml"
            settings = {"listen": f"127.0.0.1:{free_port()}", "app": "live:app", "workers": workers}
            path.write_text(json.dumps({"ws_service": settings}))
            with running(*python("-m", "ws_service", "--config", path), cwd=tmp_path) as second:
                assert second.wait() == 1
            assert second.output == (
                f"dash-ws-service: {service.socket_file} is answered by another ws service already; "
                "stop that one, or change ws_service.handoff\n"
            )
        assert echoes(open_socket(gateway), "still here")
        gateway.process.wait_for("handed off -> ws")


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        service.process.send(signal.SIGKILL)
        service.process.wait()
        assert service.socket_file.exists()
    with running_service(tmp_path) as service, gateway_for(tmp_path, service) as gateway:
        assert echoes(open_socket(gateway), "hello")
        gateway.process.wait_for("handed off -> ws")
