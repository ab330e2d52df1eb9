"""What one client can make the service hold, and for how long it keeps the others waiting, as real processes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.load.gets import cpu
from tests.system import handoff
from tests.system.gateway import Gateway
from tests.system.handoff import WAYS, Service, code_of, echoes, gateway_by, gateway_for, open_socket, running_service
from tests.wire.connection import Wire
from tests.wire.frames import CLOSE, MASK, Frame, frame

MIB = 1 << 20

BUDGET = 32 * MIB
"""ws_service.memory_per_client, by default."""

APP = f"""
{handoff.APP}
import asyncio


@app.websocket("/take")
async def take(websocket: WebSocket):
    await websocket.accept()
    async for message in websocket.iter_bytes():
        pass

@app.websocket("/deaf")
async def deaf(websocket: WebSocket):
    await websocket.accept()
    await asyncio.Event().wait()
"""

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12"


def bomb(size: int) -> bytes:
    """Return a compressed first fragment of so many zeros: a thousandth of it on the wire."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return frame(0x2, packer.compress(bytes(size)) + packer.flush(zlib.Z_SYNC_FLUSH), fin=False, rsv=4, mask=MASK)


TINY = {
    "empty frames": frame(0x2, mask=MASK),
    "fragments of one byte": frame(0x2, b"x", fin=False, mask=MASK)
    + frame(0x0, b"x", fin=False, mask=MASK) * 98
    + frame(0x0, b"x", mask=MASK),
    "pings": frame(0x9, b"x" * 8, mask=MASK),
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running_service(tmp_path, app=APP, drain="1s") as service:
        yield service


@pytest.fixture(params=WAYS)
def gateway(request: pytest.FixtureRequest, tmp_path: Path, service: Service) -> Iterator[Gateway]:
    with gateway_by(request.param, tmp_path, service) as gateway:
        yield gateway


def resident(service: Service) -> int:
    return int(psutil.Process(service.process.pid).memory_info().rss)


def close_frame_of(client: Wire) -> Frame | None:
    """Return the close frame that has come; None where there are only pings, or nothing."""
    while client.has_something():
        if (frame := client.read_frame()).opcode == CLOSE:
            return frame
    return None


def test_messages_that_are_never_finished_are_bounded_for_a_client(service: Service, gateway: Gateway) -> None:
    """A6: 40 sockets and 600 KB on the wire took 1.2 GiB."""
    other = open_socket(gateway, "/echo")
    before = resident(service)
    clients = [open_socket(gateway, "/take", DEFLATE) for _ in range(40)]
    unfinished = bomb(15 * MIB)
    for client in clients:
        client.send(unfinished)
    service.process.wait_for("is closed with 1009", timeout=20)
    assert echoes(other, "the socket of the same client that holds nothing lives")
    assert resident(service) - before < BUDGET + 40 * MIB
    assert {code_of(closing) for client in clients if (closing := close_frame_of(client)) is not None} == {1009}
    for client in clients:
        client.close()


def test_empty_fragments_cost_too(service: Service, gateway: Gateway) -> None:
    """Not a byte of payload, so no limit of a message's size ever counts them."""
    before = resident(service)
    client = open_socket(gateway, "/take")
    client.send(frame(0x2, fin=False, mask=MASK))
    client.sock.settimeout(30)
    with contextlib.suppress(OSError):
        for _ in range(4000):
            client.sock.sendall(frame(0x0, fin=False, mask=MASK) * 1000)
    service.process.wait_for("is closed with 1009", timeout=30)
    assert resident(service) - before < BUDGET + 40 * MIB


def test_frames_that_are_not_finished_count_as_they_come(service: Service, gateway: Gateway) -> None:
    before = resident(service)
    clients = [open_socket(gateway, "/take") for _ in range(12)]
    head = b"\x82\xff" + (15 * MIB).to_bytes(8, "big") + MASK
    for client in clients:
        client.sock.settimeout(10)
        with contextlib.suppress(OSError):
            client.sock.sendall(head + bytes(10 * MIB))
    service.process.wait_for("is closed with 1009", timeout=20)
    assert resident(service) - before < BUDGET + 60 * MIB


def test_messages_that_the_endpoint_does_not_take_wait_in_the_kernel(service: Service, gateway: Gateway) -> None:
    before = resident(service)
    for _ in range(20):
        client = open_socket(gateway, "/deaf")
        client.sock.settimeout(0.3)
        with contextlib.suppress(OSError):
            client.sock.sendall(frame(0x2, b"x" * 1000, mask=MASK) * 4000)
    assert resident(service) - before < 20 * MIB


class Flood:
    """Sends the same bytes again and again at 2 MB/s, for the length of a ``with`` block."""

    RATE = 2_000_000

    def __init__(self, client: Wire, data: bytes) -> None:
        self._client, self._data = client, data * (20_000 // len(data))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flood", daemon=True)
        self.sent = 0

    def _run(self) -> None:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while not self._is_over.wait(max(0, began + self.sent / self.RATE - time.monotonic())):
                self._client.sock.sendall(self._data)
                self.sent += len(self._data)

    def __enter__(self) -> Flood:
        self._client.sock.settimeout(None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._client.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)


@pytest.mark.parametrize("kind", TINY)
def test_tiny_frames_of_one_client_do_not_keep_another_waiting(tmp_path: Path, kind: str) -> None:
    """A13's kind, on this side: a read of uvloop's was 250 KB, and every frame in it was followed in one turn.

    Counted is the CPU time that the service has had until the echo came: the suite shares its machine.
    """
    with running_service(tmp_path, app=APP, drain="1s") as service, gateway_for(tmp_path, service) as gateway:
        other = open_socket(gateway, "/echo")
        hostile = open_socket(gateway, "/take")
        threading.Thread(target=drained, args=(hostile,), daemon=True, name="reader of pongs").start()
        with Flood(hostile, TINY[kind]) as flood:
            times = []
            until = time.monotonic() + 3
            while time.monotonic() < until:
                began = cpu(service.process.pid)
                assert echoes(other, "hello")
                times.append(cpu(service.process.pid) - began)
        assert flood.sent > 2_000_000, "it was hostile all the time"
        times.sort()
        p99 = times[len(times) * 99 // 100]
        print(f"{kind}: {len(times)} echoes, p99 {p99 * 1000:.1f} ms, max {times[-1] * 1000:.1f} ms")
        assert p99 < 0.05


def drained(client: Wire) -> None:
    with contextlib.suppress(OSError, ValueError):
        while client.sock.recv(65536):
            pass
