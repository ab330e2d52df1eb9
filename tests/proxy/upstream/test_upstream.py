"""One upstream: when a connection is kept, who gets a turn, what is known of it, and how it fails."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy import config
from proxy.config import Limits, Timeouts, Tls
from proxy.errors import (
    Exhausted,
    Stopping,
    UpstreamError,
    UpstreamFull,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.net.tls import upstream_context
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.health import State
from proxy.upstream.upstream import Upstream
from tests.certificates import Authority
from tests.processes import free_port, no_descriptor_left
from tests.proxy.origin import Script, answering, origin, read_head, silent
from tests.proxy.upstream.test_connection import OK, ask, body, upstream


async def test_a_connection_is_used_again_and_the_youngest_first() -> None:
    async with origin(answering(OK, OK, OK)) as server:
        up = upstream(server.url)
        first, second = await up.connect(5), await up.connect(5)
        for connection in (first, second):
            await ask(connection)
            await body(connection)
            up.release(connection)
        assert up.reuse() is second
        assert (await ask(second)).status == 200
        assert await body(second) == b"ok"
        up.release(second)
        up.close()
        await server.wait_closed(2)
        assert server.connections == 2


async def test_a_connection_that_the_upstream_has_closed_is_not_used_again() -> None:
    async with origin(answering(OK, close=True)) as server:
        up = upstream(server.url)
        connection = await up.connect(5)
        await ask(connection)
        await body(connection)
        poll = connection.has_gone_stale
        up.release(connection)
        await server.wait_closed(1)
        while not poll():  # noqa: ASYNC110 - the kernel has the FIN, or will in a moment; it tells nobody else
            await asyncio.sleep(0)
        assert up.reuse() is None


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with origin(answering(OK)) as server:
        up = upstream(server.url, idle=0.05)
        connection = await up.connect(5)
        await ask(connection)
        await body(connection)
        up.release(connection)
        await server.wait_closed(1)
        assert up.idle == 0


async def test_one_that_is_closed_closes_its_idle_connections_and_keeps_none() -> None:
    async with origin(answering(OK, OK)) as server:
        up = upstream(server.url)
        idle, busy = await up.connect(5), await up.connect(5)
        for connection in (idle, busy):
            await ask(connection)
            await body(connection)
        up.release(idle)
        up.close()
        await server.wait_closed(1)
        up.release(busy)
        await server.wait_closed(2)
        assert up.idle == 0


async def test_one_that_is_adapted_keeps_its_idle_connections_by_the_new_time() -> None:
    async with origin(answering(OK)) as server:
        up = upstream(server.url, idle=0.05)
        connection = await up.connect(5)
        await ask(connection)
        await body(connection)
        up.release(connection)
        rest = dict(context=None, limits=Limits(), probes=config.Health(interval=0), path=None)
        up.reconfigure(idle=60, buffer=65536, **rest)  # type: ignore[arg-type]
        await asyncio.sleep(0.1)  # longer than the old time, at whose end there is nothing to see
        assert up.reuse() is connection
        up.release(connection)
        up.reconfigure(idle=0, buffer=65536, **rest)  # type: ignore[arg-type]
        assert up.reuse() is None


async def test_a_connection_in_the_middle_of_an_answer_is_closed_by_its_release() -> None:
    async with origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")) as server:
        up = upstream(server.url)
        connection = await up.connect(5)
        await ask(connection)
        up.release(connection)
        await server.wait_closed(1)
        assert up.idle == 0


async def test_a_refused_connection_says_which_upstream_and_what_to_check() -> None:
    port = free_port()
    with pytest.raises(UpstreamUnreachable, match="dash cannot be reached: connection refused") as caught:
        await upstream(f"http://127.0.0.1:{port}").connect(5)
    assert "gateway.upstreams.dash" in caught.value.advice
    assert str(port) not in caught.value.message + caught.value.advice, "addresses are for the log"
    assert str(port) in caught.value.detail


async def test_a_socket_file_that_does_not_exist_is_named() -> None:
    with pytest.raises(UpstreamUnreachable, match="its socket file does not exist"):
        await upstream("unix:/nonexistent/dash.sock").connect(5)


async def test_a_full_backlog_ends_in_a_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), pytest.raises(UpstreamTimeout, match="did not take a connection"):
            up = upstream(f"http://127.0.0.1:{address[1]}")
            for _ in range(8):  # the kernel rounds the backlog up
                await up.connect(0.2)


async def test_a_connection_that_the_upstream_has_closed_already_is_none() -> None:
    """As a program does that is being stopped. What is sent to it is lost, and nobody can tell."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with origin(leave) as server:
        up = upstream(server.url)
        dial = up._dial

        async def closed(seconds: float) -> UpstreamConnection:
            made = await dial(seconds)
            made.pause_reading()  # so that only the kernel knows
            await server.wait_closed(1)
            while not made.has_ended():  # noqa: ASYNC110 - the kernel has the FIN, or will in a moment
                await asyncio.sleep(0)
            return made

        up._dial = closed  # type: ignore[method-assign]
        with pytest.raises(UpstreamUnreachable, match="closed the connection at once"):
            await up.connect(5)


