"""docs/scaling.md, several machines: a balancer, two gateways with a service each, one Valkey. One machine ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.processes import Process, free_port
from tests.redis_server import redis_server
from tests.system.gateway import Gateway
from tests.system.hub.hub import Hub, running_hub
from tests.system.hub.talk import Talk
from tests.system.nginx import needs_nginx, running_nginx

TOPIC = "open:prices"


@contextmanager
def balancer(folder: Path, *hubs: Hub) -> Iterator[Gateway]:
    """Run nginx as the document has it; what it yields is asked as a gateway is."""
    port = free_port()
    [site] = blocks("docs/scaling.md", "nginx")
    for written, here in (
        ("listen 80", f"listen 127.0.0.1:{port}"),
        ("10.0.0.11:8000", hubs[0].gateway.authority),
        ("10.0.0.12:8000", hubs[1].gateway.authority),
    ):
        assert written in site
        site = site.replace(written, here)
    with running_nginx(folder, site) as process:
        front = Gateway(process, port, 0)
        try:
            yield front
        finally:
            front.hang_up()


def kill(process: Process) -> None:
    process.send(signal.SIGKILL)
    process.wait()


def joined(front: Gateway) -> Talk:
    client = Talk.connected(front)
    assert client.subscribe(TOPIC) is None
    return client


def heard(client: Talk) -> object:
    return client.hear()["push"]["pub"]["data"]


@needs_nginx
@pytest.mark.timeout(120)
def test_two_machines_are_one_hub_and_when_one_ends_its_clients_find_the_other(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("valkey", "one", "other", "balancer")]
    for folder in folders:
        folder.mkdir()
    trusted = {"trusted_proxies": ["127.0.0.1"]}
    with (
        redis_server("valkey", folders[0]) as server,
        running_hub(folders[1], broker=server.url, gateway=trusted) as one,
        running_hub(folders[2], broker=server.url, gateway=trusted) as other,
        balancer(folders[3], one, other) as front,
    ):
        clients = [joined(front) for _ in range(6)]
        for hub in (one, other):
            hub.gateway.process.wait_for_count(" handed off -> ws", 3)  # the balancer spreads them
        one.publish(TOPIC, 1)
        assert [heard(client) for client in clients] == [1] * 6, "wherever a publication comes in, each page hears it"
        kill(one.gateway.process)
        kill(one.service)
        other.publish(TOPIC, 2)
        left = []
        for client in clients:
            try:
                assert heard(client) == 2
            except (AssertionError, OSError):
                left.append(joined(front))
        assert len(left) == 3, "those of the machine that ended, and no others"
        other.publish(TOPIC, 3)
        assert [heard(client) for client in left] == [3] * 3
