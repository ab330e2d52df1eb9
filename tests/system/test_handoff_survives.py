"""A gateway may be killed, restarted or replaced: the sockets that it handed over live on, and are learned again."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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
from tests.wire.connection import Wire
from tests.wire.frames import MASK, frame

MANY = 1000


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(tmp_path) as service:
        yield service


def take_out(gateway: Gateway, clients: list[Wire]) -> None:
    """Keep the helper of a gateway that ends from closing its clients."""
    gateway._wires = [wire for wire in gateway._wires if wire not in clients]


def ends_in(output: str) -> list[str]:
    return [line for line in output.splitlines() if "hand-off closed" in line]


def hang_up(clients: list[Wire]) -> None:
    for client in clients:
        client.close()


def test_a_thousand_sockets_survive_a_killed_gateway_and_the_next_one_learns_them(
    tmp_path: Path, service: Service
) -> None:
    with gateway_for(tmp_path, service) as gateway:
        clients = open_sockets(gateway, MANY)
        gateway.process.send(signal.SIGKILL)
        gateway.process.wait()
        for number, client in enumerate(clients):
            say(client, f"nobody is there but us {number}")
        take_out(gateway, clients)
    with gateway_for(tmp_path, service) as gateway:
        gateway.process.wait_for(f"takes WebSockets over; it holds {MANY} that live on")
        for number, client in enumerate(clients):
            assert hear(client) == f"nobody is there but us {number}"
            assert echoes(client, "still here")
        for client in clients[:10]:
            client.send(frame(8, b"\x0f\xa0", mask=MASK))
        for client in clients[10:20]:
            client.close()
        gateway.process.wait_for_count("hand-off closed", 20)
        ends = ends_in(gateway.process.output)
        assert len([line for line in ends if "client closed by=client code=4000" in line]) == 10
        assert len([line for line in ends if "client closed by=client code=-" in line]) == 10
        assert all('"GET /echo" 101 hand-off closed -> ws (websocket) ' in line for line in ends)
    hang_up(clients)


def test_a_thousand_sockets_survive_a_restart_that_waits_for_none_of_them(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service, timeouts={"drain": "60s"}) as gateway:
        clients = open_sockets(gateway, MANY)
        began = time.monotonic()
        gateway.process.send(signal.SIGTERM)
        for client in clients:
            say(client, "during the restart")
        assert gateway.process.wait() == 0
        assert time.monotonic() - began < 10
        take_out(gateway, clients)
    with gateway_for(tmp_path, service):
        for client in clients:
            assert hear(client) == "during the restart"
            assert echoes(client, "behind it")
    hang_up(clients)


def test_what_ends_while_no_gateway_is_there_is_in_the_log_of_the_next(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service) as gateway:
        clients = open_sockets(gateway, 20)
        handed_over = re.findall(r"handed off .*id=(\w+)", gateway.process.output)
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait() == 0
        take_out(gateway, clients)
        before = re.findall(r"hand-off closed .*id=(\w+)", gateway.process.output)
    for client in clients[:10]:
        client.send(frame(8, b"\x03\xe9", mask=MASK))
        assert code_of(client.read_frame()) == 1001
        assert client.read_to_end() == b""
    with gateway_for(tmp_path, service) as gateway:
        gateway.process.wait_for("it holds 10 that live on")
        gateway.process.wait_for_count("client closed by=client code=1001", 10)
        hang_up(clients)
        gateway.process.wait_for_count("hand-off closed", 20)
        told = re.findall(r"hand-off closed .*id=(\w+)", gateway.process.output)
        assert sorted(before + told) == sorted(handed_over), "each end is told once"


def test_another_gateway_that_is_there_takes_over_the_reports_of_one_that_dies(
    tmp_path: Path, service: Service
) -> None:
    with gateway_for(tmp_path, service) as old, gateway_for(tmp_path, service) as new:
        clients = [open_socket(old) for _ in range(10)]
        old.process.wait_for_count("handed off", 10)
        clients[0].close()
        old.process.wait_for("hand-off closed")
        old.process.send(signal.SIGKILL)
        old.process.wait()
        take_out(old, clients)
        assert echoes(clients[1], "still here")
        open_socket(new).close()
        for client in clients[1:]:
            client.close()
        new.process.wait_for_count("handed off", 1)
        new.process.wait_for_count("hand-off closed", 10)
        handed_over = set(re.findall(r"handed off .*id=(\w+)", old.process.output + new.process.output))
        told = re.findall(r"hand-off closed .*id=(\w+)", old.process.output + new.process.output)
        assert len(told) == len(handed_over) == 11, "each end is told once"
        assert set(told) == handed_over


def test_a_service_that_stops_sends_1012_to_all_clients_and_reports_every_end(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service) as gateway:
        clients = open_sockets(gateway, MANY)
        service.process.send(signal.SIGTERM)
        for client in clients:
            assert code_of(client.read_frame()) == 1012
            client.close()
        assert service.process.wait() == 0
        gateway.process.wait_for("the ws service .* is gone")
        ends = ends_in(gateway.process.output)
        assert len(ends) == MANY
        assert all("upstream closed by=upstream code=1012" in line for line in ends)
        assert "with it" not in gateway.process.output, "nobody was left"
        assert not service.socket_file.exists()


def test_a_service_that_is_killed_ends_its_sockets_at_once(tmp_path: Path, service: Service) -> None:
    with gateway_for(tmp_path, service) as gateway:
        clients = open_sockets(gateway, MANY)
        began = time.monotonic()
        service.process.send(signal.SIGKILL)
        for client in clients:
            assert client.read_to_cut()[0] == b""
        assert time.monotonic() - began < 5
        gateway.process.wait_for(f"{MANY} sockets that were handed over to it with it")


def test_a_service_that_comes_back_adopts_again(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, gateway_for(tmp_path, service) as gateway:
        service.process.send(signal.SIGKILL)
        gateway.process.wait_for("the ws service .* is gone")
        seen = len(gateway.process.output)
        with running_service(tmp_path) as again:
            assert again.socket_file == service.socket_file
            gateway.process.wait_for("takes WebSockets over; it holds 0", after=seen)
            client = open_socket(gateway)
            assert echoes(client, "hello")
            gateway.process.wait_for("handed off -> ws", after=seen)
