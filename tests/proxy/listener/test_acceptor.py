"""Connections are accepted: with a PROXY header or none, with TLS or none, or not at all for a while."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Limits, Settings, Tls
from proxy.listener.acceptor import Acceptor, AcceptorOptions
from proxy.net.client_limits import ClientLimits, Slot
from proxy.net.connection_limiter import ConnectionLimiter
from proxy.net.peer import Peer
from proxy.net.tls import server_context
from tests.certificates import Authority
from tests.processes import no_descriptor_left

LOOPBACK = (ip_network("127.0.0.0/8"),)
ELSEWHERE = (ip_network("192.0.2.0/24"),)
HEADER = b"PROXY TCP4 198.51.100.7 192.0.2.1 56324 443\r\n"
BINARY = bytes.fromhex("0d0a0d0a000d0a515549540a2111000cc6336407c0000201dc0401bb")

OPTIONS = AcceptorOptions(timeout=10, proxies=None, tls=None)


class Echo(asyncio.Protocol):
    """Notes what it hears, and echoes it."""

    def __init__(self, accepted: Accepted, announced: Peer | None, slot: Slot | None) -> None:
        self._accepted = accepted
        self._announced = announced
        self._slot = slot

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._accepted.announced.append(self._announced)
        self._accepted.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._slot is not None:
            self._slot.release()
        self._accepted.one_ended.set()


class Accepted:
    """What an acceptor has accepted."""

    def __init__(self, acceptor: Acceptor, port: int) -> None:
        self.acceptor = acceptor
        self.port = port
        self.announced: list[Peer | None] = []
        self.transports: list[asyncio.BaseTransport] = []
        self.one_ended = asyncio.Event()

    def dial(self, source: str = "127.0.0.1") -> Client:
        return Client(self.port, source)


class Client:
    """A client that sends raw bytes."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        self.sock.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def read(self, size: int = 65536) -> bytes:
        async with asyncio.timeout(10):
            return await self._loop.sock_recv(self.sock, size)

    async def is_closed(self) -> bool:
        try:
            return await self.read() == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.sock.close()


def any_number() -> ConnectionLimiter:
    return ConnectionLimiter(
        ClientLimits(), Settings.model_validate({"limits": {"connections_per_client": None}}), 20_000
    )


