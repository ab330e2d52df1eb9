"""What a socket that was handed over costs the gateway: nothing per message, and nothing to speak of per socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.gateway import Gateway
from tests.system.handoff import echoes, gateway_for, open_sockets, running_service
from tests.system.test_nothing_is_tied_up import eventually


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running_service(tmp_path) as service, gateway_for(tmp_path, service) as gateway:
        yield gateway


def seconds_of_cpu(gateway: Gateway) -> float:
    """Of its main thread, to the nanosecond."""
    return int(Path(f"/proc/{gateway.process.pid}/schedstat").read_text().split()[0]) / 1e9


def kib_of_its_own(gateway: Gateway) -> int:
    """Memory that nobody shares: what others share with it changes with them."""
    lines = Path(f"/proc/{gateway.process.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def test_a_message_costs_the_gateway_no_cpu(gateway: Gateway) -> None:
    clients = open_sockets(gateway, 10)
    before = seconds_of_cpu(gateway)
    for _ in range(500):
        for client in clients:
            assert echoes(client, "hello")
    # 5,000 messages, twice. What is left is the look for new services, once a second.
    assert seconds_of_cpu(gateway) - before < 0.02


def test_a_socket_costs_the_gateway_less_than_a_fifth_of_a_kib(gateway: Gateway) -> None:
    for client in open_sockets(gateway, 1000):  # what the allocator keeps, it has from here on
        client.close()
    gateway.process.wait_for_count("hand-off closed", 1000)
    before = kib_of_its_own(gateway)
    clients = [client for _ in range(2) for client in open_sockets(gateway, 1000)]
    gateway.process.wait_for_count("handed off", 3000)
    eventually(
        lambda: kib_of_its_own(gateway) - before <= 0.2 * len(clients),
        lambda: f"{kib_of_its_own(gateway) - before} KiB for {len(clients)} sockets",
    )
