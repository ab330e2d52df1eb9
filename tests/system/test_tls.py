"""TLS on both sides of the gateway process: from clients of every temper, and to upstreams that are checked."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from playwright.sync_api import Browser

from tests.certificates import Authority, encrypt
from tests.processes import free_ports, python
from tests.system.conftest import Shared
from tests.system.gateway import Gateway, Origin, running_gateway, serving
from tests.wire.connection import DEADLINE, Wire
from tests.wire.frames import close_frame, frame
from tests.wire.messages import Message, answer, handshake, request, switching

MIB = 1 << 20

COME_BACK = close_frame(1012)
"""What a client gets whose upstream has left without a close frame."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def files(authority: Authority) -> dict[str, str]:
    return authority.issue()


@pytest.fixture(scope="module")
def origin(shared: Shared) -> Origin:
    return shared.origin()


@pytest.fixture(scope="module")
def gateway(shared: Shared, origin: Origin, files: dict[str, str]) -> Gateway:
    return shared.gateway(dash=origin.url, tls=files, timeouts={"head": "2s"})


class TlsSocket:
    """A socket that speaks TLS, as far as a ``Wire`` needs one, and that can end its own direction alone.

    ``ssl.SSLSocket.unwrap`` cannot: it sends close_notify and has OpenSSL look for the other side's in the same call.
    The other side may go on sending until it has seen ours and longer (RFC 8446, section 6.1), and data that OpenSSL
    meets there is an error, APPLICATION_DATA_AFTER_CLOSE_NOTIFY, after which it reads no more. Here all that
    has come is read first, and OpenSSL is given nothing while it says the end.
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, name: str | None = None) -> None:
        self._raw = raw
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=name is None, server_hostname=name)
        self._plain = bytearray()
        self._has_ended = False
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
        self._flush()
        self._decrypt()  # what came with the last of the handshake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def recv(self, size: int) -> bytes:
        """Wait for bytes; nothing means the other side's end, with close_notify or without."""
        while not self._plain and not self._has_ended:
            self._receive()
            self._decrypt()
        data = bytes(self._plain[:size])
        del self._plain[:size]
        return data

    def end(self) -> None:
        """Send close_notify; the other direction stays open."""
        self._decrypt()
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush()

    def _receive(self) -> None:
        data = self._raw.recv(1 << 18)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def _decrypt(self) -> None:
        try:
            while piece := self._tls.read(1 << 18):
                self._plain += piece
            self._has_ended = True
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._has_ended = True
        except ssl.SSLWantReadError:
            pass

    def _flush(self) -> None:
        if data := self._out.read():
            self._raw.sendall(data)


def dial(gateway: Gateway, authority: Authority, **options: int) -> Wire:
    """Connect as a client that knows the authority."""
    wire = gateway.dial(**options)
    wire.sock = cast(socket.socket, TlsSocket(wire.sock, authority.client(), "localhost"))
    return wire


def say_end(wire: Wire) -> None:
    """Send close_notify; what the other side still says can be read."""
    assert isinstance(wire.sock, TlsSocket)
    wire.sock.end()


def tunnel(
    gateway: Gateway, origin: Origin, authority: Authority, path: str = "/live", **options: int
) -> tuple[Wire, Wire]:
    client = dial(gateway, authority, **options)
    client.send(handshake(path))
    upstream = origin.accept()
    upstream.read_head()
    upstream.send(switching())
    assert client.read_head().startswith(b"HTTP/1.1 101 ")
    return client, upstream


# -- what a client gets


def test_the_address_that_is_printed_is_the_one_to_open(gateway: Gateway) -> None:
    assert f"gateway ready on https://127.0.0.1:{gateway.port} " in gateway.process.output


def test_the_upstream_is_told_that_the_client_came_over_tls(
    gateway: Gateway, origin: Origin, authority: Authority
) -> None:
    for host, port in (("example.com", "443"), (f"localhost:{gateway.port}", str(gateway.port))):
        client = dial(gateway, authority)
        client.send(request("GET /", "X-Forwarded-Proto: http", host=host))
        upstream = origin.accept()
        asked = upstream.read_message()
        assert asked.all("X-Forwarded-Proto") == ["https"]
        assert asked.all("X-Forwarded-Port") == [port]
        upstream.send(answer("200 OK", "Connection: close", body=b"hi"))
        assert client.read_message().body == b"hi"


