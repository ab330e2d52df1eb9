"""The gateway and the service under systemd: readiness, the watchdog, sockets that systemd holds while they restart."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.system.handoff import echoes, hear, running_service, say
from tests.system.service_manager import ServiceManager, service_manager
from tests.wire.connection import DEADLINE, Wire
from tests.wire.messages import answer, handshake, request

CLIENTS, RATE = 20, 200
"""Connections at a time, and requests a second of all of them together."""

SOCKETS = 50
"""WebSockets that are handed over before the restart."""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[ServiceManager]:
    with service_manager(tmp_path) as manager:
        yield manager


@dataclass
class Load:
    """Requests at a steady rate, and what became of each.

    Half of the clients open a connection for each request; the others keep theirs as long as the gateway does. No
    request is sent twice.
    """

    port: int
    served: int = 0
    longest: float = 0.0
    failures: list[str] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._client(number, stop))

    async def _client(self, number: int, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        period, keeps, streams = CLIENTS / RATE, number % 2 == 0, None
        due = loop.time() + period * number / CLIENTS
        while not stop.is_set():
            await asyncio.sleep(due - loop.time())
            due = max(due + period, loop.time())
            began = loop.time()
            try:
                streams = streams or await asyncio.open_connection("127.0.0.1", self.port)
                async with asyncio.timeout(DEADLINE):
                    goes_on = await self._exchange(*streams, b"POST" if number % 4 == 0 else b"GET")
                self.served += 1
                self.longest = max(self.longest, loop.time() - began)
            except (OSError, EOFError, AssertionError) as error:
                self.failures.append(f"client {number}, {'kept' if keeps else 'new'} connection: {error!r}")
                goes_on = False
            if streams and not (goes_on and keeps):
                await closed(streams[1])
                streams = None
        if streams:
            await closed(streams[1])

    @staticmethod
    async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: bytes) -> bool:
        """Send a request and read its answer; tell whether the connection may be used again."""
        writer.write(request(f"{method.decode()} /", "Content-Length: 0", host="example.com"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
        assert await reader.readexactly(2) == b"hi"
        return b"connection: close" not in head.lower()


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


class Dash:
    """An upstream in the test's own loop, which answers every request with ``hi``."""

    url = ""

    def __init__(self) -> None:
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Dash:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for the end of each connection: the gateways have ended."""
        self._server.close()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer("200 OK", body=b"hi"))
        await closed(writer)


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
    tmp_path: Path, systemd: ServiceManager, capsys: pytest.CaptureFixture[str]
) -> None:
    port, admin, _ = (systemd.listen(name) for name in ("gateway", "admin", "spare"))
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
            address = f"http://127.0.0.1:{port}"
            assert await asyncio.to_thread(systemd.told) == ["READY=1", f"STATUS=gateway ready on {address}"]
            gateway.wait_for(r"^WARNING systemd has passed a socket named spare, which no setting asks for")
            sockets = [stack.enter_context(websocket(port)) for _ in range(SOCKETS)]
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load.run(stop))
                await asyncio.sleep(1)
                before = load.served
                gateway.send(signal.SIGTERM)
                assert await asyncio.to_thread(systemd.told) == ["STOPPING=1", "STATUS=stopping"]
                assert await asyncio.to_thread(gateway.wait) == 0
                assert all(echoes(client, "nobody is there but us") for client in sockets)
                gateway = stack.enter_context(systemd.started("proxy", "gateway", settings))
                assert (await asyncio.to_thread(systemd.told))[0] == "READY=1"
                assert all(echoes(client, "here is the next one") for client in sockets)
                await asyncio.sleep(1)
                stop.set()
            state = await asyncio.to_thread(ready, admin)
            assert state["websockets"] == SOCKETS
            assert state["listen"] == [address]
    assert load.failures == []
    assert before >= RATE * 0.5
    assert load.served > before + RATE * 0.5
    with capsys.disabled():
        print(f"\n{load.served} requests, none failed, the longest took {load.longest:.1f} s")


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


@pytest.mark.parametrize(
    ("workers", "line"), [(1, "ws service ready on "), (2, "2 workers of the ws service ready on ")]
)
def test_the_service_tells_each_step(tmp_path: Path, systemd: ServiceManager, workers: int, line: str) -> None:
    with systemd.started("ws_service", "ws_service", service_settings(tmp_path, workers)) as service:
        first, status = systemd.told()
        assert first == "READY=1"
        assert status.startswith(f"STATUS={line}http://127.0.0.1:")
        port = int(status.rpartition(":")[2])
        service.wait_for_count(f" ws service ready on http://127.0.0.1:{port}\n", workers)
        websocket(port).close()
        service.send(signal.SIGHUP)
        assert systemd.told()[0] == "RELOADING=1"
        assert systemd.told() == ["READY=1"]
        service.send(signal.SIGTERM)
        assert systemd.told()[0] == "STOPPING=1"
        assert service.wait() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_service_that_cannot_start_is_never_ready(tmp_path: Path, systemd: ServiceManager, workers: int) -> None:
    settings = service_settings(tmp_path, workers) | {"app": "nothing:app"}
    with systemd.started("ws_service", "ws_service", settings) as service:
        assert service.wait() == 2
        assert systemd.is_told_nothing(within=0)


def test_a_loop_that_is_blocked_does_not_feed_the_watchdog_and_its_traceback_says_where(
    tmp_path: Path, systemd: ServiceManager
) -> None:
    watchdog = {"WATCHDOG_USEC": "600000"}
    settings = service_settings(tmp_path, 1)
    with systemd.started("ws_service", "ws_service", settings, watchdog) as service:
        with websocket(int(systemd.told()[1].rpartition(":")[2])) as client:
            for _ in range(3):
                assert systemd.is_told_alive(within=0.6)
            say(client, "block")
            while not systemd.is_told_nothing(within=0.6):
                pass
            service.send(signal.SIGABRT)  # what systemd does then
            assert service.wait() == -signal.SIGABRT
        assert 'live.py", line 15 in echo' in service.output


def test_a_worker_that_is_stuck_is_replaced_alone(tmp_path: Path, systemd: ServiceManager) -> None:
    watchdog = {"WATCHDOG_USEC": "1000000"}
    settings = service_settings(tmp_path, 2)
    with systemd.started("ws_service", "ws_service", settings, watchdog) as service, ExitStack() as stack:
        port = int(systemd.told()[1].rpartition(":")[2])
        sockets: dict[int, Wire] = {}
        while len(sockets) < 2:
            client = stack.enter_context(websocket(port))
            say(client, "who")
            sockets[int(hear(client).split(" ")[0])] = client
        stuck, other = sockets
        say(sockets[stuck], "block")
        service.wait_for(rf"ERROR worker {stuck} is stuck: its event loop did not run")
        service.wait_for('live.py", line 15 in echo')
        service.wait_for_count("ws service ready on", 3)
        say(sockets[other], "you")
        assert hear(sockets[other]) == f"{other} you"
        websocket(port).close()