# -- names


async def test_a_name_that_nobody_knows_is_said_to_be_unknown_and_the_upstream_to_be_away() -> None:
    up = upstream("http://no-such-host.invalid:8050")  # RFC 6761: it never will be
    with pytest.raises(UpstreamUnreachable, match="dash cannot be reached: its host name is not known"):
        await up.connect(5)
    assert up.health.is_away


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
            await up.connect(0.1)
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
        connection = await up.connect(1)
        assert (await ask(connection)).status == 200
        connection.abort()


# -- turns

TIMEOUTS = Timeouts()


def narrow(url: str, *, waiting: int = 10, idle: float = 60) -> Upstream:
    limits = Limits(in_flight=1, waiting=waiting)
    return Upstream("dash", url, idle=idle, buffer=65536, limits=limits)


async def test_an_upstream_gets_no_more_than_it_may_have() -> None:
    async with origin(answering(OK, OK)) as server:
        up = narrow(server.url)
        first = await up.acquire(TIMEOUTS)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="second")
        await asyncio.sleep(0)
        assert (up.room.in_flight, up.room.waiting) == (1, 1)
        await ask(first)
        await body(first)
        up.release(first)
        second = await waiting
        assert second is first, "and it is used again"
        assert up.acquire_at_once() is None
        up.discard(second)
        up.discard(second)
        assert up.room.in_flight == 0


async def test_a_turn_that_does_not_come_is_refused_in_time() -> None:
    async with origin(silent) as server:
        up = narrow(server.url)
        connection = await up.acquire(TIMEOUTS)
        with pytest.raises(UpstreamFull):
            await up.acquire(Timeouts(queue="50ms"))
        up.discard(connection)


async def test_an_attempt_that_fails_gives_its_turn_back() -> None:
    up = narrow(f"http://127.0.0.1:{free_port()}")
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await up.acquire(TIMEOUTS)
    assert up.room.in_flight == 0
    up.close()
    await up.closed()


async def test_an_attempt_that_is_cancelled_gives_its_turn_back() -> None:
    async with origin(silent) as server:
        up = narrow(server.url)
        attempt = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS), name="attempt")
        await asyncio.sleep(0)
        assert up.room.in_flight == 1
        attempt.cancel()
        await asyncio.wait([attempt])
        assert up.room.in_flight == 0


async def test_nobody_overtakes_those_who_wait_with_an_idle_connection() -> None:
    async with origin(answering(OK, OK), answering(OK)) as server:
        up = narrow(server.url)
        connection = await up.acquire(TIMEOUTS)
        waiting = asyncio.get_running_loop().create_task(up.acquire(TIMEOUTS, is_new=True), name="handshake")
        await asyncio.sleep(0)
        await ask(connection)
        await body(connection)
        up.release(connection)
        assert up.idle == 1
        assert up.acquire_at_once() is None
        up.discard(await waiting)
        at_once = up.acquire_at_once()
        assert at_once is connection
        up.discard(at_once)


