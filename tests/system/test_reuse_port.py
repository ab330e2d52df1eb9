"""Two gateways on one port, one service and one Dash: one of them is killed, replaced, and the other one stopped."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.processes import Process, free_port, python, running
from tests.system.handoff import Service, echoes, running_service
from tests.system.steady_load import CLIENTS, Dash, Load
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import handshake, request

SOCKETS = 40
"""WebSockets that one client may have, in each gateway."""


class Gateways:
    """Gateways that share a port and a config file."""

    def __init__(self, folder: Path, dash: str, service: Service) -> None:
        self.port = free_port()
        self._folder = folder
        settings = {
            "listen": f"127.0.0.1:{self.port}",
            "reuse_port": True,
            "admin": "unix:run/admin-${NAME}.sock",
            "upstreams": {"dash": dash, "ws": service.url},
            "handoff": str(service.socket_file),
            "limits": {"handshakes_per_second": None, "websockets_per_client": SOCKETS},
            "timeouts": {"drain_window": 0},
        }
        (folder / "config.yaml").write_text(json.dumps({"gateway": settings}))

    @contextmanager
    def running(self, name: str) -> Iterator[Process]:
        argv = python("-m", "proxy", "--config", self._folder / "config.yaml")
        ready = rf"gateway ready on http://127.0.0.1:{self.port} "
        with running(*argv, ready=ready, cwd=self._folder, env={"NAME": name}) as process:
            yield process

    def websocket(self) -> Wire | None:
        """Open a WebSocket; None where the gateway that gets it says that there are enough."""
        client = Wire.to(self.port)
        client.send(handshake("/echo"))
        head = client.read_head()
        if b" 101 " in head.partition(b"\r\n")[0]:
            return client
        assert head.startswith(b"HTTP/1.1 429 "), head
        client.close()
        return None

    def websockets(self, name: str) -> int:
        """Return how many WebSockets a gateway counts."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE)
            sock.connect(str(self._folder / "run" / f"admin-{name}.sock"))
            sock.sendall(request("GET /readyz"))
            _, _, body = sock.makefile("rb").read().partition(b"\r\n\r\n")
        count: int = json.loads(body)["websockets"]
        return count


def requests_in(gateway: Process) -> Counter[str]:
    """Return how often the access log of a gateway has each path of the load."""
    return Counter(re.findall(r'"(?:GET|POST) (/\d+/\d+)" 200 ', gateway.output))


async def test_one_of_two_gateways_may_be_killed_and_the_other_one_stopped(tmp_path: Path) -> None:
    async with Dash() as dash:
        with running_service(tmp_path) as service, ExitStack() as stack:
            gateways = Gateways(tmp_path, dash.url, service)
            first, second = (stack.enter_context(gateways.running(name)) for name in ("first", "second"))
            load, stop = Load(gateways.port), asyncio.Event()
            clients = [stack.enter_context(client) for _ in range(SOCKETS) if (client := gateways.websocket())]
            assert len(clients) == SOCKETS
            shares = [gateways.websockets(name) for name in ("first", "second")]
            assert sum(shares) == SOCKETS
            assert all(shares), "each has some"

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load.run(stop))
                await asyncio.sleep(1)
                first.send(signal.SIGKILL)
                await asyncio.to_thread(first.wait)
                served = len(load.served)
                await asyncio.sleep(0.5)  # what it had ends

                # Its sockets live on; the other gateway counts them, so this client may have no more.
                assert all(echoes(client, "still here") for client in clients)
                assert gateways.websockets("second") == SOCKETS
                assert gateways.websocket() is None

                third = await asyncio.to_thread(stack.enter_context, gateways.running("third"))
                settled = dict(load.failed)
                await asyncio.sleep(0.5)
                second.send(signal.SIGTERM)
                assert await asyncio.to_thread(second.wait) == 0
                await asyncio.sleep(0.5)
                assert gateways.websockets("third") == SOCKETS
                stop.set()

            for client in clients:
                client.close()
            third.wait_for_count("hand-off closed", SOCKETS)
            third.send(signal.SIGTERM)
            assert third.wait() == 0

    assert load.failed == settled, "a gateway that is stopped fails no request"
    assert len(settled) <= CLIENTS
    killed, others = requests_in(first), requests_in(second) + requests_in(third)
    assert not settled.keys() & others.keys(), "the others had none of those that failed"
    assert max((killed + others).values()) == 1
    late = load.served[served + CLIENTS :]
    assert len(late) > 200
    assert [path for path in late if others[path] != 1] == []
