"""Clients that send TLS in which nothing is said are cut; those that say something, however little, are not."""

from __future__ import annotations

import _ssl
import ctypes
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.system.gateway import Gateway, running_gateway, serving
from tests.wire.connection import Wire
from tests.wire.messages import answer, request

_OPENSSL = ctypes.CDLL(_ssl.__file__)
_OPENSSL.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
_OPENSSL.SSL_do_handshake.argtypes = [ctypes.c_void_p]

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was received"),
]


class Client:
    """A TLS client with its records in hand."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls = context.wrap_bio(self._in, self._out)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                wire.send(self._out.read())
                self._in.write(wire.sock.recv(65536))
        wire.send(self._out.read())
        # CPython keeps OpenSSL's object behind the head of its own and a reference to its socket.
        self._pointer = ctypes.c_void_p.from_address(id(self._tls._sslobj) + 24).value  # type: ignore[attr-defined]

    def update_keys(self, count: int) -> None:
        """Ask for new keys, and for an answer to that, so often."""
        for _ in range(count):
            assert _OPENSSL.SSL_key_update(self._pointer, 1) == 1
            _OPENSSL.SSL_do_handshake(self._pointer)
        self.wire.send(self._out.read())

    def say(self, data: bytes, record: int) -> None:
        """Send data in records of so many bytes."""
        for start in range(0, len(data), record):
            self._tls.write(data[start : start + record])
        self.wire.send(self._out.read())

    def hear(self) -> bytes:
        """Wait for some of what the server says."""
        while True:
            with suppress(ssl.SSLWantReadError):
                return self._tls.read(65536)
            self._in.write(self.wire.sock.recv(65536))


def play(wire: Wire) -> None:
    while True:
        size = len(wire.read_message().body)
        wire.send(answer("200 OK", body=b"%d" % size))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    tls = Authority(tmp_path).issue()
    with serving(play) as dash, running_gateway(tmp_path, dash=dash, tls=tls, timeouts={"drain": "1s"}) as gateway:
        yield gateway


@pytest.mark.parametrize("reads", [False, True])
def test_a_client_that_only_changes_its_keys_is_cut(gateway: Gateway, reads: bool) -> None:
    """A million of them, none of their answers read: 22 MiB and a core for as long as it liked."""
    client = Client(gateway.dial(receive_buffer=4096))
    began, updates = time.monotonic(), 0
    client.wire.deadline = 5
    with pytest.raises(OSError):
        while time.monotonic() - began < 20:
            client.update_keys(500)
            updates += 500
            if reads:
                client.wire.sock.settimeout(0)
                with suppress(BlockingIOError):
                    client.wire.sock.recv(1 << 20)
    gateway.process.wait_for(r"a connection from 127\.0\.0\.1 was cut: \d+ bytes of TLS came, and 0 in them")
    assert time.monotonic() - began < 10


def test_a_client_that_says_a_byte_in_each_record_is_heard(gateway: Gateway) -> None:
    client = Client(gateway.dial())
    body = b"x" * 40_000  # 900 KB on the wire
    client.say(request("POST /", f"Content-Length: {len(body)}"), 1 << 14)
    for start in range(0, len(body), 10_000):
        client.say(body[start : start + 10_000], 1)
        time.sleep(0.5)  # the watch looks once a second; what must not happen has no event
    assert client.hear().endswith(b"40000")
    client.say(request("GET /again"), 1)
    assert client.hear().endswith(b"0")