async def test_a_tunnel_is_not_in_flight() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with origin(answering(answer)) as server:
        up = narrow(server.url)
        connection = await up.acquire(TIMEOUTS, is_new=True)
        await ask(connection, may_switch=True)
        transport, _ = up.detach(connection)
        assert up.room.in_flight == 0
        transport.abort()


async def test_what_keeps_us_from_connecting_is_not_the_upstreams_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a process that has used up its descriptors, because the tests' own need them."""
    up = upstream("http://127.0.0.1:8050")

    async def no_more_files(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_more_files)
    with pytest.raises(Exhausted) as caught:
        await up.acquire(TIMEOUTS)
    assert "too many open files" in caught.value.detail
    assert not up.health.is_away
    assert up.room.in_flight == 0


# -- looking at it


@asynccontextmanager
async def looked_at(url: str, **probes: Any) -> AsyncIterator[Upstream]:
    path = probes.pop("path", None)
    probing = config.Health(**{"interval": "50ms", **probes})
    up = Upstream("dash", url, idle=60, buffer=65536, probes=probing, path=path)
    up.start()
    try:
        yield up
    finally:
        up.close()
        async with asyncio.timeout(5):
            await up.closed()


async def becomes(up: Upstream, state: State) -> None:
    async with asyncio.timeout(10):
        while up.health.state is not state:  # noqa: ASYNC110 - it tells nobody but the log
            await asyncio.sleep(0.005)


async def test_it_is_seen_to_go_and_to_come_back_without_a_single_request() -> None:
    async with origin(silent) as server, looked_at(server.url) as up:
        await becomes(up, State.UP)
        port = server.port
    async with looked_at(f"http://127.0.0.1:{port}") as up:
        await becomes(up, State.AWAY)
        assert up.health.why == "connection refused"
        async with origin(silent, port=port):
            await becomes(up, State.UP)


@pytest.mark.parametrize(("status", "state"), [("200 OK", State.UP), ("302 Found", State.UP)])
async def test_a_path_that_answers_is_well(status: str, state: State) -> None:
    async with origin(answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        async with looked_at(server.url, path="/health") as up:
            await becomes(up, state)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "/helth answered 404"),
        (silent, "/helth did not answer within 0.1 s"),
        (answering(b"SSH-2.0\r\n"), "The upstream dash sent something that is not HTTP"),
    ],
)
async def test_a_path_that_is_wrong_takes_no_upstream_out(script: Script, why: str) -> None:
    async with origin(script) as server, looked_at(server.url, path="/helth", timeout="100ms") as up:
        await becomes(up, State.UNWELL)
        assert up.health.why.startswith(why)
        up.discard(await up.acquire(TIMEOUTS))  # requests go on


async def test_a_port_that_closes_what_it_takes_is_away() -> None:
    """As Docker's proxy does for a container that is down; only a path can tell."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.close()

    async with origin(closing) as server, looked_at(server.url, path="/health") as up:
        await becomes(up, State.AWAY)
        assert up.health.why == "it closes connections without an answer"


async def test_a_probe_says_who_it_is_and_ends_its_connection() -> None:
    heads = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)
        await reader.read()

    async with origin(script) as server, looked_at(server.url, path="/health?deep=1", interval="60s"):
        await server.wait_closed(1)
        host = server.url.partition("://")[2]
        assert heads == [
            f"GET /health?deep=1 HTTP/1.1\r\nHost: {host}\r\nUser-Agent: dash-ws-proxy\r\n"
            "Connection: close\r\n\r\n".encode()
        ]


async def test_a_closed_upstream_holds_nobody() -> None:
    up = upstream(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UpstreamUnreachable):
        await up.connect(5)
    up.close()
    with pytest.raises(Stopping):
        await up.returned(10)
    await up.closed()


async def test_without_a_descriptor_no_upstream_is_to_blame() -> None:
    async with origin(answering(OK)) as server:
        with no_descriptor_left(), pytest.raises(Exhausted) as caught:
            await upstream(server.url).connect(5)
        assert "too many open files" in caught.value.detail
        assert caught.value.headers == ((b"Retry-After", b"1"),)
        connection = await upstream(server.url).connect(5)  # and a moment later it works
        connection.abort()


# -- over TLS; the rest of it is in tests/system/test_tls.py, in uvloop


def to_anything(said: bytes) -> Script:
    """A script that says something to the first bytes that come, whatever they are, and ends."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)

    return script


