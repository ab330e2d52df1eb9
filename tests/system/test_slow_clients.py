"""How slow a client, or an upstream, may be: who takes nothing or sends nothing is cut, and costs little until then."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import psutil
import pytest

from tests.certificates import Authority
from tests.processes import free_port
from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, open_tunnel, running_gateway, serving
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import frame
from tests.wire.messages import answer, handshake, request, switching

MIB = 1 << 20
MASK = b"\0\0\0\0"
TIMEOUT = 0.6
"""Seconds that the gateway of these plays waits for heads and bodies."""

SEND = 1.0
"""Seconds that it waits for somebody to take something."""

SOON = 6.0
"""Seconds. Nothing that is bounded by one of these takes so long, and everything that is not takes longer."""


def memory(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.process.pid).memory_info().rss)


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin) -> Gateway:
    timeouts = {"drain": "1s", "head": "600ms", "body": "600ms", "send": "1s", "response": "20s"}
    return shared.gateway(dash=origin.url, timeouts=timeouts)


@pytest.fixture(scope="module")
def long_send_timeout(shared: Shared, origin: Origin) -> Gateway:
    """A gateway that cuts no slow client, for tests that measure what it holds."""
    return shared.gateway(dash=origin.url, timeouts={"drain": "1s"})


class Trickle:
    """Sends a byte now and then until it is stopped, or until the other side does not want it any more."""

    def __init__(self, wire: Wire, data: bytes, pause: float) -> None:
        self._stopped = threading.Event()
        self.sent = 0
        self._thread = threading.Thread(target=self._run, args=(wire, data, pause), name="trickle", daemon=True)
        self._thread.start()

    def _run(self, wire: Wire, data: bytes, pause: float) -> None:
        with suppress(OSError):
            for byte in data:
                wire.sock.send(bytes((byte,)))
                self.sent += 1
                if self._stopped.wait(pause):
                    return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(DEADLINE)


# -- slow heads


def test_who_says_nothing_is_shown_out_without_a_word(gateway: Gateway) -> None:
    client = gateway.dial()
    began = time.monotonic()
    assert client.read_to_cut() == (b"", "end")
    assert TIMEOUT * 0.9 < time.monotonic() - began < SOON


def test_a_head_that_trickles_is_cut_at_its_deadline(gateway: Gateway, origin: Origin) -> None:
    """No byte makes it later."""
    client = gateway.dial()
    began = time.monotonic()
    trickle = Trickle(client, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000, 0.02)
    assert client.read_message().status == 408
    assert TIMEOUT * 0.9 < time.monotonic() - began < SOON
    trickle.stop()
    assert client.read_to_cut() == (b"", "end")
    assert not origin.has_visitor()


@pytest.mark.parametrize("way", ["plain", "ordinary"])
def test_a_later_head_has_its_time_from_its_first_byte(way: str, gateway: Gateway, origin: Origin) -> None:
    client, upstream = gateway.dial(), None
    for _ in range(2):
        client.send(request("GET /", *([] if way == "plain" else ["Expect: x"])))
        upstream = upstream or origin.accept()
        upstream.read_head()
        upstream.send(answer("200 OK"))
        assert client.read_message().status == 200
        time.sleep(TIMEOUT * 1.5)  # which is not the head's
    began = time.monotonic()
    trickle = Trickle(client, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000, 0.02)
    assert client.read_message().status == 408
    assert TIMEOUT * 0.9 < time.monotonic() - began < SOON
    trickle.stop()


def test_empty_lines_in_halves_do_not_make_a_later_heads_time_begin_again(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    client.send(request("GET /"))
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(answer("200 OK"))
    assert client.read_message().status == 200
    began = time.monotonic()
    trickle = Trickle(client, b"\r\n" * 1000, 0.02)
    assert client.read_message().status == 408
    assert time.monotonic() - began < SOON
    trickle.stop()


def test_a_head_in_pieces_that_ends_in_time_counts_no_more(gateway: Gateway, origin: Origin) -> None:
    client = gateway.dial()
    for part in (b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n"):
        client.send(part)
        time.sleep(0.01)
    upstream = origin.accept()
    upstream.read_head()
    time.sleep(2 * TIMEOUT)
    upstream.send(answer("200 OK"))
    assert client.read_message().status == 200


def test_a_head_that_has_begun_is_not_taken_for_an_idle_connection(tmp_path: Path) -> None:
    with (
        serving(quick) as url,
        running_gateway(tmp_path, dash=url, timeouts={"keepalive": "300ms", "drain": "1s"}) as gateway,
        gateway.dial() as client,
    ):
        for _ in range(2):
            client.send(b"GET / HT")
            time.sleep(0.5)
            client.send(b"TP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_message().status == 200


@pytest.mark.parametrize("fields", [(), ("Expect: x",)], ids=["plain", "ordinary"])
def test_half_a_head_behind_a_request_that_is_carried_disturbs_nothing_and_is_cut_then(
    fields: tuple[str, ...], gateway: Gateway, origin: Origin
) -> None:
    client = gateway.dial()
    client.send(request("GET /warm"))
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(answer("200 OK"))
    client.read_message()
    client.send(request("GET /", *fields))
    upstream.read_head()
    client.send(b"GET /half HTTP/1.1\r\nHo")
    time.sleep(2 * TIMEOUT)
    upstream.send(answer("200 OK", body=b"undisturbed"))
    assert client.read_message().body == b"undisturbed"
    assert client.read_message().status == 408
    assert client.read_to_cut() == (b"", "end")


def test_the_log_says_that_it_was_the_client(gateway: Gateway) -> None:
    behind = len(gateway.process.output)
    client = gateway.dial()
    client.send(b"GET")
    client.read_message()
    gateway.process.wait_for(r'"- -" 408 .* client stalled \[The head of the request did not', after=behind)


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"GET / HT",), 408),
        ((b"GET / HT", b"TP/1.1\r\nHost: a b\r\n\r\n"), 400),
        ((b"GET / HT", b"TP/1.1\r\n broken\r\n\r\n"), 400),
        ((b"GET /", b"x" * 20_000), 414),
        ((b"GET / HTTP/1.1\r\n", b"A: b\r\n" * 129), 431),
        ((b"GET / HT", b"TP/1.1\r\nHost: a\r\n\r\n"), 503),
    ],
    ids=["408", "400, refused", "400, unreadable", "414", "431", "503"],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_the_time_in_the_log_begins_with_the_first_byte_of_the_head(
    tmp_path: Path, pieces: tuple[bytes, ...], status: int, is_first: bool
) -> None:
    """Before, a 408 after 15 seconds was logged as 1.3 ms."""
    with running_gateway(
        tmp_path, dash=f"http://127.0.0.1:{free_port()}", timeouts={"head": "600ms", "hold": 0, "drain": "1s"}
    ) as gateway:
        client = gateway.dial()
        if not is_first:
            client.send(request("GET /before"))
            assert client.read_message().status == 503
            time.sleep(0.5)  # an idle connection: this is no request's time
        before = len(gateway.process.output)
        began = time.time()
        for piece in pieces:
            client.send(piece)
            time.sleep(0.4)
        told = client.read_message()
        assert told.status == status
        assert abs(parsedate_to_datetime(told.get("Date")).timestamp() - time.time()) < 2, "the answer's own time"
        line = gateway.process.wait_for(rf"^(\S+) .* {status} .*?([\d.]+)ms ", after=before)
        took = float(line[2]) / 1000
        assert (0.3 if status != 408 else 0.5) < took < time.time() - began + 0.1
        assert began - 0.1 < datetime.fromisoformat(line[1]).timestamp() - took < began + 0.3


# -- slow bodies


def test_a_body_that_trickles_is_cut(gateway: Gateway, origin: Origin) -> None:
    """Each byte comes in time, and all of them would take for ever."""
    client = gateway.dial()
    client.send(request("POST /", "Content-Length: 1000000"))
    upstream = origin.accept()
    began = time.monotonic()
    trickle = Trickle(client, b"x" * 1000, 0.02)
    assert client.read_message().status == 408
    assert TIMEOUT * 0.9 < time.monotonic() - began < SOON
    trickle.stop()
    upstream.read_to_cut()


# -- slow readers


BIG = 24 * MIB


def large_answer(kind: str) -> bytes:
    if kind == "Content-Length":
        return answer("200 OK", f"Content-Length: {BIG}", body=None) + b"x" * BIG
    if kind == "chunked":
        return answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"%x\r\n%b\r\n" % (BIG, b"x" * BIG)
    return answer("200 OK", "Connection: close", body=None) + b"x" * BIG


def ask_big(gateway: Gateway, origin: Origin, kind: str, way: str) -> tuple[Wire, Wire]:
    """Ask for a large answer and read nothing of it; returns both ends.

    way: ``plain`` is carried without a parser, because a connection to the upstream waits for it.
    """
    client = gateway.dial(receive_buffer=4096)
    version = "1.0" if kind == "until close, HTTP/1.0" else "1.1"
    if way == "plain":
        client.send(request("GET /small"))
        upstream = origin.accept()
        upstream.read_head()
        upstream.send(answer("200 OK"))
        client.read_message()
    client.send(request("GET /big").replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
    if way != "plain":
        upstream = origin.accept()
    upstream.read_head()
    upstream.send_later(large_answer(kind))
    return client, upstream


@pytest.mark.parametrize(
    ("kind", "way"),
    [
        ("Content-Length", "plain"),
        ("Content-Length", "ordinary"),
        ("chunked", "ordinary"),
        ("until close", "plain"),
        ("until close, HTTP/1.0", "ordinary"),
    ],
)
def test_a_client_that_takes_nothing_is_cut(kind: str, way: str, gateway: Gateway, origin: Origin) -> None:
    behind = len(gateway.process.output)
    client, upstream = ask_big(gateway, origin, kind, way)
    began = time.monotonic()
    upstream.read_to_cut()  # the exchange with the upstream ends with the client's
    assert SEND * 0.9 < time.monotonic() - began < SOON
    line = gateway.process.wait_for(r'^.*"GET /big" .*$', timeout=10, after=behind)[0]
    assert "200" in line
    assert " too slow " in line
    assert client.read_to_cut()[1] == "reset", "half an answer must not look like a whole one"


def test_a_client_that_takes_a_little_now_and_then_is_not_cut(gateway: Gateway, origin: Origin) -> None:
    client, _ = ask_big(gateway, origin, "Content-Length", "ordinary")
    client.read_head()
    until = time.monotonic() + 2.5 * SEND
    while time.monotonic() < until:
        assert client.sock.recv(256 * 1024)
        time.sleep(SEND / 8)
    got = 0
    client.sock.settimeout(DEADLINE)
    while got < BIG // 2:
        got += len(client.sock.recv(MIB))


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_a_side_of_a_tunnel_that_takes_nothing_is_cut(role: str, gateway: Gateway, origin: Origin) -> None:
    behind = len(gateway.process.output)
    client, upstream = open_tunnel(gateway, origin)
    slow, fast = (client, upstream) if role == "client" else (upstream, client)
    fast.send_later(frame(2, b"x" * (4 * MIB), mask=MASK if fast is client else b"") * 16)  # threads would mix frames
    began = time.monotonic()
    fast.read_to_cut()
    # Two seconds for the close frame: it reaches a client that reads something.
    assert SEND < time.monotonic() - began < SOON + 2
    line = gateway.process.wait_for(r"^.*tunnel closed.*$", timeout=10, after=behind)[0]
    assert " too slow by=gateway code=1013" in line
    slow.read_to_cut()


def test_who_talks_to_an_upstream_that_takes_nothing_is_told_to_come_back(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    sender = client.send_later(frame(2, b"x" * (64 * MIB), mask=MASK))
    close_frame = client.read_frame()
    assert (close_frame.opcode, close_frame.payload[:2]) == (8, (1013).to_bytes(2, "big"))
    client.read_to_cut()
    sender.join(DEADLINE)
    upstream.read_to_cut()


@pytest.mark.parametrize("role", ["client", "upstream"])
def test_a_side_of_a_tunnel_that_is_only_slow_is_not_cut(role: str, gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    slow, fast = (client, upstream) if role == "client" else (upstream, client)
    size = 32 * MIB
    fast.send_later(frame(2, b"x" * size, mask=MASK if fast is client else b""))
    until = time.monotonic() + 2.5 * SEND
    got = 0
    while time.monotonic() < until:
        got += len(slow.sock.recv(256 * 1024))
        time.sleep(SEND / 8)
    slow.sock.settimeout(DEADLINE)
    while got < size:
        got += len(slow.sock.recv(MIB))


@pytest.mark.parametrize("way", ["answer", "tunnel"])
def test_who_takes_nothing_over_tls_is_cut_too(way: str, tmp_path: Path, origin: Origin) -> None:
    """And who is slow is not."""
    authority = Authority(tmp_path)
    timeouts = {"send": "1s", "drain": "1s"}
    with running_gateway(tmp_path, dash=origin.url, tls=authority.issue(), timeouts=timeouts) as gateway:
        pairs = []
        for _ in range(2):
            client = gateway.dial(receive_buffer=4096)
            client.sock = authority.client().wrap_socket(client.sock, server_hostname="localhost")
            client.send(handshake("/live") if way == "tunnel" else request("GET /big"))
            upstream = origin.accept()
            upstream.read_head()
            upstream.send(switching() if way == "tunnel" else UPSTREAM_ANSWERS["Content-Length"])
            client.read_head()
            upstream.send_later(b"\x82\x7f" + EACH.to_bytes(8, "big") + b"x" * (8 * MIB))
            pairs.append((client, upstream))
        (_, stuck), (slow, _) = pairs
        cut = threading.Thread(target=stuck.read_to_cut, name="end of the stuck one")
        cut.start()
        until = time.monotonic() + 2.5 * SEND
        while time.monotonic() < until:
            assert slow.sock.recv(65536)
            time.sleep(SEND / 10)
        cut.join(DEADLINE)
        assert not cut.is_alive()
        gateway.process.wait_for(" too slow")
        slow.sock.recv(65536)
        assert gateway.process.output.count(" too slow") == 1


def test_an_idle_tunnel_is_not_a_slow_one(gateway: Gateway, origin: Origin) -> None:
    client, upstream = open_tunnel(gateway, origin)
    time.sleep(2 * SEND)
    upstream.send(frame(1, b"still here"))
    assert client.read_frame().payload == b"still here"


# -- memory


COUNT = 16
EACH = 64 * MIB
PER_ONE = 4 * MIB
"""What the gateway may hold for each; the kernel's own buffers are another few megabytes on each side of it."""

