"""The gateway and the service under systemd: readiness, the watchdog, sockets that systemd holds while they restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import Process
from tests.system.handoff import echoes, hear, running_service, say
from tests.system.service_manager import ServiceManager, service_manager
from tests.system.steady_load import RATE, Dash, Load
from tests.wire.connection import Wire
from tests.wire.messages import handshake, request

pytestmark = pytest.mark.timeout(600)  # the first run installs the environment of the report

SOCKETS = 50
"""WebSockets that are handed over before the restart."""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as manager:
        yield manager


def websocket(port: int) -> Wire:
    client = Wire.to(port)
    client.send(handshake("/echo"))
    head = client.read_head()
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


def ready(port: int) -> dict[str, object]:
    with Wire.to(port) as wire:
        wire.send(request("GET /readyz", host="127.0.0.1"))
        state: dict[str, object] = wire.read_message().json()
    return state


async def test_a_restart_under_load_fails_no_request_and_drops_no_socket(
    tmp_path: Path, systemd: ServiceManager
) -> None:
    port, admin, _ = systemd.listen("gateway", everywhere=True), systemd.listen("admin"), systemd.listen("spare")
    load, stop = Load(port), asyncio.Event()
    async with Dash() as dash:
        with running_service(tmp_path) as service, ExitStack() as stack:
            settings = {
                "listen": "systemd",
                "admin": "systemd",
                "upstreams": {"dash": dash.url, "ws": service.url},
                "handoff": str(service.socket_file),
                "limits": {"handshakes_per_second": None},
            }
            gateway = stack.enter_context(systemd.started("proxy", "gateway", settings))
            first, status = await asyncio.to_thread(systemd.told)
            assert first == "READY=1"
            assert status.endswith(f":{port}")
            gateway.wait_for(r"^WARNING systemd has passed a socket named spare, which no setting asks for")
            sockets = [stack.enter_context(websocket(port)) for _ in range(SOCKETS)]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load.run(stop))
                await asyncio.sleep(1)
                before = len(load.served)
                gateway.send(signal.SIGTERM)
                assert await asyncio.to_thread(systemd.told) == ["STOPPING=1", "STATUS=stopping"]
                assert await asyncio.to_thread(gateway.wait) == 0
                assert all(echoes(client, "nobody is there but us") for client in sockets)
                watchdog = {"WATCHDOG_USEC": "1000000"}
                gateway = stack.enter_context(systemd.started("proxy", "gateway", settings, env=watchdog))
                assert (await asyncio.to_thread(systemd.told))[0] == "READY=1"
                assert all(echoes(client, "here is the next one") for client in sockets)
                await asyncio.sleep(1)
                stop.set()
            state = await asyncio.to_thread(ready, admin)
            assert state["websockets"] == SOCKETS
            assert state["listen"] == [status.removeprefix("STATUS=gateway ready on ")]
            assert systemd.is_told_alive(within=1)
            assert gateway.output.count('Z 127.0.0.1 "GET /'), "an IPv4 client of an IPv6 socket has its own address"
    assert load.failed == {}
    assert before >= RATE * 0.5
    assert len(load.served) > before + RATE * 0.5


APP = """
import os
import time

from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    async for message in websocket.iter_text():
        if message == "block":
            time.sleep(600)
        await websocket.send_text(f"{os.getpid()} {message}")
"""


def service_settings(folder: Path, workers: int) -> dict[str, object]:
    (folder / "live.py").write_text(APP)
    return {"listen": "127.0.0.1:0", "app": "live:app", "workers": workers, "drain": "1s"}


def ready_on(systemd: ServiceManager, line: str) -> int:
    """Wait until a service is ready; return its port."""
    first, status = systemd.told()
    assert first == "READY=1"
    assert status.startswith(f"STATUS={line} ready on http://127.0.0.1:")
    return int(status.rpartition(":")[2])


def reload(systemd: ServiceManager, service: Process) -> None:
    service.send(signal.SIGHUP)
    assert systemd.told()[0] == "RELOADING=1"
    assert systemd.told() == ["READY=1"]


def test_a_service_tells_each_step_and_feeds_the_watchdog_unless_its_loop_is_blocked(
    tmp_path: Path, systemd: ServiceManager
) -> None:
    settings, watchdog = service_settings(tmp_path, 1), {"WATCHDOG_USEC": "600000"}
    with systemd.started("ws_service", "ws_service", settings, env=watchdog) as service:
        port = ready_on(systemd, "ws service")
        service.wait_for(f" ws service ready on http://127.0.0.1:{port}\n")
        reload(systemd, service)
        with websocket(port) as client:
            for _ in range(3):
                assert systemd.is_told_alive(within=0.6)
            say(client, "block")
            while not systemd.is_told_nothing(within=0.6):
                pass
            service.send(signal.SIGABRT)  # what systemd does then
            assert service.wait() == -signal.SIGABRT
        assert 'live.py", line 15 in echo' in service.output


def test_workers_are_ready_when_all_of_them_are_and_one_that_is_stuck_is_replaced_alone(
    interpreter: str, tmp_path: Path, systemd: ServiceManager
) -> None:
    settings, watchdog = service_settings(tmp_path, 2), {"WATCHDOG_USEC": "1000000"}
    with (
        systemd.started("ws_service", "ws_service", settings, env=watchdog, interpreter=interpreter) as service,
        ExitStack() as stack,
    ):
        port = ready_on(systemd, "2 workers of the ws service")
        service.wait_for_count(f" ws service ready on http://127.0.0.1:{port}\n", 2)
        sockets: dict[int, Wire] = {}
        while len(sockets) < 2:
            client = stack.enter_context(websocket(port))
            say(client, "who")
            sockets[int(hear(client).split(" ")[0])] = client
        stuck, other = sockets
        say(sockets[stuck], "block")
        service.wait_for(rf"ERROR worker {stuck} is stuck: its event loop did not run")
        service.wait_for('live.py", line 15 in echo')
        service.wait_for_count(" ws service ready on", 3)
        say(sockets[other], "you")
        assert hear(sockets[other]) == f"{other} you"
        reload(systemd, service)
        service.send(signal.SIGTERM)
        assert systemd.told()[0] == "STOPPING=1"
        assert service.wait() == 0


def test_workers_that_cannot_start_are_never_ready(tmp_path: Path, systemd: ServiceManager) -> None:
    settings = service_settings(tmp_path, 2) | {"app": "nothing:app"}
    with systemd.started("ws_service", "ws_service", settings) as service:
        assert service.wait() == 2
        assert systemd.is_told_nothing(within=0)