async def test_plain_http_where_tls_was_named_is_asked_about_and_nobody_waits_for_it() -> None:
    async with origin(to_anything(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        dash = upstream(server.url.replace("http:", "https:"), context=upstream_context(None))
        with pytest.raises(UpstreamError) as caught:
            await dash.connect(5)
        error = caught.value
        assert (error.status, error.is_transient) == (502, False)
        assert error.message == "The upstream dash cannot be spoken to over TLS."
        assert "does it speak plain HTTP? Then write http:// and not https://." in error.advice
        assert "TLS failed: wrong version number; does it speak plain HTTP?" in error.detail
        assert not dash.health.is_away


async def test_a_certificate_that_is_not_believed_is_asked_about(tmp_path: Path) -> None:
    files = Tls(**Authority(tmp_path).issue())
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(files.certificate, files.key)
    async with origin(answering(OK), tls=theirs) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        with pytest.raises(UpstreamError) as caught:
            await upstream(url, context=upstream_context(None)).connect(5)
        assert (caught.value.status, caught.value.is_transient) == (502, False)
        assert caught.value.message == "The upstream dash cannot be spoken to safely."
        assert "is its certificate the right one?" in caught.value.advice
        assert "gateway.upstream_ca names the authorities" in caught.value.detail


async def test_an_upstream_that_ends_a_tls_handshake_may_have_no_tls_and_may_come_back() -> None:
    async with origin(to_anything(b"")) as server:
        dash = upstream(server.url.replace("http:", "https:"), context=upstream_context(None))
        with pytest.raises(UpstreamUnreachable, match="it closed the connection in the TLS handshake") as caught:
            await dash.connect(5)
        assert "is it running, and does it speak TLS?" in caught.value.advice
        assert caught.value.is_transient


async def test_an_upstream_that_answers_in_tls_is_said_to_and_nobody_waits_for_it() -> None:
    async with origin(answering(b"\x15\x03\x01\x00\x02\x02\x46")) as server:
        connection = await upstream(server.url).connect(5)
        with pytest.raises(UpstreamError, match=r"^The upstream dash answers in TLS\.$") as caught:
            await ask(connection)
        assert (caught.value.status, caught.value.is_transient) == (502, False)
        assert "write https:// and not http:// in gateway.upstreams.dash." in caught.value.advice
        assert "write https://" in caught.value.detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every socket file")
async def test_a_socket_file_that_this_user_may_not_use_is_asked_about(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "dash.sock"))
        listener.listen()
        (tmp_path / "dash.sock").chmod(0)
        with pytest.raises(UpstreamUnreachable, match="permission denied") as caught:
            await upstream(f"unix:{tmp_path / 'dash.sock'}").connect(5)
    assert "may the user of this process use its socket file?" in caught.value.advice
    assert not caught.value.is_transient


async def test_a_socket_file_of_another_kind_is_said_to_be_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "ws.sock"))
        listener.listen()
        with pytest.raises(UpstreamUnreachable, match="its socket file is of another kind") as caught:
            await upstream(f"unix:{tmp_path / 'ws.sock'}").connect(5)
    assert "is that the socket file of a web server?" in caught.value.advice
    assert not caught.value.is_transient


async def test_a_connection_over_tls_is_used_again_in_another_turn_of_the_loop(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = Tls(**authority.issue())
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(files.certificate, files.key)
    async with origin(answering(OK, OK), tls=theirs) as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")
        dash = upstream(url, context=upstream_context(str(authority.file)))
        for number in range(2):
            connection = dash.reuse() or await dash.connect(5)
            assert connection.has_tls
            assert connection.is_reused == bool(number)
            assert (await ask(connection)).status == 200
            assert await body(connection) == b"ok"
            dash.release(connection)
            assert dash.idle == 0
            await asyncio.sleep(0)
            assert dash.idle == 1
        assert server.connections == 1
        dash.close()
