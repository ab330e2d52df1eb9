"""An upstream that is killed and comes back: nobody who may wait fails, and every tunnel's client hears 1012."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count, cycle
from pathlib import Path

import pytest

from tests.processes import Process, free_port, python, running
from tests.system.gateway import Gateway, running_gateway
from tests.system.handoff import echoes, running_service
from tests.system.test_admin import ready
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import frame
from tests.wire.messages import Message, handshake, request

APPS = Path(__file__).parent / "apps"

ORIGIN = """
import asyncio, base64, hashlib, os, sys

orders = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        fields = dict(line.split(b": ", 1) for line in head.split(b"\\r\\n")[1:-2])
        if b"Upgrade" in fields:
            key = fields[b"Sec-WebSocket-Key"] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key).digest())
            writer.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                         b"Sec-WebSocket-Accept: " + accept + b"\\r\\n\\r\\n")
            while data := await reader.read(65536):
                writer.write(data)
            break
        await reader.readexactly(int(fields.get(b"Content-Length", 0)))
        if head.startswith(b"POST /order/"):
            os.write(orders, head.split(b" ")[1] + b"\\n")
        await asyncio.sleep(0.005)
        body = str(os.getpid()).encode()
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(body), body))
    writer.close()

async def safely(reader, writer):
    try:
        await serve(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(safely, "127.0.0.1", int(sys.argv[1]), backlog=512)
    print("origin ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

MASK = b"abcd"

RESTARTING = (1012).to_bytes(2, "big")


class Origin:
    """A small server that can be killed and started again, always on the same port."""

    def __init__(self, folder: Path) -> None:
        self._script = folder / "origin.py"
        self._script.write_text(ORIGIN)
        self._book = folder / "orders"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: Process | None = None

    def start(self) -> None:
        self._process = Process(python(self._script, str(self.port), str(self._book)))
        self._process.wait_for("origin ready")

    def orders(self) -> list[str]:
        """Return what was posted, as often as it came."""
        return self._book.read_text().split()

    def kill(self) -> None:
        assert self._process is not None
        self._process.stop(signal.SIGKILL)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.kill()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    origin = Origin(tmp_path)
    origin.start()
    yield origin
    origin.close()


class Load:
    """Clients in threads that ask again and again, and what became of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def add(self, count: int, ask: Callable[[Wire], str], *, are_kept: bool) -> None:
        """Begin to ask; are_kept: on connections that go on behind an answer."""

        def run() -> None:
            while not self._over.is_set():
                with Wire(socket.create_connection(("127.0.0.1", self._port)), deadline=60) as wire:
                    goes_on = True
                    while goes_on:
                        try:
                            answer = ask(wire)
                        except (OSError, AssertionError) as error:
                            answer = f"failed: {error!r}"
                        with self._lock:
                            self.answers[answer] += 1
                        goes_on = are_kept and not answer.startswith("failed") and not self._over.is_set()

        for _ in range(count):
            self._threads.append(threading.Thread(target=run, name="client", daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def count(self, answer: str) -> int:
        with self._lock:
            return self.answers[answer]

    def wait_for(self, answer: str, count: int) -> None:
        """Wait until so many more have got this answer."""
        until, goal = time.monotonic() + 60, self.count(answer) + count
        while self.count(answer) < goal:
            assert time.monotonic() < until, self.answers
            time.sleep(0.01)


@contextmanager
def load(gateway: Gateway, *, gets: int, handshakes: int, posts: int = 0) -> Iterator[Load]:
    """Run clients: GETs and POSTs on connections that are kept, and handshakes each on its own."""
    numbers = count()

    def get(wire: Wire) -> str:
        wire.send(request("GET /", "Accept: */*"))
        return f"GET {wire.read_message().status}"

    def post(wire: Wire) -> str:
        wire.send(request(f"POST /order/{next(numbers)}", "Content-Length: 2", body=b"{}"))
        answered = wire.read_message()
        why = "" if answered.status == 200 else f" {answered.json()['error']}"
        return f"POST {answered.status}{why}"

    def shake(wire: Wire) -> str:
        wire.send(handshake() + frame(1, b"hello", mask=MASK))
        answer = f"handshake {Message(wire.read_head()).status}"
        if answer == "handshake 101":
            assert wire.read_frame().opcode in (1, 8)
        return answer

    clients = Load(gateway.port)
    clients.add(gets, get, are_kept=True)
    clients.add(posts, post, are_kept=True)
    clients.add(handshakes, shake, are_kept=False)
    try:
        yield clients
    finally:
        clients.stop()


def open_tunnels(gateway: Gateway, count: int) -> list[Wire]:
    tunnels = []
    for _ in range(count):
        client = gateway.dial()
        client.send(handshake())
        assert Message(client.read_head()).status == 101
        tunnels.append(client)
    return tunnels


SENT = "The upstream dash closed the connection without an answer"


def test_five_seconds_without_an_upstream_fail_nothing_that_was_not_sent(tmp_path: Path, origin: Origin) -> None:
    """The only POSTs that may fail are those that the upstream had when it was killed; and none is sent twice."""
    with running_gateway(tmp_path, dash=origin.url, health={"interval": "1s"}) as gateway:
        tunnels = open_tunnels(gateway, 50)
        with load(gateway, gets=16, handshakes=8, posts=16) as clients:
            clients.wait_for("GET 200", 200)
            origin.kill()
            for client in tunnels:
                close_frame = client.read_frame()
                assert (close_frame.opcode, close_frame.payload) == (8, RESTARTING)
                client.send(frame(8, RESTARTING, mask=MASK))
                assert client.read_to_end() == b""
            time.sleep(5)  # the absence itself
            origin.start()
            clients.wait_for("GET 200", 200)
            clients.wait_for("POST 200", 200)
            clients.wait_for("handshake 101", 20)
        sent = {answer for answer in clients.answers if answer.startswith(f"POST 502 {SENT}")}
        assert set(clients.answers) - sent == {"GET 200", "POST 200", "handshake 101"}, clients.answers
        assert sum(clients.count(answer) for answer in sent) <= 16, clients.answers
        twice = [order for order, times in Counter(origin.orders()).items() if times > 1]
        assert len(origin.orders()) > 400 and not twice
        gateway.process.wait_for("the upstream dash is unreachable")
        gateway.process.wait_for(r"the upstream dash is up, after [4-9]\.\d s unreachable")


@pytest.mark.parametrize("times", [6])
def test_an_upstream_that_is_killed_again_and_again_fails_no_get(tmp_path: Path, origin: Origin, times: int) -> None:
    with running_gateway(tmp_path, dash=origin.url) as gateway, load(gateway, gets=16, handshakes=4) as clients:
        for _ in range(times):
            clients.wait_for("GET 200", 50)
            origin.kill()
            origin.start()
        clients.wait_for("GET 200", 50)
        clients.stop()
        assert set(clients.answers) == {"GET 200", "handshake 101"}, clients.answers


def test_callbacks_wait_while_their_upstream_is_unreachable_and_are_told_when_it_stays_so(
    tmp_path: Path, origin: Origin
) -> None:
    callback = request("POST /_dash-update-component", "Content-Length: 2", body=b"{}")
    with running_gateway(tmp_path, dash=origin.url, timeouts={"hold": "1s"}) as gateway:
        assert gateway.ask(callback).status == 200
        origin.kill()
        for _ in range(3):
            answered = gateway.ask(callback)
            assert (answered.status, answered.get("content-type")) == (503, "application/json")
            told = " ".join(answered.json()["error"])
            assert answered.get("retry-after") and told.endswith("did not come back within 1 s.")
        waiting = gateway.dial()
        waiting.send(callback)
        origin.start()
        assert waiting.read_message().status == 200


def test_a_stop_while_requests_are_held_is_quick_and_says_so_to_them(tmp_path: Path, origin: Origin) -> None:
    origin.kill()
    with running_gateway(tmp_path, dash=origin.url, timeouts={"drain": "20s"}) as gateway:
        held = [gateway.dial() for _ in range(10)]
        for number, client in enumerate(held):
            client.send(request(("GET /", "POST /")[number % 2]))
        until = time.monotonic() + DEADLINE
        while ready(gateway).json()["upstreams"]["dash"]["waiting"] < len(held):
            assert time.monotonic() < until
        began = time.monotonic()
        gateway.process.send(signal.SIGTERM)
        for client in held:
            answered = client.read_message()
            assert (answered.status, answered.get("retry-after")) == (503, "1")
        assert gateway.process.wait() == 0
        assert time.monotonic() - began < DEADLINE


def test_a_real_dash_that_is_deployed_anew_fails_no_get(tmp_path: Path) -> None:
    """gunicorn stops as a deploy stops it. One thread: Dash 4.4.1 is not safe for several before its first page."""
    port = free_port()
    argv = python("-m", "gunicorn", "--threads", "1", "--bind", f"127.0.0.1:{port}", "today:server")
    targets = cycle(("/", "/_dash-layout", "/_dash-dependencies"))

    def get(wire: Wire) -> str:
        wire.send(request(f"GET {next(targets)}"))
        return f"GET {wire.read_message().status}"

    def serving_dash() -> AbstractContextManager[Process]:
        return running(*argv, ready="Booting worker", cwd=APPS, env={"BACKEND": "flask"})

    with running_gateway(tmp_path, dash=f"http://127.0.0.1:{port}", timeouts={"hold": "60s"}) as gateway:
        clients = Load(gateway.port)
        try:
            with serving_dash():
                clients.add(6, get, are_kept=True)
                clients.wait_for("GET 200", 30)
            gateway.process.wait_for("the upstream dash is unreachable")
            with serving_dash():
                clients.wait_for("GET 200", 30)
                clients.stop()
        finally:
            clients.stop()
        assert set(clients.answers) == {"GET 200"}, clients.answers


def test_a_name_that_is_not_known_stops_nothing_else(tmp_path: Path, origin: Origin) -> None:
    with running_gateway(tmp_path, dash=origin.url, ws="http://no-such-host.invalid:1", routes=[]) as gateway:
        shaking = [gateway.dial() for _ in range(20)]
        for client in shaking:
            client.send(handshake())
        for _ in range(50):
            assert gateway.ask(request("GET /")).status == 200
        assert not any(client.has_something() for client in shaking), "they are held"
        gateway.process.wait_for("the upstream ws is unreachable: its host name is not known")


def test_a_handshake_that_waited_for_the_service_is_handed_over_to_it(tmp_path: Path) -> None:
    """It came while nobody was there; its socket is to live on like any other when the gateway restarts."""
    place = f"127.0.0.1:{free_port()}"
    settings = {"ws": f"http://{place}", "handoff": str(tmp_path / "run" / "ws.sock")}
    with running_gateway(tmp_path, dash="http://127.0.0.1:9", **settings) as gateway:
        client = gateway.dial()
        client.send(handshake("/echo"))
        gateway.process.wait_for("the upstream ws is unreachable")
        with running_service(tmp_path, listen=place):
            assert Message(client.read_head()).status == 101
            assert echoes(client, "hello")
            gateway.process.wait_for(r'"GET /echo" .*handed off -> ws')
