"""Opening connections: addresses, names, socket files and TLS, and how each of them fails."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Timeouts, Tls
from proxy.errors import Exhausted, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxy.net.tls import upstream_context
from tests.certificates import Authority
from tests.processes import free_port, no_descriptor_left
from tests.proxy.origin import Script, answering, origin
from tests.proxy.upstream.test_connection import OK, ask, upstream

TIMEOUTS = Timeouts()


async def test_a_refused_connection_says_which_upstream_and_what_to_check() -> None:
    port = free_port()
    with pytest.raises(UpstreamUnreachable, match="dash cannot be reached: connection refused") as caught:
        await upstream(f"http://127.0.0.1:{port}").addresses[0].connect(5)
    assert "gateway.upstreams.dash" in caught.value.advice
    assert str(port) not in caught.value.message + caught.value.advice, "addresses are for the log"
    assert str(port) in caught.value.detail


async def test_a_socket_file_that_does_not_exist_is_named() -> None:
    with pytest.raises(UpstreamUnreachable, match="its socket file does not exist"):
        await upstream("unix:/nonexistent/dash.sock").addresses[0].connect(5)


async def test_a_full_backlog_ends_in_a_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), pytest.raises(UpstreamTimeout, match="did not take a connection"):
            up = upstream(f"http://127.0.0.1:{address[1]}")
            for _ in range(8):  # the kernel rounds the backlog up
                await up.addresses[0].connect(0.2)


async def test_a_name_that_is_not_known_is_said_to_be_unknown_and_the_upstream_to_be_unreachable() -> None:
    up = upstream("http://no-such-host.invalid:8050")  # RFC 6761: it never will be
    with pytest.raises(UpstreamUnreachable, match="dash cannot be reached: its host name is not known"):
        await up.addresses[0].connect(5)
    assert up.health.is_unreachable


async def test_a_resolver_that_hangs_is_named_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in: a real one takes a name server that does not answer."""
    over = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        over.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    up = upstream("http://dash.internal:8050")
    for _ in range(3):
        with pytest.raises(UpstreamTimeout, match=r"did not look up its host name within 0\.1 s"):
            await up.addresses[0].connect(0.1)
    over.set()


async def test_the_addresses_of_a_name_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As localhost often is: ::1 first, where nobody listens."""
    silent_address = "192.0.2.1"  # TEST-NET-1, RFC 5737: no answer, or none that helps

    def resolve(*_: Any, **__: Any) -> Any:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in ("127.0.0.3", silent_address, "127.0.0.1")
        ]

    async with origin(answering(OK)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        up = upstream(f"http://dash.internal:{server.port}")
        connection = await up.addresses[0].connect(1)
        assert (await ask(connection)).status == 200
        connection.abort()


async def test_what_keeps_us_from_connecting_is_not_the_upstreams_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a process that has used up its descriptors, because the tests' own need them."""
    up = upstream("http://127.0.0.1:8050")

    async def no_more_files(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_more_files)
    with pytest.raises(Exhausted) as caught:
        await up.acquire(TIMEOUTS)
    assert "too many open files" in caught.value.detail
    assert not up.health.is_unreachable
    assert up.queue.in_flight == 0


async def test_without_a_descriptor_no_upstream_is_to_blame() -> None:
    async with origin(answering(OK)) as server:
        with no_descriptor_left(), pytest.raises(Exhausted) as caught:
            await upstream(server.url).addresses[0].connect(5)
        assert "too many open files" in caught.value.detail
        assert caught.value.headers == ((b"Retry-After", b"1"),)
        connection = await upstream(server.url).addresses[0].connect(5)  # and a moment later it works
        connection.abort()


def to_anything(said: bytes) -> Script:
    """A script that says something to the first bytes that come, whatever they are, and ends."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)

    return script


async def test_plain_http_where_tls_was_named_is_asked_about_and_is_not_waited_for() -> None:
    async with origin(to_anything(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        dash = upstream(server.url.replace("http:", "https:"), context=upstream_context(None))
        with pytest.raises(UpstreamError) as caught:
            await dash.addresses[0].connect(5)
        error = caught.value
        assert (error.status, error.is_transient) == (502, False)
        assert error.message == "The upstream dash cannot be spoken to over TLS."
        assert "does it speak plain HTTP? Then write http:// and not https://." in error.advice
        assert "TLS failed: wrong version number; does it speak plain HTTP?" in error.detail
        assert not dash.health.is_unreachable


async def test_a_certificate_that_is_not_trusted_is_asked_about(tmp_path: Path) -> None:
    files = Tls(**Authority(tmp_path).issue())
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(files.certificate, files.key)
    async with origin(answering(OK), tls=theirs) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(UpstreamError) as caught:
            await upstream(url, context=upstream_context(None)).addresses[0].connect(5)
        assert (caught.value.status, caught.value.is_transient) == (502, False)
        assert caught.value.message == "The upstream dash cannot be spoken to safely."
        assert "is its certificate the right one?" in caught.value.advice
        assert "gateway.upstream_ca names the authorities" in caught.value.detail


async def test_an_upstream_that_ends_a_tls_handshake_may_have_no_tls_and_may_come_back() -> None:
    async with origin(to_anything(b"")) as server:
        dash = upstream(server.url.replace("http:", "https:"), context=upstream_context(None))
        with pytest.raises(UpstreamUnreachable, match="it closed the connection in the TLS handshake") as caught:
            await dash.addresses[0].connect(5)
        assert "is it running, and does it speak TLS?" in caught.value.advice
        assert caught.value.is_transient


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket file")
async def test_a_socket_file_that_this_user_may_not_use_is_asked_about(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "dash.sock"))
        listener.listen()
        (tmp_path / "dash.sock").chmod(0)
        with pytest.raises(UpstreamUnreachable, match="permission denied") as caught:
            await upstream(f"unix:{tmp_path / 'dash.sock'}").addresses[0].connect(5)
    assert "may the user of this process use its socket file?" in caught.value.advice
    assert not caught.value.is_transient


async def test_a_socket_file_of_another_kind_is_said_to_be_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "ws.sock"))
        listener.listen()
        with pytest.raises(UpstreamUnreachable, match="its socket file is of another kind") as caught:
            await upstream(f"unix:{tmp_path / 'ws.sock'}").addresses[0].connect(5)
    assert "is that the socket file of a web server?" in caught.value.advice
    assert not caught.value.is_transient