def test_requests_follow_one_another_on_one_connection(gateway: Gateway, origin: Origin, authority: Authority) -> None:
    client = dial(gateway, authority)
    client.send(request("GET /0"))
    upstream = origin.accept()
    for number in range(5):
        assert upstream.read_message().line == f"GET /{number} HTTP/1.1"
        upstream.send(answer("200 OK", body=b"x" * number))
        assert client.read_message().body == b"x" * number
        if number < 4:
            client.send(request(f"GET /{number + 1}"))  # the plain way: a connection to its upstream is there already
    assert not origin.has_visitor()


def test_a_websocket_passes_byte_for_byte(gateway: Gateway, origin: Origin, authority: Authority) -> None:
    client, upstream = tunnel(gateway, origin, authority)
    sent = frame(2, os.urandom(300_000), mask=b"abcd")
    sender = client.send_later(sent)
    assert upstream.read(len(sent)) == sent
    sender.join(DEADLINE)
    back = frame(2, os.urandom(300_000))
    sender = upstream.send_later(back)
    assert client.read(len(back)) == back
    sender.join(DEADLINE)
    small = frame(1, b"behind it", mask=b"abcd")
    client.send(small)
    assert upstream.read(len(small)) == small
    client.close()
    assert upstream.read_to_end() == b""


