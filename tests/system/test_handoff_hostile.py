"""What a client can do to the service by a socket that was handed over: the deadlines of a tunnel hold for it too."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.system.gateway import Gateway
from tests.system.handoff import Service, code_of, echoes, gateway_for, open_socket, running_service
from tests.system.test_nothing_is_tied_up import eventually
from tests.wire.connection import Wire
from tests.wire.frames import MASK, frame
from tests.wire.messages import handshake

APP = """
import asyncio
import os
from contextlib import asynccontextmanager
from fastapi import FastAPI, WebSocket

@asynccontextmanager
async def lifespan(app):
    yield
    print("the lifespan has ended", flush=True)

app = FastAPI(lifespan=lifespan)

@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)

@app.websocket("/never")
async def never(websocket: WebSocket):
    await asyncio.Event().wait()

@app.websocket("/deaf")
async def deaf(websocket: WebSocket):
    await websocket.accept()
    await asyncio.Event().wait()

@app.websocket("/talker")
async def talker(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.send_text(os.urandom(50_000).hex())
"""

PARKED = {
    "extensions that are none": handshake("/echo", "Sec-WebSocket-Extensions: ;;"),
    "a parameter that is none": handshake("/echo", "Sec-WebSocket-Extensions: permessage-deflate; ="),
    "an endpoint that does not accept": handshake("/never"),
}
JUNK = b"\x00" * 300_000

CEILING = 32 << 20
"""Bytes that a process may grow by: the attacks took 200 MiB and more."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), app=APP, drain="5s") as service:
        yield service


@pytest.fixture
def gateway(tmp_path: Path, service: Service) -> Iterator[Gateway]:
    timeouts = {"handshake": "3s", "send": "2s", "drain_window": 0}
    with gateway_for(tmp_path, service, timeouts=timeouts) as gateway:
        assert echoes(open_socket(gateway), "hello")  # the channel is there
        yield gateway
        assert "tunnel open" not in gateway.process.output


def open_files(service: Service) -> int:
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def resident(service: Service) -> int:
    return int(psutil.Process(service.process.pid).memory_info().rss)


def pour(client: Wire, data: bytes) -> threading.Thread:
    """Send until it is taken, or the connection ends."""

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                client.sock.sendall(data)

    thread = threading.Thread(target=run, daemon=True, name="pouring client")
    client.sock.settimeout(None)
    thread.start()
    return thread


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("kind", PARKED)
def test_a_handshake_that_waits_for_its_answer_ends_with_its_client(
    service: Service, gateway: Gateway, kind: str, end: str
) -> None:
    """A4: reading was paused, so nobody noticed."""
    base = open_files(service)
    clients = [gateway.dial() for _ in range(10)]  # more at once fill the channel, and the tunnel carries
    for client in clients:
        client.send(PARKED[kind])
    gateway.process.wait_for_count(" handed off -> ws", 11)
    for client in clients:
        with contextlib.suppress(OSError):  # what is answered at once may be closed in the middle
            client.sock.settimeout(0.2)
            client.sock.sendall(JUNK)
        getattr(client, end)()
    gateway.process.wait_for_count("hand-off closed", 10, timeout=10)
    eventually(lambda: open_files(service) <= base, lambda: f"{open_files(service)} descriptors, {base} at first")


@pytest.mark.parametrize("kind", PARKED)
def test_a_handshake_that_is_never_answered_has_a_deadline(service: Service, gateway: Gateway, kind: str) -> None:
    """A4: by the gateway's own `timeouts.handshake`; what the library cannot read is answered at once."""
    client = gateway.dial()
    client.send(PARKED[kind])
    answer = client.read_message()
    assert answer.status == (504 if kind == "an endpoint that does not accept" else 400)
    assert client.read_to_end() == b""
    gateway.process.wait_for(rf'" {answer.status} hand-off closed')


def test_a_stop_closes_all_sockets_although_one_handshake_is_not_answered(tmp_path: Path) -> None:
    """A5: the library raised at the stop, and nobody behind that one in the list heard anything."""
    with running_service(tmp_path, app=APP, drain="5s") as service, gateway_for(tmp_path, service) as gateway:
        parked = [gateway.dial() for _ in range(3)]
        clients = []
        for one, head in zip(parked, PARKED.values(), strict=True):
            clients += [open_socket(gateway), open_socket(gateway)]
            one.send(head)
        gateway.process.wait_for_count(" handed off -> ws", 9)
        service.process.send(signal.SIGTERM)
        for client in clients:
            assert code_of(client.read_frame()) == 1012
            client.close()
        assert parked[-1].read_message().status == 503
        assert service.process.wait() == 0
        assert "the lifespan has ended" in service.process.output
        assert "Traceback" not in service.process.output


@pytest.mark.parametrize("path", ["/echo", "/talker"])
def test_a_client_that_reads_nothing_is_cut_and_is_not_held_for(service: Service, gateway: Gateway, path: str) -> None:
    """A7: pings whose pongs are never read, and what an endpoint sends."""
    before = resident(service)
    clients = []
    for _ in range(4):
        client = gateway.dial(receive_buffer=4096)
        client.send(handshake(path))
        assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 101 ")
        clients.append(client)
    threads = [pour(client, frame(0x9, b"x" * 125, mask=MASK) * 500) for client in clients]
    gateway.process.wait_for_count("hand-off closed", 4, timeout=30)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert resident(service) - before < CEILING


def test_a_client_that_takes_a_trickle_is_slow_too(service: Service, gateway: Gateway) -> None:
    client = gateway.dial(receive_buffer=4096)
    client.send(handshake("/talker?trickle"))
    client.read_head()
    with contextlib.suppress(OSError, AssertionError):
        for _ in range(200):  # ten bytes a second and never nothing, for longer than the deadline
            client.sock.settimeout(5)
            if not client.sock.recv(1):
                break
            if threading.Event().wait(0.1) or 'trickle" 101 hand-off closed' in gateway.process.output:
                break
    gateway.process.wait_for(r'"GET /talker\?trickle" 101 hand-off closed', timeout=10)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_the_end_of_a_client_whose_messages_are_not_read_is_noticed(
    service: Service, gateway: Gateway, end: str
) -> None:
    """A4: after the accept, with an endpoint that receives nothing and so pauses reading."""
    client = open_socket(gateway, "/deaf")
    for _ in range(12):  # more than is read, and less than our kernel takes: a FIN behind a full window stays away
        client.send(frame(0x2, b"x" * 10_000, mask=MASK))
    getattr(client, end)()
    gateway.process.wait_for(r'"GET /deaf" 101 hand-off closed', timeout=10)


def test_a_vanished_client_is_asked_after(service: Service, gateway: Gateway) -> None:
    """The kernel's keep-alive is on: `ss -o` would show its timer."""
    client = open_socket(gateway)
    port = client.sock.getsockname()[1]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (timer,) = [line[5] for line in lines if line[2].endswith(f":{port:04X}") and line[3] == "01"]
    assert timer.startswith("02:"), "a keep-alive timer"
    assert int(timer.partition(":")[2], 16) <= 60 * 100
    assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