@asynccontextmanager
async def accepting(*, limiter: ConnectionLimiter | None = None, **options: Any) -> AsyncIterator[Accepted]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        acceptor = Acceptor(
            [listener], lambda peer, slot: Echo(place, peer, slot), limiter or any_number(), **OPTIONS | options
        )
        place = Accepted(acceptor, listener.getsockname()[1])
        try:
            yield place
        finally:
            acceptor.close()
            await acceptor.wait_closed()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the log says; no task and no callback may have failed unseen."""
    with caplog.at_level(logging.WARNING):
        yield lambda: [record.getMessage() for record in caplog.records]
    assert not [record for record in caplog.records if record.name == "asyncio"]


Warnings = Callable[[], list[str]]


async def test_a_connection_is_accepted_as_it_is(warnings: Warnings) -> None:
    async with accepting() as place:
        with closing(place.dial()) as client:
            await client.send(b"hello")
            assert await client.read() == b"hello"
        assert place.announced == [None]
    assert not warnings()


@pytest.mark.parametrize("option", ["TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"])
async def test_tcp_asks_whether_a_client_is_still_there(option: str) -> None:
    async with accepting() as place:
        with closing(place.dial()) as client:
            await client.send(b"hello")
            assert await client.read() == b"hello"
            (transport,) = place.transports
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert 0 < sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) <= 15


async def test_each_piece_is_sent_to_a_client_at_once() -> None:
    async with accepting() as place:
        with closing(place.dial()) as client:
            await client.send(b"hello")
            assert await client.read() == b"hello"
            (transport,) = place.transports
            sock = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("header", [HEADER, BINARY])
@pytest.mark.parametrize("cut", [0, 1, 5, 15, 27])
async def test_after_a_proxy_header_comes_the_client_and_not_a_byte_is_lost(header: bytes, cut: int) -> None:
    async with accepting(proxies=LOOPBACK) as place:
        with closing(place.dial()) as client:
            if cut:
                await client.send(header[:cut])
                await asyncio.sleep(0.01)  # so that it comes in pieces; whether it does changes nothing
            await client.send(header[cut:] + b"hello")
            assert await client.read() == b"hello"
        assert place.announced == [Peer("198.51.100.7")]


async def test_a_proxy_that_speaks_for_itself_is_the_client(warnings: Warnings) -> None:
    async with accepting(proxies=LOOPBACK) as place:
        with closing(place.dial()) as client:
            await client.send(BINARY[:12] + b"\x20\x00\x00\x00hello")
            assert await client.read() == b"hello"
        assert place.announced == [Peer("127.0.0.1")]


async def test_a_peer_that_is_not_trusted_may_send_no_proxy_header(warnings: Warnings) -> None:
    async with accepting(proxies=ELSEWHERE) as place:
        for _ in range(3):
            with closing(place.dial()) as client:
                await client.send(HEADER + b"hello")
                assert await client.is_closed()
        assert not place.announced
    assert warnings() == [
        "a connection from 127.0.0.1 was closed: only those in gateway.trusted_proxies may send a PROXY header"
    ]


async def test_what_is_no_proxy_header_closes_the_connection_and_is_logged_once(warnings: Warnings) -> None:
    async with accepting(proxies=LOOPBACK) as place:
        for _ in range(3):
            with closing(place.dial()) as client:
                await client.send(b"GET / HTTP/1.1\r\n\r\n")
                assert await client.is_closed()
        assert not place.announced
    assert warnings() == ["a connection from 127.0.0.1 was closed: it does not begin with a PROXY header"]


@pytest.mark.parametrize("begins", [b"", b"PROXY TCP4 "])
async def test_a_connection_whose_header_does_not_end_is_closed(begins: bytes, warnings: Warnings) -> None:
    async with accepting(proxies=LOOPBACK, timeout=0.05) as place:
        with closing(place.dial()) as client:
            await client.send(begins)
            assert await client.is_closed()
        assert not place.announced
    assert not warnings()


async def test_a_reload_changes_the_timeout_and_the_proxies_for_connections_that_come_then() -> None:
    async with accepting(proxies=LOOPBACK, timeout=0.2) as place:
        with closing(place.dial()) as before, closing(place.dial()) as another, closing(place.dial()) as untrusted:
            await another.send(HEADER + b"hello")
            assert await another.read() == b"hello"  # those that were dialled before it are accepted
            place.acceptor.reconfigure(**OPTIONS | {"proxies": LOOPBACK})
            with closing(place.dial()) as later:
                assert await before.is_closed()
                await later.send(HEADER + b"hello")
                assert await later.read() == b"hello"
            assert await untrusted.is_closed()
        place.acceptor.reconfigure(**OPTIONS | {"proxies": ELSEWHERE})
        with closing(place.dial()) as untrusted:
            await untrusted.send(HEADER + b"hello")
            assert await untrusted.is_closed()


async def test_a_client_that_leaves_before_it_has_sent_anything_leaves_nothing(warnings: Warnings) -> None:
    async with accepting(proxies=LOOPBACK) as place:
        place.dial().close()
        with closing(place.dial()) as client:
            await client.send(HEADER + b"hello")
            assert await client.read() == b"hello"
        assert place.announced == [Peer("198.51.100.7")]
    assert not warnings()


async def test_the_header_counts_on_a_unix_socket_as_well(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "gateway.sock"))
        listener.listen()
        listener.setblocking(False)
        acceptor = Acceptor(
            [listener], lambda peer, slot: Echo(place, peer, slot), any_number(), **OPTIONS | {"proxies": ("unix",)}
        )
        place = Accepted(acceptor, 0)
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "gateway.sock"))
        writer.write(HEADER)
        await greet(reader, writer)
        assert place.announced == [Peer("198.51.100.7")]
        writer.transport.abort()
        acceptor.close()


# -- TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def certificate(authority: Authority) -> ssl.SSLContext:
    return server_context(Tls(**authority.issue()))


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(10):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"


async def test_tls_is_spoken(authority: Authority, certificate: ssl.SSLContext, warnings: Warnings) -> None:
    async with accepting(tls=certificate) as place:
        reader, writer = await asyncio.open_connection("localhost", place.port, ssl=authority.client())
        await greet(reader, writer)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.transport.abort()
    assert not warnings()


@pytest.mark.parametrize("header", [HEADER, BINARY])
async def test_the_proxy_header_comes_before_tls(
    authority: Authority, certificate: ssl.SSLContext, header: bytes
) -> None:
    async with accepting(tls=certificate, proxies=LOOPBACK) as place:
        client = place.dial()
        await client.send(header)
        reader, writer = await asyncio.open_connection(
            sock=client.sock, ssl=authority.client(), server_hostname="localhost"
        )
        await greet(reader, writer)
        assert place.announced == [Peer("198.51.100.7")]
        writer.transport.abort()


async def test_a_client_that_speaks_http_is_told_to_use_https(certificate: ssl.SSLContext, warnings: Warnings) -> None:
    async with accepting(tls=certificate) as place:
        with closing(place.dial()) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = await client.read()
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert f"Content-Length: {len(body)}".encode() in head
            assert b"https://" in body
            assert await client.is_closed()
    assert not warnings()


@pytest.mark.parametrize("garbage", [b"\x00\x01\x02", b"SSH-2.0-x\r\n", b"\x80\x2e\x01\x03\x01"])
async def test_what_is_neither_tls_nor_http_is_closed_without_a_log_line(
    certificate: ssl.SSLContext, garbage: bytes, warnings: Warnings
) -> None:
    async with accepting(tls=certificate) as place:
        with closing(place.dial()) as client:
            await client.send(garbage)
            assert await client.is_closed()
    assert not warnings()


async def test_a_handshake_that_fails_is_one_line_however_often(
    authority: Authority, certificate: ssl.SSLContext, warnings: Warnings
) -> None:
    async with accepting(tls=certificate) as place:
        for _ in range(3):
            with closing(place.dial()) as client:
                await client.send(b"\x16\x03\x01\x00\x05garbage")
                assert await client.is_closed()
        assert not place.announced
    (line,) = warnings()
    assert line.startswith("a connection from 127.0.0.1 was closed: TLS failed: ")
    assert "_ssl.c" not in line


async def test_a_client_that_is_too_old_is_refused(authority: Authority, certificate: ssl.SSLContext) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with accepting(tls=certificate) as place:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", place.port, ssl=old)
        assert not place.announced


@pytest.mark.parametrize("begins", [b"", b"\x16", b"\x16\x03\x01"])
async def test_a_handshake_that_does_not_end_is_closed(
    certificate: ssl.SSLContext, begins: bytes, warnings: Warnings
) -> None:
    async with accepting(tls=certificate, timeout=0.05) as place:
        with closing(place.dial()) as client:
            await client.send(begins)
            assert await client.is_closed()
        assert not place.announced
    assert not warnings()


def client_hello() -> bytes:
    """Return the ClientHello of Python's own client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def test_a_hello_may_come_byte_by_byte_and_in_a_few_records(
    authority: Authority, certificate: ssl.SSLContext, warnings: Warnings
) -> None:
    hello = client_hello()[5:]
    cuts = (0, 1, 3, 4, 200, len(hello))
    data = b"".join(b"\x16\x03\x01" + (b - a).to_bytes(2, "big") + hello[a:b] for a, b in pairwise(cuts))
    async with accepting(tls=certificate) as place:
        with closing(place.dial()) as client:
            client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in data:
                await client.send(bytes((byte,)))
                await asyncio.sleep(0)
            assert (await client.read())[:1] == b"\x16", "the server's flight"
    assert not warnings()


