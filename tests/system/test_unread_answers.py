"""Answers that a client does not read: nothing more of it is served meanwhile, and who takes next to nothing is cut."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.processes import free_port
from tests.system.gateway import Gateway, Origin, running_gateway, serving
from tests.system.test_nothing_is_tied_up import memory
from tests.wire.connection import Wire
from tests.wire.messages import answer, handshake, request, switching

MIB = 1 << 20
MOST = 4 * MIB
"""What the gateway may hold for one connection; the kernel's own buffers are not counted."""

FLOODS = {
    "refused handshakes": handshake(),
    "requests while Dash is away": request("POST /", "Content-Length: 2", body=b"{}"),
    "requests that Dash answers": request("GET /page"),
    "handshakes that the upstream refuses": handshake("/refused"),
}


def page(wire: Wire) -> None:
    """An upstream that takes WebSockets at /live, and answers everything else with a small page."""
    while True:
        asked = wire.read_message()
        if " /live " in asked.line:
            wire.send(switching())
            wire.read_to_end()
            return
        wire.send(answer("200 OK", body=b"x" * 1500))


class Flood:
    """Sends the same request over and over, as fast as they are taken, until the ``with`` block ends."""

    def __init__(self, client: Wire, message: bytes) -> None:
        self._client, self._data = client, message * max(1, 65536 // len(message))
        self._thread = threading.Thread(target=self._run, name="flood", daemon=True)
        self._is_over = threading.Event()
        self.is_cut = threading.Event()
        self.sent = 0

    def _run(self) -> None:
        self._client.sock.settimeout(0.1)
        while not self._is_over.is_set():
            try:
                self.sent += self._client.sock.send(self._data)
            except TimeoutError:
                continue
            except OSError:
                self.is_cut.set()
                return

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(5)


def flooded(gateway: Gateway, kind: str) -> Wire:
    """Return a client whose answers are of a kind."""
    if kind == "refused handshakes":
        only = gateway.dial()
        only.send(handshake())
        only.read_head()
    return gateway.dial(receive_buffer=4096)


def settings(kind: str) -> dict[str, object]:
    limits = {"websockets_per_client": 1} if kind == "refused handshakes" else {}
    return {"limits": limits, "timeouts": {"send": "1s", "hold": 0, "drain": "1s"}, "access_log": "off"}


@pytest.mark.parametrize("kind", FLOODS)
def test_answers_that_are_not_read_pile_up_nowhere(kind: str, tmp_path: Path) -> None:
    """53 to 190 MiB in 20 s before (A3)."""
    with serving(page) as url:
        dash = f"http://127.0.0.1:{free_port()}" if "away" in kind else url
        with running_gateway(tmp_path, dash=dash, **settings(kind)) as gateway:
            client = flooded(gateway, kind)
            before = memory(gateway)
            with Flood(client, FLOODS[kind]) as flood:
                grown, until = 0, time.monotonic() + 10
                while not flood.is_cut.wait(0.02):
                    grown = max(grown, memory(gateway) - before)
                    assert time.monotonic() < until, "who reads nothing is cut"
            assert grown < MOST, f"{grown / MIB:.1f} MiB of {flood.sent / MIB:.1f} MiB of requests"


@pytest.mark.parametrize("kind", ["refused handshakes", "requests while Dash is away"])
def test_who_takes_a_byte_now_and_then_is_cut_too(kind: str, tmp_path: Path) -> None:
    dash = f"http://127.0.0.1:{free_port()}"
    with serving(page) as url, running_gateway(tmp_path, dash=dash, ws=url, **settings(kind)) as gateway:
        client = flooded(gateway, kind)
        with Flood(client, FLOODS[kind]) as flood, suppress(OSError):
            until = time.monotonic() + 10
            while time.monotonic() < until and not flood.is_cut.is_set():
                client.sock.recv(1)
                time.sleep(0.1)  # it is the client that is slow: this is its pace, and not a wait
        assert flood.is_cut.is_set()


@pytest.mark.parametrize("way", ["answer", "tunnel"])
def test_a_reader_that_trickles_is_as_slow_as_one_that_takes_nothing(way: str, tmp_path: Path, origin: Origin) -> None:
    """It would keep its upstream's worker, and our memory, for as long as it likes."""
    with running_gateway(tmp_path, dash=origin.url, timeouts={"send": "1s", "drain": "1s"}) as gateway:
        client = gateway.dial(receive_buffer=4096)
        client.send(handshake() if way == "tunnel" else request("GET /big"))
        upstream = origin.accept()
        upstream.read_head()
        size = 64 * MIB
        upstream.send(switching() if way == "tunnel" else answer("200 OK", f"Content-Length: {size}", body=None))
        client.read_head()
        upstream.send_later(b"\x82\x7f" + size.to_bytes(8, "big") + b"x" * size)
        is_over = threading.Event()
        reader = threading.Thread(target=trickle, args=(client, is_over), name="reader")
        reader.start()
        try:
            gateway.process.wait_for(" too slow", timeout=8)
        finally:
            is_over.set()
            reader.join(5)


def trickle(client: Wire, is_over: threading.Event) -> None:
    """Read 40 bytes a second."""
    with suppress(OSError):
        while not is_over.wait(0.1) and client.sock.recv(4):
            pass