UPSTREAM_ANSWERS = {
    "Content-Length": answer("200 OK", f"Content-Length: {EACH}", body=None),
    "chunked": answer("200 OK", "Transfer-Encoding: chunked", body=None) + b"%x\r\n" % EACH,
    "until close": answer("200 OK", "Connection: close", body=None),
}


def sent_in_vain(senders: list[Wire], piece: bytes = b"x" * MIB) -> int:
    """Send to readers that do not read, all of them in turn, until nothing more goes; returns how much went."""
    total, quiet_since = 0, time.monotonic()
    for wire in senders:
        wire.sock.setblocking(False)
    while time.monotonic() - quiet_since < 0.5:
        for wire in senders:
            with suppress(BlockingIOError):
                total += wire.sock.send(piece)
                quiet_since = time.monotonic()
    return total


@pytest.mark.parametrize("way", [*UPSTREAM_ANSWERS, "tunnel", "tunnel, upstream reads nothing", "upload"])
def test_what_is_not_read_is_not_buffered(way: str, long_send_timeout: Gateway, origin: Origin) -> None:
    pairs = []
    for _ in range(COUNT):
        if way.startswith("tunnel"):
            client, upstream = open_tunnel(long_send_timeout, origin)
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            beginning = b"\x82\x7f" + EACH.to_bytes(8, "big")
        elif way == "upload":
            client, beginning = long_send_timeout.dial(), b""
            client.send(request("POST /upload", f"Content-Length: {EACH}"))
            upstream = origin.accept()
            upstream.read_head()
        else:
            client, beginning = long_send_timeout.dial(receive_buffer=4096), UPSTREAM_ANSWERS[way]
            client.send(request("GET /big"))
            upstream = origin.accept()
            upstream.read_head()
        sender = client if way in ("upload", "tunnel, upstream reads nothing") else upstream
        if sender is client and way != "upload":
            beginning = b"\x82\xff" + EACH.to_bytes(8, "big") + MASK
        sender.send(beginning)
        pairs.append(sender)
    before = memory(long_send_timeout)
    went = sent_in_vain(pairs)
    grown = memory(long_send_timeout) - before
    print(f"{way}: {grown / MIB / COUNT:.2f} MiB for each of {COUNT}, {went / MIB / COUNT:.1f} MiB went")
    assert went < COUNT * EACH, "somebody has it all"
    assert grown < COUNT * PER_ONE, f"{grown / MIB / COUNT:.2f} MiB for each"