async def test_a_hello_that_is_too_large_is_refused_from_its_first_bytes(
    certificate: ssl.SSLContext, warnings: Warnings
) -> None:
    async with accepting(tls=certificate) as place:
        for _ in range(3):
            with closing(place.dial()) as client:
                await client.send(b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfd")
                assert await client.is_closed()
    assert warnings() == [
        "a connection from 127.0.0.1 was closed: TLS failed: its ClientHello has 16385 bytes, more than 16384"
    ]


@pytest.mark.parametrize("part", [9, -1])
async def test_a_client_that_ends_in_the_middle_of_a_hello_is_closed_at_once(
    certificate: ssl.SSLContext, part: int, warnings: Warnings
) -> None:
    async with accepting(tls=certificate) as place:
        with closing(place.dial()) as client:
            await client.send(client_hello()[:part])
            client.sock.shutdown(socket.SHUT_WR)
            assert await client.is_closed()
    assert not warnings()


async def test_of_one_client_few_handshakes_are_under_way_and_the_next_waits_for_its_turn(
    authority: Authority, certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.listener.acceptor._TLS_HANDSHAKES", 2)
    hello = client_hello()
    client_limits = ClientLimits()
    limiter = ConnectionLimiter(client_limits, Settings(), 1024)
    async with accepting(tls=certificate, limiter=limiter) as place:
        taken = [place.dial(), place.dial()]
        for client in taken:
            await client.send(hello)
            assert await client.read()
        with closing(place.dial()) as waiting, closing(place.dial("127.0.0.2")) as another:
            await waiting.send(hello)
            await another.send(hello)
            assert await another.read(), "another client has its own"
            with pytest.raises(BlockingIOError):
                waiting.sock.recv(1)
            assert client_limits.connections.total == 4, "one that waits counts as a connection"
            taken[0].close()
            assert await waiting.read(), "its turn has come"
        taken[1].close()


async def test_a_handshake_that_waits_for_its_turn_has_no_more_time_than_others(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.listener.acceptor._TLS_HANDSHAKES", 1)
    hello = client_hello()
    limiter = ConnectionLimiter(ClientLimits(), Settings(), 1024)
    loop = asyncio.get_running_loop()
    async with accepting(tls=certificate, limiter=limiter, timeout=0.3) as place:
        began = loop.time()
        with closing(place.dial()) as first, closing(place.dial()) as second:
            for client in (first, second):
                await client.send(hello)
            assert await first.read()
            assert await first.is_closed()
            assert await second.is_closed()
        assert loop.time() - began < 2
        with closing(place.dial()) as third:
            await third.send(hello)
            assert await third.read(), "nothing is taken any more"


async def test_a_trusted_proxy_has_any_number_of_handshakes(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.listener.acceptor._TLS_HANDSHAKES", 1)
    limiter = ConnectionLimiter(ClientLimits(), Settings(trusted_proxies=("127.0.0.1",)), 1024)
    async with accepting(tls=certificate, limiter=limiter) as place:
        with closing(place.dial()) as first, closing(place.dial()) as second:
            for client in (first, second):
                await client.send(client_hello())
                assert await client.read()


async def test_the_next_connection_gets_the_new_certificate_and_this_one_goes_on(
    authority: Authority, certificate: ssl.SSLContext
) -> None:
    async with accepting(tls=certificate) as place:
        seen = []
        before = await asyncio.open_connection("localhost", place.port, ssl=authority.client())
        seen.append(before[1].get_extra_info("peercert")["serialNumber"])
        place.acceptor.reconfigure(**OPTIONS | {"tls": server_context(Tls(**authority.issue()))})
        after = await asyncio.open_connection("localhost", place.port, ssl=authority.client())
        seen.append(after[1].get_extra_info("peercert")["serialNumber"])
        assert seen[0] != seen[1]
        await greet(*before)
        await greet(*after)
        for _, writer in (before, after):
            writer.transport.abort()


# -- pauses, and the end


async def test_while_it_is_paused_connections_wait_and_then_they_are_accepted() -> None:
    async with accepting() as place:
        place.acceptor.accepting.pause("full")
        place.acceptor.accepting.pause("tired")
        with closing(place.dial()) as client:
            await client.send(b"hello")
            place.acceptor.accepting.resume("full")
            place.acceptor.accepting.resume("never given")
            for _ in range(10):
                await asyncio.sleep(0)
            assert not place.announced
            place.acceptor.accepting.resume("tired")
            assert await client.read() == b"hello"
            place.acceptor.accepting.resume("tired")
            await client.send(b"again")
            assert await client.read() == b"again"


async def test_without_descriptors_it_pauses_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    monkeypatch.setattr("ws_service.net.accept_loop.PAUSE", 0.02)
    async with accepting() as place:
        with closing(place.dial()) as client:
            with no_descriptor_left():
                await asyncio.sleep(0.1)  # five tries
            await client.send(b"hello")
            assert await client.read() == b"hello"
    (line,) = warnings()
    assert line.startswith("no connection is accepted: this process has no descriptor left, of ")
    assert line.endswith("(LimitNOFILE= in a systemd unit, ulimit -n in a shell), or lower gateway.limits.connections")


@pytest.mark.parametrize("turns", [2, 10])
async def test_an_acceptor_that_closes_ends_the_connections_that_are_pending(
    certificate: ssl.SSLContext, warnings: Warnings, turns: int
) -> None:
    async with accepting(tls=certificate, proxies=LOOPBACK) as place:
        silent, half = place.dial(), place.dial()
        await half.send(HEADER + b"\x16\x03\x01")
        for _ in range(turns):  # of the loop: with the second they are accepted, and nothing more
            await asyncio.sleep(0)
        assert len(place.acceptor) == 2
        place.acceptor.close()
        await place.acceptor.wait_closed()
        for client in (silent, half):
            assert await client.is_closed()
            client.close()
    assert not warnings()


async def test_the_backlog_is_accepted_and_no_connection_after_it() -> None:
    async with accepting() as place:
        place.acceptor.accepting.pause("test")
        waiting = [place.dial() for _ in range(100)]
        place.acceptor.accepting.resume("test")
        place.acceptor.accepting.accept_backlog()
        late = place.dial()
        for client in waiting:
            await client.send(b"hello")
            assert await client.read() == b"hello"
            client.close()
        assert len(place.announced) == 100
        late.close()


# -- limits


class Counted:
    """A connection limiter with limits that a test may change at any time."""

    def __init__(self, most: int | None = None, **limits: int) -> None:
        self.client_limits = ClientLimits()
        settings = self._settings(connections_per_client=most, **limits)
        self.limiter = ConnectionLimiter(self.client_limits, settings, 1024)

    def reconfigure(self, **limits: int | None) -> None:
        self.limiter.reconfigure(self._settings(**limits))

    def _settings(self, **limits: int | None) -> Settings:
        return Settings(limits=Limits(**limits), trusted_proxies=LOOPBACK_PROXY)

    @property
    def count(self) -> int:
        return self.client_limits.connections.total

    def of(self, client: str) -> int:
        return self.client_limits.connections.of(client)

    async def until(self, place: Accepted, count: int) -> None:
        async with asyncio.timeout(10):
            while self.count != count:
                place.one_ended.clear()
                await place.one_ended.wait()


LOOPBACK_PROXY = (ip_network("127.0.0.9"),)


async def is_in(client: Client) -> bool:
    await client.send(b"in?")
    return await client.read() == b"in?"


async def test_a_connection_is_counted_until_it_is_lost() -> None:
    counted = Counted()
    async with accepting(limiter=counted.limiter) as place:
        with closing(place.dial()) as one:
            with closing(place.dial()) as two:
                assert await is_in(one) and await is_in(two)
                assert (counted.count, counted.of("127.0.0.1")) == (2, 2)
            await counted.until(place, 1)
        await counted.until(place, 0)


async def test_a_client_with_too_many_connections_is_told_why_and_another_client_is_accepted(
    warnings: Callable[[], list[str]],
) -> None:
    counted = Counted(most=2)
    async with accepting(limiter=counted.limiter) as place:
        one, two, other = place.dial(), place.dial(), place.dial("127.0.0.2")
        for client in (one, two, other):
            assert await is_in(client)
        for _ in range(3):
            with closing(place.dial()) as refused:
                head, _, body = (await refused.read()).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
                assert b"\r\nRetry-After: 5\r\n" in head and head.endswith(b"Connection: close")
                assert b"Content-Length: %d\r\n" % len(body) in head
                assert await refused.read() == b""
        (line,) = warnings()
        assert "127.0.0.1 has 2 connections, the most that gateway.limits.connections_per_client allows" in line
        two.close()
        await counted.until(place, 2)
        with closing(place.dial()) as again:
            assert await is_in(again)
        one.close()
        other.close()


async def test_before_tls_one_connection_too_many_is_closed_without_an_answer(certificate: ssl.SSLContext) -> None:
    counted = Counted(most=1)
    async with accepting(limiter=counted.limiter, tls=certificate) as place:
        with closing(place.dial()), closing(place.dial()) as two:
            assert await two.is_closed()
            assert counted.of("127.0.0.1") == 1


async def test_a_trusted_proxy_may_have_any_number() -> None:
    counted = Counted(most=1)
    async with accepting(limiter=counted.limiter) as place:
        clients = [place.dial("127.0.0.9") for _ in range(3)]
        for client in clients:
            assert await is_in(client)
            client.close()


async def test_each_client_that_a_proxy_header_names_is_counted_by_itself() -> None:
    counted = Counted(most=1)
    async with accepting(limiter=counted.limiter, proxies=LOOPBACK_PROXY) as place:
        with closing(place.dial("127.0.0.9")) as one:
            await one.send(HEADER)
            assert await is_in(one)
            assert (counted.of("198.51.100.7"), counted.of("127.0.0.9")) == (1, 0)
            with closing(place.dial("127.0.0.9")) as two:
                await two.send(HEADER)
                assert (await two.read()).startswith(b"HTTP/1.1 429 ")
        await counted.until(place, 0)


async def test_a_connection_that_says_nothing_counts_until_it_is_closed(authority: Authority) -> None:
    counted = Counted()
    certificate = server_context(Tls(**authority.issue()))
    async with accepting(limiter=counted.limiter, tls=certificate, timeout=0.05) as place:
        with closing(place.dial()) as silent:
            assert await silent.is_closed()
        assert counted.count == 0


async def test_at_the_limit_the_next_connection_waits_until_one_ends(warnings: Callable[[], list[str]]) -> None:
    counted = Counted(connections=2)
    async with accepting(limiter=counted.limiter) as place:
        one, two, three = place.dial(), place.dial(), place.dial()
        assert await is_in(one) and await is_in(two)
        await three.send(b"in?")
        one.close()
        assert await three.read() == b"in?"
        assert counted.count == 2
        assert counted.client_limits.hits == {"connections": 2}, "once with each pause: three took the place of one"
        assert warnings() == [
            "no connection is accepted: 2 are open; room for 2 connections (gateway.limits.connections)"
        ]
        two.close()
        three.close()


async def test_there_are_never_more_connections_than_the_limit() -> None:
    counted = Counted(connections=5)
    async with accepting(limiter=counted.limiter) as place:
        most = 0
        for client in [place.dial() for _ in range(50)]:
            assert await is_in(client)
            most = max(most, counted.count)
            client.close()
        assert most == 5


async def test_a_reload_that_raises_the_limit_counts_at_once() -> None:
    counted = Counted(connections=1)
    async with accepting(limiter=counted.limiter) as place:
        with closing(place.dial()) as one, closing(place.dial()) as two:
            assert await is_in(one)
            await two.send(b"in?")
            counted.reconfigure(connections=2)
            place.acceptor.resume()
            assert await two.read() == b"in?"