def test_an_end_that_meets_data_on_its_way_costs_nothing(authority: Authority, files: dict[str, str]) -> None:
    """What ``say_end`` is for, against OpenSSL itself: the other side has data under way, and more to say."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["certificate"], files["key"])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = threading.Thread(target=lambda: made.append(TlsSocket(theirs, context)), name="server")
        made: list[TlsSocket] = []
        server.start()
        client = TlsSocket(ours, authority.client(), "localhost")
        server.join(DEADLINE)
        made[0].sendall(b"under way, ")
        client.end()
        assert made[0].recv(100) == b""
        made[0].sendall(b"and more")
        made[0].end()
        assert b"".join(iter(lambda: client.recv(100), b"")) == b"under way, and more"


def test_a_tunnel_whose_two_ends_leave_together_ends(gateway: Gateway, origin: Origin, authority: Authority) -> None:
    for number in range(20):
        client, upstream = tunnel(gateway, origin, authority, f"/together/{number}")
        client.send(frame(1, b"hello", mask=b"abcd"))
        assert upstream.read(11)
        client.close()
        upstream.close()
        gateway.process.wait_for(rf'"GET /together/{number}" 101 tunnel closed')


def test_a_name_that_is_not_the_gateways_is_no_reason_to_refuse(
    gateway: Gateway, origin: Origin, authority: Authority
) -> None:
    context = authority.client()
    context.check_hostname = False
    for name in ("elsewhere.test", None):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=DEADLINE) as sock:
            with context.wrap_socket(sock, server_hostname=name) as met:
                assert met.version() == "TLSv1.3"


PAGE = b"""<!doctype html><title>waiting</title><script>
const socket = new WebSocket(`wss://${location.host}/live`)
socket.onopen = () => socket.send("hello")
socket.onmessage = async (event) => {
  const said = await (await fetch("/said")).text()
  document.title = `${event.data} ${said} ${location.protocol}`
}
</script>"""


@pytest.mark.browser
def test_a_browser_opens_the_page_and_its_websocket(tmp_path: Path, files: dict[str, str], chromium: Browser) -> None:
    def play(wire: Wire) -> None:
        while True:
            asked = Message(wire.read_head())
            if "Upgrade" in asked.names:
                wire.send(switching(key=asked.get("Sec-WebSocket-Key").encode()))
                wire.send(frame(1, wire.read_frame().payload.upper()))
                wire.read_to_end()
                return
            body = b"and how" if "/said" in asked.line else PAGE
            wire.send(answer("200 OK", "Content-Type: text/html", body=body))

    with serving(play) as url, running_gateway(tmp_path, dash=url, tls=files) as gateway:
        context = chromium.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.goto(f"https://localhost:{gateway.port}/")
        page.wait_for_function("document.title != 'waiting'", timeout=20_000)
        assert page.title() == "HELLO and how https:"
        context.close()


def test_a_client_that_does_not_answer_the_end_of_tls_holds_no_stop(
    tmp_path: Path, origin: Origin, authority: Authority, files: dict[str, str]
) -> None:
    with running_gateway(tmp_path, dash=origin.url, tls=files) as gateway:
        client = dial(gateway, authority)
        client.send(request("GET /"))
        upstream = origin.accept()
        upstream.read_message()
        upstream.send(answer("200 OK", body=b"hi"))
        assert client.read_message().body == b"hi"
        began = time.monotonic()
        assert gateway.process.stop() == 0
        assert time.monotonic() - began < 10, "half of the time that a drain has"


# -- how it ends


def test_the_end_of_either_side_is_the_end_of_a_tunnel(gateway: Gateway, origin: Origin, authority: Authority) -> None:
    client, upstream = tunnel(gateway, origin, authority)
    client.send(frame(1, b"last", mask=b"abcd"))
    say_end(client)
    assert upstream.read_frame().payload == b"last"
    assert upstream.read_to_end() == b""

    client, upstream = tunnel(gateway, origin, authority)
    upstream.send(frame(1, b"last"))
    upstream.end()
    assert client.read_frame().payload == b"last"
    assert client.read_to_end() == COME_BACK
    assert "has no effect when using ssl" not in gateway.process.output


@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_client_that_vanishes_without_a_word_ends_its_tunnel(
    gateway: Gateway, origin: Origin, authority: Authority, how: str
) -> None:
    client, upstream = tunnel(gateway, origin, authority)
    if how == "end":
        raw = client.sock.detach()
        socket.socket(fileno=raw).close()
    else:
        client.reset()
    assert upstream.read_to_cut()[0] == b""


def test_when_the_gateway_closes_the_close_frame_and_the_end_arrive(
    tmp_path: Path, origin: Origin, authority: Authority, files: dict[str, str]
) -> None:
    with running_gateway(tmp_path, dash=origin.url, tls=files) as gateway:
        client, upstream = tunnel(gateway, origin, authority)
        gateway.process.send(signal.SIGTERM)
        closing = client.read_frame()
        assert (closing.opcode, closing.payload[:2]) == (8, (1012).to_bytes(2, "big"))
        client.send(frame(8, closing.payload, mask=b"abcd"))
        assert client.read_to_end() == b""
        upstream.read_to_cut()
        assert gateway.process.wait() == 0


# -- those who mean no good


def test_plain_http_is_told_where_it_is(gateway: Gateway) -> None:
    said = gateway.ask(request("GET /"))
    assert said.status == 400
    assert b"https://" in said.body


def test_silent_clients_and_garbage_cost_little_and_disturb_no_other_client(
    gateway: Gateway, origin: Origin, authority: Authority
) -> None:
    process = psutil.Process(gateway.process.pid)
    dial(gateway, authority).close()
    before = process.memory_info().rss
    silent = [gateway.dial() for _ in range(300)]
    for number in range(100):
        gateway.dial().send((b"\x16\x03\x01\x02\x00garbage" if number % 2 else b"\x00") * 20)
    client = dial(gateway, authority)
    client.send(request("GET /"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", body=b"hi"))
    assert client.read_message().body == b"hi"
    assert process.memory_info().rss - before < 8 * MIB  # with TLS state for each it would be more than twice that
    for wire in silent:
        assert wire.read_to_cut()[0] == b""  # behind timeouts.head
    assert len(re.findall("was closed: TLS failed", gateway.process.output)) <= 1


def client_hello(padding: int) -> bytes:
    """Return the records of a ClientHello, Python's own, padded with so many bytes (RFC 7685)."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    body = outgoing.read()[9:]
    at = 34  # behind the version and the random: session, suites, compression, and then the extensions' size
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at : at + 2], "big")
    at += 1 + body[at]
    size = int.from_bytes(body[at : at + 2], "big") + 4 + padding
    body = (
        body[:at] + size.to_bytes(2, "big") + body[at + 2 :] + b"\0\x15" + padding.to_bytes(2, "big") + bytes(padding)
    )
    message = b"\1" + len(body).to_bytes(3, "big") + body
    pieces = [message[start : start + 16384] for start in range(0, len(message), 16384)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize(
    ("padding", "left_out"),
    [(60_000, 10), (15_000, 10), (15_000, 0)],
    ids=["too large", "as large as may be and not finished", "as large as may be and then nothing"],
)
def test_unfinished_handshakes_of_one_client_hold_little_and_it_is_given_back(
    gateway: Gateway, origin: Origin, authority: Authority, padding: int, left_out: int
) -> None:
    """Before, each of them held 57 to 474 KiB (issue 9, A15)."""
    hello = client_hello(padding)
    hello = hello[: len(hello) - left_out]
    dial(gateway, authority).close()
    process = psutil.Process(gateway.process.pid)
    before, files = process.memory_info().rss, process.num_fds()
    crowd = [gateway.dial() for _ in range(400)]
    for wire in crowd:
        with suppress(OSError):  # it may be closed already
            wire.send(hello)
    neighbour = socket.create_connection(("127.0.0.1", gateway.port), DEADLINE, ("127.0.0.2", 0))
    client = Wire(authority.client().wrap_socket(neighbour, server_hostname="localhost"))
    client.send(request("GET /"))
    upstream = origin.accept()
    upstream.read_message()
    upstream.send(answer("200 OK", body=b"hi"))
    assert client.read_message().body == b"hi"
    assert process.memory_info().rss - before < 8 * MIB, "more than 20 KiB each"
    for wire in crowd:
        wire.read_to_cut()  # behind timeouts.head at the latest
    client.close()
    upstream.close()
    dial(gateway, authority).close()
    deadline = time.monotonic() + DEADLINE
    while process.num_fds() > files + 1:
        assert time.monotonic() < deadline, "connections that have ended are still open"
        time.sleep(0.01)  # only /proc tells


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl; on Debian: apt install openssl")
def test_openssls_client_is_refused_what_is_unsafe(gateway: Gateway) -> None:
    def client(*options: str, say: str = "") -> str:
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", *options]
        ran = subprocess.run(argv, input=say, capture_output=True, text=True, timeout=DEADLINE, check=False)
        return ran.stdout + ran.stderr

    assert "Protocol  : TLSv1.2" in client("-tls1_2")
    for version in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in client(version, "-cipher", "DEFAULT:@SECLEVEL=0")
    assert "no renegotiation" in client("-tls1_2", say="R\n").lower()
    assert "ALPN protocol: http/1.1" in client("-alpn", "h2,http/1.1")


def test_a_client_that_does_not_read_holds_little_memory(
    gateway: Gateway, origin: Origin, authority: Authority
) -> None:
    process = psutil.Process(gateway.process.pid)
    for _ in range(2):  # the first one also pays for what the process takes once
        client, upstream = tunnel(gateway, origin, authority, receive_buffer=16384)
        before = process.memory_info().rss
        upstream.sock.setblocking(False)
        sent, piece = 0, frame(2, bytes(MIB))
        while sent < 64 * MIB:
            try:
                sent += upstream.sock.send(piece)
            except BlockingIOError:
                if not wait_writable(upstream.sock, 0.5):
                    break
        assert sent < 32 * MIB, "nothing was held back"
        growth = process.memory_info().rss - before
        client.close()
    assert growth < 4 * MIB


def wait_writable(sock: socket.socket, seconds: float) -> bool:
    from select import select

    return bool(select([], [sock], [], seconds)[1])


# -- mistakes in the files


def start(folder: Path, tls: dict[str, str], *words: str) -> tuple[int, str]:
    port, admin = free_ports(2)
    path = folder / "config.yaml"
    path.write_text(
        f"gateway:\n  listen: 127.0.0.1:{port}\n  admin: 127.0.0.1:{admin}\n  handoff: off\n"
        f"  tls:\n    certificate: {tls['certificate']}\n    key: {tls['key']}\n"
    )
    argv = python("-m", "proxy", *words, "--config", path)
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("words", [("check",), ()])
def test_a_key_that_cannot_be_used_is_named_before_anything_starts(tmp_path: Path, words: tuple[str, ...]) -> None:
    authority = Authority(tmp_path)
    files = authority.issue()
    encrypt(Path(files["key"]))
    code, said = start(tmp_path, files, *words)
    assert code == 2
    assert re.search(r"config\.yaml:7:\d+: gateway\.tls\.key: .*server\.key is encrypted", said)
    assert "Traceback" not in said


# -- to upstreams


@contextmanager
def tls_origin(files: dict[str, str]) -> Iterator[Origin]:
    """An upstream that speaks TLS, and has tickets to give for the next session as OpenSSL does."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["certificate"], files["key"])

    class Secured(Origin):
        def accept(self) -> Wire:
            wire = super().accept()
            wire.sock = cast(socket.socket, TlsSocket(wire.sock, context))
            return wire

    with Secured() as origin:
        origin.url = f"https://localhost:{origin.port}"
        yield origin


@contextmanager
def towards(folder: Path, origin: Origin, authority: Authority | None, **settings: object) -> Iterator[Gateway]:
    known = {} if authority is None else {"upstream_ca": str(authority.file)}
    with running_gateway(folder, dash=origin.url, **known, **settings) as gateway:
        yield gateway
        gateway.hang_up()
        origin.hang_up()


def test_an_https_upstream_is_asked_again_on_the_same_connection(
    tmp_path: Path, authority: Authority, files: dict[str, str]
) -> None:
    with tls_origin(files) as origin, towards(tmp_path, origin, authority) as gateway:
        client = gateway.dial()
        client.send(request("GET /0"))
        upstream = origin.accept()
        ways: list[tuple[str, ...]] = [(), ("Accept: */*",), ("TE: trailers", "Connection: TE"), ()]
        for number, fields in enumerate(ways * 3, 1):
            assert upstream.read_message().line == f"GET /{number - 1} HTTP/1.1"
            upstream.send(answer("200 OK", body=b"y" * 100_000))
            assert client.read_message().body == b"y" * 100_000
            client.send(request(f"GET /{number}", *fields))
        assert upstream.read_message().line == "GET /12 HTTP/1.1"
        assert not origin.has_visitor()


@pytest.mark.parametrize("names", [("elsewhere.test",), None])
def test_an_upstream_that_is_not_who_it_should_be_is_not_spoken_to(
    tmp_path: Path, authority: Authority, names: tuple[str, ...] | None
) -> None:
    issued = (Authority(tmp_path) if names is None else authority).issue(*(names or ()), file="wrong")
    with serving(lambda wire: shake(wire, issued)) as url:
        with running_gateway(
            tmp_path, dash=url.replace("http://127.0.0.1", "https://localhost"), upstream_ca=str(authority.file)
        ) as gateway:
            for asked in (request("GET /secret"), handshake("/secret")):
                said = gateway.ask(asked)
                assert said.status == 502
                assert said.json()["error"] == "The upstream dash cannot be spoken to safely." or (
                    said.json()["error"] == "The upstream ws cannot be spoken to safely."
                )
                assert b"certificate verify" not in said.body
            gateway.process.wait_for(r"certificate verify failed: .*; gateway.upstream_ca names the authorities")


def shake(wire: Wire, files: dict[str, str]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["certificate"], files["key"])
    with context.wrap_socket(wire.sock, server_side=True) as met:
        assert met.recv(1) == b"", "not a byte may be sent"


def test_an_upstream_that_speaks_no_tls_is_said_to_speak_none(tmp_path: Path, authority: Authority) -> None:
    def play(wire: Wire) -> None:
        wire.read_some()
        wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(play) as url:
        with running_gateway(tmp_path, dash=url.replace("http://127.0.0.1", "https://localhost")) as gateway:
            assert gateway.ask(request("GET /")).status == 502
            gateway.process.wait_for(r"TLS failed: wrong version number")


def test_a_websocket_reaches_an_https_upstream(tmp_path: Path, authority: Authority, files: dict[str, str]) -> None:
    with tls_origin(files) as origin, towards(tmp_path, origin, authority, tls=files) as gateway:
        client = dial(gateway, authority)
        client.send(handshake("/live") + frame(1, b"early", mask=b"abcd"))
        upstream = origin.accept()
        upstream.read_head()
        upstream.send(switching() + frame(1, b"at once"))
        client.read_head()
        assert client.read_frame().payload == b"at once"
        assert upstream.read_frame().payload == b"early"
        for payload in (b"a", b"b" * 200_000):
            sender = upstream.send_later(frame(2, payload))
            assert client.read_frame().payload == payload
            sender.join(DEADLINE)
        say_end(upstream)
        assert client.read_to_end() == COME_BACK


def test_what_an_https_upstream_says_unasked_is_nobodys_answer(
    tmp_path: Path, authority: Authority, files: dict[str, str]
) -> None:
    unasked = answer("200 OK", body=b"poison")
    with tls_origin(files) as origin, towards(tmp_path, origin, authority) as gateway:
        for number in range(10):
            client = gateway.dial()
            client.send(request("GET /"))
            upstream = origin.accept()
            upstream.read_message()
            if number % 2:
                upstream.send(answer("200 OK", body=b"right") + unasked)
            else:
                gateway.pause()  # both are there when it looks next
                upstream.send(answer("200 OK", body=b"right"))
                upstream.send(unasked)
                client.send(request("GET /next"))
                gateway.resume()
            assert client.read_message().body == b"right"
            if number % 2:
                client.send(request("GET /next"))
            second = origin.accept()
            assert second.read_message().line == "GET /next HTTP/1.1"
            second.send(answer("200 OK", "Connection: close", body=b"right, too"))
            assert client.read_message().body == b"right, too"
            client.close()


def test_a_body_that_is_cut_off_is_not_taken_for_the_whole(
    tmp_path: Path, authority: Authority, files: dict[str, str]
) -> None:
    """RFC 9112, section 9.8: without close_notify anybody on the way may have cut the connection."""
    with tls_origin(files) as origin, towards(tmp_path, origin, authority) as gateway:
        for is_whole in (True, False):
            client = gateway.dial()
            client.send(request("GET /"))
            upstream = origin.accept()
            upstream.read_message()
            upstream.send(answer("200 OK", body=None) + b"so far")
            said = Message(client.read_head())
            assert said.get("transfer-encoding") == "chunked"
            assert client.read_chunk() == b"so far"
            if is_whole:
                say_end(upstream)
                assert client.read_chunk() == b""
            else:
                upstream.close()
                assert client.read_to_cut()[0] == b""


def test_a_slow_client_gets_the_whole_answer_of_an_upstream_that_has_closed(
    tmp_path: Path, authority: Authority, files: dict[str, str]
) -> None:
    body = os.urandom(3 * MIB)
    with tls_origin(files) as origin, towards(tmp_path, origin, authority) as gateway:
        client = gateway.dial(receive_buffer=16384)
        client.send(request("GET /"))
        upstream = origin.accept()
        upstream.read_message()
        sender = threading.Thread(
            target=lambda: (upstream.send(answer("200 OK", "Connection: close", body=body)), upstream.close())
        )
        sender.start()
        head = client.read_head()
        assert b"Content-Length: %d\r\n" % len(body) in head
        for _ in range(20):
            threading.Event().wait(0.02)  # slower than the upstream, so that its end comes before its body is through
            client.read(4096)
        assert client.read(len(body) - 20 * 4096) == body[20 * 4096 :]
        sender.join(DEADLINE)