def test_what_is_not_read_is_not_buffered_on_the_fast_path(long_send_timeout: Gateway, origin: Origin) -> None:
    upstreams = []
    for _ in range(COUNT):
        client = long_send_timeout.dial(receive_buffer=4096)
        client.send(request("GET /small"))
        upstream = origin.accept()
        upstreams.append((client, upstream))
        upstream.read_head()
    for client, upstream in upstreams:
        upstream.send(answer("200 OK"))
        client.read_message()
        client.send(request("GET /big"))
    for _, upstream in upstreams:
        upstream.read_head()
        upstream.send(UPSTREAM_ANSWERS["Content-Length"])
    before = memory(long_send_timeout)
    went = sent_in_vain([upstream for _, upstream in upstreams])
    grown = memory(long_send_timeout) - before
    assert went < COUNT * EACH
    assert grown < COUNT * PER_ONE, f"{grown / MIB / COUNT:.2f} MiB for each"


def test_requests_that_are_sent_without_reading_the_answers_pile_up_nowhere(
    long_send_timeout: Gateway, origin: Origin
) -> None:
    """Thousands in one go: neither does the gateway hold them, nor does the upstream get more than one at a time."""
    client = long_send_timeout.dial(receive_buffer=4096)
    before = memory(long_send_timeout)
    client.send(request("GET /x"))
    upstream = origin.accept()
    upstream.read_head()
    sent_in_vain([client], request("GET /x", "X: " + "y" * 1000) * 1000)
    assert not upstream.has_something()
    assert not origin.has_visitor()
    assert memory(long_send_timeout) - before < PER_ONE


