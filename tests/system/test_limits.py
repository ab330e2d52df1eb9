"""Who may take how much, of real processes: the limit-th passes, one more does not, and nobody else notices."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.system.gateway import PER_CLIENT, Gateway, Origin, open_tunnel, running_gateway, serving
from tests.system.handoff import echoes, gateway_for, open_socket, running_service
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import Message, answer, handshake, request, switching

ASK = request("GET /")


def limits(**values: int) -> dict[str, dict[str, int]]:
    """Return settings with these limits; those of one client that are not named are off."""
    return {"limits": values}


def play(wire: Wire) -> None:
    """An upstream that accepts every handshake, and answers every request."""
    while True:
        asked = Message(wire.read_head())
        if "Upgrade" in asked.names:
            wire.send(switching())
            wire.read_to_cut()
            return
        wire.send(answer("200 OK", body=b"served"))


@contextmanager
def served(folder: Path, **settings: object) -> Iterator[Gateway]:
    """A gateway in front of an upstream that answers."""
    with serving(play) as url, running_gateway(folder, dash=url, **settings) as gateway:
        yield gateway


def dial_from(gateway: Gateway, source: str) -> Wire:
    """Connect as another client: all of 127.0.0.0/8 is this machine."""
    return Wire(socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE, source_address=(source, 0)))


def is_served(wire: Wire) -> bool:
    wire.send(ASK)
    return wire.read_message().body == b"served"


def refusal(wire: Wire) -> Message:
    """Read what a connection that is turned away hears before it has asked anything."""
    message = wire.read_message()
    assert wire.read_to_cut()[0] == b""
    return message


def shake(wire: Wire, *fields: str) -> Message:
    """Send a handshake and read the answer."""
    wire.send(handshake("/live", *fields))
    return wire.read_message()


def counts(gateway: Gateway) -> tuple[int, int]:
    """Return what ``/readyz`` says: connections, WebSockets."""
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/readyz", timeout=DEADLINE) as response:
        said = json.load(response)
    return said["connections"], said["websockets"]


def descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def eventually(is_so: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait for a state of another process that tells nobody when it is reached."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, what()
        threading.Event().wait(0.02)


def counted(gateway: Gateway, connections: int, websockets: int) -> None:
    eventually(lambda: counts(gateway) == (connections, websockets), lambda: counts(gateway))


def past_probes(origin: Origin) -> None:
    """Close what ``/readyz`` has opened to see whether the upstream is there; nothing was sent on any of it."""
    while origin.has_visitor():
        assert origin.accept().read_to_cut()[0] == b""


# -- connections


def test_one_connection_too_many_is_told_so_and_another_client_is_served(tmp_path: Path) -> None:
    with served(tmp_path, **limits(connections_per_client=3)) as gateway:
        mine = [gateway.dial() for _ in range(3)]
        assert all(is_served(wire) for wire in mine)
        refused = refusal(gateway.dial())
        assert (refused.status, refused.get("Retry-After"), refused.get("Connection")) == (429, "5", "close")
        assert "as many connections here as one client may have" in refused.json()["error"]
        with dial_from(gateway, "127.0.0.2") as other:
            assert is_served(other)
            assert all(is_served(wire) for wire in mine), "those that it has go on"
            counted(gateway, 4, 0)
        mine.pop().close()
        counted(gateway, 2, 0)
        assert is_served(gateway.dial())


def test_refused_connections_leave_no_descriptor_and_one_line_in_the_log(tmp_path: Path) -> None:
    with served(tmp_path, **limits(connections_per_client=1)) as gateway:
        assert is_served(gateway.dial())
        base = descriptors(gateway)
        for _ in range(150):
            with gateway.dial() as wire:
                assert refusal(wire).status == 429
        eventually(lambda: descriptors(gateway) <= base, lambda: (descriptors(gateway), base))
        lines = [line for line in gateway.process.output.splitlines() if "connections_per_client" in line]
        assert lines == [
            "WARNING 127.0.0.1 has 1 connections, the most that gateway.limits.connections_per_client allows, and gets "
            "no more; if it is a proxy, name it in gateway.trusted_proxies"
        ]


def test_a_tunnel_counts_as_a_connection_to_its_end(tmp_path: Path) -> None:
    with Origin() as origin, running_gateway(tmp_path, dash=origin.url, **limits(connections_per_client=2)) as gateway:
        first, upstream = open_tunnel(gateway, origin)
        open_tunnel(gateway, origin)
        counted(gateway, 2, 2)
        assert refusal(gateway.dial()).status == 429
        first.end()
        upstream.read_to_cut()
        assert refusal(gateway.dial()).status == 429, "it is half closed, and not yet at its end"
        upstream.close()
        first.read_to_cut()
        counted(gateway, 1, 1)
        past_probes(origin)
        open_tunnel(gateway, origin)


def test_a_trusted_proxy_may_have_as_many_connections_as_there_are(tmp_path: Path) -> None:
    few = limits(connections_per_client=2)
    with served(tmp_path, trusted_proxies=["127.0.0.1"], **few) as gateway:
        proxy = [gateway.dial() for _ in range(20)]
        assert all(is_served(wire) for wire in proxy)
        others = [dial_from(gateway, "127.0.0.2") for _ in range(3)]
        assert [is_served(wire) for wire in others[:2]] == [True, True]
        assert refusal(others[2]).status == 429
        for wire in others:
            wire.close()


def test_when_all_connections_are_taken_the_next_waits_to_be_accepted(tmp_path: Path) -> None:
    with served(tmp_path, **limits(connections=3)) as gateway:
        gateway.process.wait_for(r"^INFO room for 3 connections \(gateway\.limits\.connections\)$")
        mine = [gateway.dial() for _ in range(3)]
        assert all(is_served(wire) for wire in mine)
        waiting = dial_from(gateway, "127.0.0.2")
        waiting.send(ASK)
        gateway.process.wait_for(
            r"^WARNING no connection is accepted: 3 are open; room for 3 connections "
            r"\(gateway\.limits\.connections\)$"
        )
        assert all(is_served(wire) for wire in mine)
        assert not waiting.has_something()
        spent = cpu(gateway)
        threading.Event().wait(0.5)
        assert cpu(gateway) - spent < 0.2, "it does not spin"
        for _ in range(20):  # one goes, one comes: the log has one line all the same
            mine.pop().close()
            assert waiting.read_message().body == b"served"
            mine.append(waiting)
            waiting = dial_from(gateway, "127.0.0.2")
            waiting.send(ASK)
        for wire in (*mine, waiting):
            wire.close()
        counted(gateway, 0, 0)
        assert gateway.process.output.count("no connection is accepted") == 1


def cpu(gateway: Gateway) -> float:
    """Return the seconds of CPU that the process has taken."""
    fields = Path(f"/proc/{gateway.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_log_tells_how_many_connections_there_may_be_and_why(tmp_path: Path) -> None:
    with served(tmp_path, **limits(connections=10_000_000)) as gateway:
        gateway.process.wait_for(
            r"^INFO room for 10000000 connections \(gateway\.limits\.connections\), of which [0-9]+ may have an "
        )


def test_a_flood_from_one_address_changes_nothing_for_another(tmp_path: Path) -> None:
    with served(tmp_path, **limits(connections_per_client=100)) as gateway:
        with dial_from(gateway, "127.0.0.2") as other:
            quiet = slowest_of(other, 200)
        held = [gateway.dial() for _ in range(100)]
        assert all(is_served(wire) for wire in held)
        done, heard = threading.Event(), []

        def flood() -> None:
            for _ in range(5000):
                with socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE) as sock:
                    heard.append(sock.recv(12))
            done.set()

        flooding = threading.Thread(target=flood, name="flood", daemon=True)
        flooding.start()
        waits = []
        while not done.is_set():
            with dial_from(gateway, "127.0.0.2") as other:
                waits.append(slowest_of(other, 5))
        flooding.join(DEADLINE)
        assert set(heard) == {b"HTTP/1.1 429"}
        assert len(heard) == 5000
        waits.sort()
        assert waits[len(waits) // 2] < max(0.05, 5 * quiet), "half of them are served as before"
        assert waits[-1] < 1.0, "and nobody waits"
        counted(gateway, 100, 0)


def slowest_of(wire: Wire, count: int) -> float:
    """Return the seconds of the slowest of some requests on a connection."""
    waits = []
    for _ in range(count):
        began = time.monotonic()
        assert is_served(wire)
        waits.append(time.monotonic() - began)
    return max(waits)


# -- WebSockets


def test_one_websocket_too_many_is_answered_429_and_its_connection_goes_on(tmp_path: Path) -> None:
    with served(tmp_path, **limits(websockets_per_client=2)) as gateway:
        open_ones = [gateway.dial() for _ in range(2)]
        assert [shake(wire).status for wire in open_ones] == [101, 101]
        wire = gateway.dial()
        refused = shake(wire)
        assert (refused.status, refused.get("Retry-After")) == (429, "5")
        assert refused.json() == {
            "error": "Your address has as many WebSockets here as one client may have.",
            "advice": "Close some of them, or come back later.",
            "status": 429,
        }
        assert is_served(wire), "plain HTTP is none of this limit's business"
        with dial_from(gateway, "127.0.0.2") as other:
            assert shake(other).status == 101
        open_ones.pop().close()
        counted(gateway, 2, 1)
        assert shake(wire).status == 101
        gateway.process.wait_for(
            "127.0.0.1 has 2 WebSockets, the most that gateway.limits.websockets_per_client allows"
        )
        gateway.process.wait_for(r'"GET /live" 429 -> .* refused \[127\.0\.0\.1 has 2 WebSockets')


def test_a_handshake_that_failed_counts_no_more(tmp_path: Path) -> None:
    with Origin() as origin, running_gateway(tmp_path, dash=origin.url, **limits(websockets_per_client=1)) as gateway:
        for way in ("refused", "broken", "client leaves", "client vanishes"):
            wire = gateway.dial()
            wire.send(handshake())
            upstream = origin.accept()
            upstream.read_head()
            with gateway.dial() as second:
                assert shake(second).status == 429, "a handshake that is under way counts"
            if way == "refused":
                upstream.send(answer("403 Forbidden", body=b"no"))
                assert wire.read_message().status == 403
            elif way == "broken":
                upstream.send(b"this is no answer\r\n\r\n")
                assert wire.read_message().status == 502
            elif way == "client leaves":
                wire.close()
            else:
                wire.reset()
            wire.close()
            counted(gateway, 0, 0)
            past_probes(origin)
        open_tunnel(gateway, origin)


def test_behind_a_trusted_proxy_clients_are_told_apart_by_what_it_says(tmp_path: Path) -> None:
    settings = {**limits(websockets_per_client=2), "trusted_proxies": ["127.0.0.1"]}
    with served(tmp_path, **settings) as gateway:

        def status(client: str, *, through: str = "127.0.0.1") -> int | None:
            wire = dial_from(gateway, through)
            wires.append(wire)
            return shake(wire, f"X-Forwarded-For: {client}").status

        wires: list[Wire] = []
        assert [status("203.0.113.7") for _ in range(3)] == [101, 101, 429]
        assert status("198.51.100.1, 203.0.113.7") == 429, "what the client itself has put before it does not count"
        assert [status("203.0.113.8") for _ in range(3)] == [101, 101, 429]
        same = ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::3", "2001:db8:1:3::1")
        assert [status(address) for address in same] == [101, 101, 429, 101], "a /64 is one client"
        assert [status(f"203.0.113.{n}", through="127.0.0.2") for n in range(3)] == [101, 101, 429], "not its word"
        for wire in wires:
            wire.close()
        counted(gateway, 0, 0)


def test_dash_is_not_asked_who_may_pass_for_a_handshake_that_may_not(tmp_path: Path) -> None:
    """Or whoever is limited could still make Dash work as fast as it likes."""
    asked: list[str] = []

    def noting(wire: Wire) -> None:
        while True:
            message = Message(wire.read_head())
            asked.append(message.line.split(" ")[1])
            wire.send(answer("200 OK") if message.line.startswith("GET /may-pass") else switching())

    guarded = {**limits(websockets_per_client=1), "auth": [{"path": "/", "ask": "/may-pass"}]}
    with serving(noting) as url, running_gateway(tmp_path, dash=url, **guarded) as gateway:
        assert shake(gateway.dial()).status == 101
        for _ in range(5):
            with gateway.dial() as wire:
                assert shake(wire).status == 429
        assert asked == ["/may-pass", "/live"]


# -- WebSockets that were handed over


def test_handed_over_sockets_count_as_websockets_and_no_more_as_connections(tmp_path: Path) -> None:
    few = limits(websockets_per_client=3, connections_per_client=1)
    with running_service(tmp_path) as service, gateway_for(tmp_path, service, **few) as gateway:
        clients = []
        for number in range(3):
            clients.append(open_socket(gateway))
            gateway.process.wait_for_count(" handed off -> ws", number + 1)
            counted(gateway, 0, number + 1)
        with gateway.dial() as wire:
            assert shake(wire).status == 429
        clients[0].close()
        gateway.process.wait_for("hand-off closed")
        counted(gateway, 0, 2)
        clients[0] = open_socket(gateway)
        assert all(echoes(client, "hello") for client in clients)


def test_tunnels_and_handed_over_sockets_count_together(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, Origin() as dash:
        values: dict[str, Any] = {**limits(websockets_per_client=2), "handoff": str(service.socket_file)}
        with running_gateway(tmp_path, dash=dash.url, ws=service.url, **values) as gateway:
            open_socket(gateway)
            gateway.process.wait_for(" handed off -> ws")
            tunnelled = gateway.dial()
            tunnelled.send(handshake("/_dash-ws-callback"))
            upstream = dash.accept()
            upstream.read_head()
            upstream.send(switching())
            tunnelled.read_head()
            for target in ("/echo", "/_dash-ws-callback"):
                with gateway.dial() as wire:
                    wire.send(handshake(target))
                    assert wire.read_message().status == 429
            tunnelled.close()
            upstream.read_to_cut()
            upstream.close()
            counted(gateway, 0, 1)
            open_socket(gateway)


def test_a_gateway_that_restarts_knows_the_counts_of_all_clients(tmp_path: Path) -> None:
    few = limits(websockets_per_client=20)
    with running_service(tmp_path) as service:
        with gateway_for(tmp_path, service, **few) as gateway:
            clients = [open_socket(gateway) for _ in range(20)]
            gateway.process.wait_for_count(" handed off -> ws", 20)
            gateway._wires.clear()  # it goes, they stay
        with gateway_for(tmp_path, service, **few) as gateway:
            with gateway.dial() as wire:
                assert shake(wire).status == 429, "known before the first client"
            assert counts(gateway)[1] == 20
            with dial_from(gateway, "127.0.0.2") as other:
                other.send(handshake("/echo"))
                assert other.read_head().startswith(b"HTTP/1.1 101 ")
            gateway.process.wait_for("hand-off closed")
            counted(gateway, 0, 20)
            clients.pop().close()
            counted(gateway, 0, 19)
            clients.append(open_socket(gateway))
            assert all(echoes(client, "still here") for client in clients)
            for client in clients:
                client.close()
            counted(gateway, 0, 0)


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
def test_a_service_that_ends_gives_its_sockets_back(way: signal.Signals, tmp_path: Path) -> None:
    with (
        running_service(tmp_path) as service,
        gateway_for(tmp_path, service, **limits(websockets_per_client=5)) as gateway,
    ):
        for _ in range(5):
            open_socket(gateway)
        gateway.process.wait_for_count(" handed off -> ws", 5)
        with gateway.dial() as wire:
            assert shake(wire).status == 429
        service.process.send(way)
        counted(gateway, 0, 0)


# -- whatever happens


def test_however_clients_come_and_leave_all_counts_return_to_zero(tmp_path: Path) -> None:
    """A storm of clients that end in every way there is, some of them half-way; each is counted out once."""
    dice = random.Random(4)
    halves = [b"", ASK[:20], request("POST /", "Content-Length: 100", body=b"half"), handshake("/echo")[:60]]
    wholes = [
        ASK,
        ASK * 3,
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        handshake("/echo"),
        handshake("/echo") + b"\x81\x85abcd",
        handshake("/refused"),
        handshake("/broken"),
        handshake("/nowhere"),
        handshake("/_dash-ws-callback"),
        handshake("/_dash-ws-callback") + ASK,
        handshake("/echo", "Content-Length: 5") + b"hello",
    ]
    few: dict[str, Any] = limits(connections_per_client=30, websockets_per_client=20, handshakes_per_second=60)
    with running_service(tmp_path) as service, serving(play) as dash:
        few["handoff"] = str(service.socket_file)
        with running_gateway(tmp_path, dash=dash, ws=service.url, **few) as gateway:
            base = descriptors(gateway)
            there: list[Wire] = []
            for _ in range(600):
                wire = gateway.dial()
                there.append(wire)
                with suppress(ConnectionError):  # it was turned away
                    asked = dice.choice((*halves, *wholes))
                    wire.send(asked)
                    if asked in wholes and dice.random() < 0.5:
                        wire.read_some()
                if len(there) > 25:
                    leaver = there.pop(dice.randrange(len(there)))
                    leaver.reset() if dice.random() < 0.5 else leaver.close()
            connections, websockets = counts(gateway)
            assert 0 < connections <= 30
            assert 0 < websockets <= 20
            for wire in there:
                wire.close()
            counted(gateway, 0, 0)
            eventually(lambda: descriptors(gateway) <= base + 4, lambda: (descriptors(gateway), base))


# -- other limits, the same books


def test_a_reload_changes_the_limits_and_keeps_the_counts(tmp_path: Path) -> None:
    few = limits(connections=3, websockets_per_client=2)
    with served(tmp_path, **few) as gateway:
        open_ones = [gateway.dial() for _ in range(2)]
        assert [shake(wire).status for wire in open_ones] == [101, 101]
        wire, waiting = gateway.dial(), gateway.dial()
        assert shake(wire).status == 429
        gateway.process.wait_for("no connection is accepted: 3 are open")
        waiting.send(ASK)
        reload(tmp_path, gateway, limits(connections=4, websockets_per_client=3))
        assert waiting.read_message().body == b"served"
        assert shake(wire).status == 101
        assert shake(waiting).status == 429
        reload(tmp_path, gateway, limits(connections_per_client=1))
        counted(gateway, 4, 3)
        assert refusal(gateway.dial()).status == 429
        assert is_served(waiting), "who is in stays"


def reload(folder: Path, gateway: Gateway, changes: dict[str, Any]) -> None:
    """Give the gateway other settings."""
    path = folder / f"gateway-{gateway.port}.yaml"
    config = json.loads(path.read_text())
    config["gateway"]["limits"] = {**dict.fromkeys(PER_CLIENT), **changes["limits"]}
    path.write_text(json.dumps(config))
    told = len(gateway.process.output)
    gateway.process.send(signal.SIGHUP)
    gateway.process.wait_for("the configuration was read again; [1-9]", after=told)


# -- how fast


def test_handshakes_that_are_too_fast_wait_and_then_are_refused_and_no_other_client_waits(tmp_path: Path) -> None:
    with served(tmp_path, **limits(handshakes_per_second=2)) as gateway:
        wires = [gateway.dial() for _ in range(6)]
        gateway.pause()  # so that all of them come at one moment
        for wire in wires:
            wire.send(handshake())
        began = time.monotonic()
        gateway.resume()
        assert [wire.read_message().status for wire in wires[:2]] == [101] * 2
        refused = [wire.read_message() for wire in wires[4:]]
        assert [(answered.status, answered.get("Retry-After")) for answered in refused] == [(429, "1")] * 2
        assert is_served(gateway.dial()), "plain HTTP does not wait"
        with dial_from(gateway, "127.0.0.2") as other:
            assert shake(other).status == 101
        assert not wires[3].has_something(), "it waits for its turn"
        assert [wire.read_message().status for wire in wires[2:4]] == [101] * 2
        assert time.monotonic() - began > 0.95
        gateway.process.wait_for("127.0.0.1 opens more than the 2 per second that gateway.limits.handshakes_per_second")


def test_a_client_that_leaves_while_it_waits_is_forgotten_and_the_upstream_never_sees_it(tmp_path: Path) -> None:
    few = limits(handshakes_per_second=1, websockets_per_client=2)
    with Origin() as origin, running_gateway(tmp_path, dash=origin.url, **few) as gateway:
        open_tunnel(gateway, origin)
        base = descriptors(gateway)
        waiting = gateway.dial()
        waiting.send(handshake("/left"))
        counted(gateway, 2, 2)
        waiting.reset()
        gateway.process.wait_for('"GET /left" 499 .* client gone')
        counted(gateway, 1, 1)
        with gateway.dial() as wire:
            assert shake(wire).status == 429, "its turn is not given back: who leaves early would be faster"
        past_probes(origin)
        eventually(lambda: descriptors(gateway) <= base, lambda: (descriptors(gateway), base))


def test_refused_handshakes_leave_nothing_behind(tmp_path: Path) -> None:
    with served(tmp_path, **limits(websockets_per_client=1)) as gateway:
        assert shake(gateway.dial()).status == 101
        base = descriptors(gateway)
        for _ in range(150):
            with gateway.dial() as wire:
                assert shake(wire).status == 429
        eventually(lambda: descriptors(gateway) <= base, lambda: (descriptors(gateway), base))
        counted(gateway, 1, 1)
        assert gateway.process.output.count("WARNING") == 1, "one line, beside those of the access log"