# -- many of them


class Siege:
    """Slow clients of three kinds in equal parts: heads and bodies that come a byte at a time, and silence.

    A thread sends each of those that send a byte now and then, until the ``with`` block ends.
    """

    def __init__(self, gateway: Gateway, count: int, *, pause: float = 0.5) -> None:
        self._clients = [gateway.dial() for _ in range(count)]
        self._pause = pause
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="siege", daemon=True)

    def _run(self) -> None:
        heads, bodies = self._clients[::3], self._clients[1::3]
        for client in heads:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        for client in bodies:
            client.send(request("POST /", "Content-Length: 1000000"))
        while not self._is_over.wait(self._pause):
            for client in heads + bodies:
                with suppress(OSError):
                    client.sock.send(b"x")

    def __enter__(self) -> Siege:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(DEADLINE)
        for client in self._clients:
            client.close()


def in_time(gateway: Gateway, count: int) -> list[float]:
    """Ask so often on one connection; returns the seconds that the answers took, the shortest first."""
    took = []
    with gateway.dial() as client:
        for _ in range(count):
            began = time.monotonic()
            client.send(request("GET /quick"))
            assert client.read_message().body == b"quick"
            took.append(time.monotonic() - began)
    return sorted(took)


def quick(wire: Wire) -> None:
    """An upstream that answers a GET, and waits for the body of a POST."""
    while True:
        wire.read_message()
        wire.send(answer("200 OK", body=b"quick"))


def test_slow_clients_by_the_hundred_cost_little_and_delay_no_other_client(tmp_path: Path) -> None:
    count = 210
    with serving(quick) as url, running_gateway(tmp_path, dash=url, timeouts={"drain": "1s"}) as gateway:
        in_time(gateway, 100)
        before = memory(gateway)
        with Siege(gateway, count, pause=0.05):
            took = in_time(gateway, 400)
            grown = memory(gateway) - before
        assert took[len(took) // 2] < 0.2
        assert took[-1] < 3
        assert grown < count * 64 * 1024, f"{grown / count / 1024:.1f} KiB for each"


def test_slow_clients_by_the_hundred_are_all_shown_out(tmp_path: Path) -> None:
    count = 90
    short = {"head": "500ms", "body": "500ms", "drain": "1s"}
    with serving(quick) as url, running_gateway(tmp_path, dash=url, timeouts=short) as gateway:
        with Siege(gateway, count, pause=0.1):
            gateway.process.wait_for_count(" client stalled ", count * 2 // 3, timeout=DEADLINE)
        in_time(gateway, 10)
