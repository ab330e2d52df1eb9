"""A connection to an upstream: where an answer ends, what is none, and what may never be taken for the next one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from proxy.config import Settings, UpstreamAddress
from proxy.errors import (
    UpstreamCut,
    UpstreamError,
    UpstreamLost,
)
from proxy.http1.response_reader import MAX_FIELDS, MAX_HEAD, Framing, Response
from proxy.upstream.connection import IDEMPOTENT, SAFE, UpstreamConnection
from proxy.upstream.upstream import Upstream
from tests.proxy.origin import Script, answering, origin, read_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def upstream_settings(idle: float = 60, buffer: int = 65536, **values: Any) -> Settings:
    """Settings without health checks and limits."""
    settings = Settings.model_validate({"health": {"interval": 0}, "limits": {"in_flight": None}} | values)
    timeouts = settings.timeouts.model_copy(update={"upstream_idle": idle})
    return settings.model_copy(update={"timeouts": timeouts, "buffer": buffer})


def at(*urls: str) -> list[UpstreamAddress]:
    return [UpstreamAddress(url=url) for url in urls]


def upstream(
    url: str,
    *,
    idle: float = 60,
    buffer: int = 65536,
    context: ssl.SSLContext | None = None,
) -> Upstream:
    return Upstream("dash", at(url), upstream_settings(idle, buffer), context)


async def ask(connection: UpstreamConnection, method: str = "GET", *, may_switch: bool = False) -> Response:
    connection.begin(method, may_switch=may_switch)
    connection.write(method.encode() + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        return await connection.head()


async def body(connection: UpstreamConnection) -> bytes:
    pieces = []
    async with asyncio.timeout(10):
        while piece := await connection.read():
            pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("answer", "framing", "expected", "reusable"),
    [
        (OK, Framing.LENGTH, b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Framing.CHUNKED, b"ok", True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
            Framing.CHUNKED,
            b"ok",
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Framing.NONE, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", Framing.NONE, b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", Framing.LENGTH, b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Framing.LENGTH, b"ok", False),
    ],
)
async def test_an_answer_ends_where_its_framing_says(
    answer: bytes, framing: Framing, expected: bytes, reusable: bool
) -> None:
    async with origin(answering(answer)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        head = await ask(connection)
        assert head.framing is framing
        assert await body(connection) == expected
        assert connection.is_reusable is reusable
        connection.abort()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("answer", "framing", "expected", "reusable"),
    [
        (OK.replace(b": 2", b": 0002"), Framing.LENGTH, b"ok", True),
        (OK.replace(b": 2", b":\t2\t "), Framing.LENGTH, b"ok", True),
        (OK.replace(b" OK", b""), Framing.LENGTH, b"ok", True),
        (OK.replace(b" OK", b" "), Framing.LENGTH, b"ok", True),
        (OK.replace(b" OK", b" \xc3\xa9\t\xff"), Framing.LENGTH, b"ok", True),
        (OK.replace(b"OK\r\n", b"OK\r\nUpgrade: h2,h2c\r\nConnection: Upgrade\r\n"), Framing.LENGTH, b"ok", True),
        (OK.replace(b"OK\r\n", b"OK\r\nConnection:\r\nConnection: , x\r\n"), Framing.LENGTH, b"ok", True),
        (OK.replace(b"OK\r\n", b"OK\r\nConnection: keep-alive, close\r\n"), Framing.LENGTH, b"ok", False),
        (OK.replace(b"1.1 200 OK\r\n", b"1.0 200 OK\r\nConnection: Keep-Alive\r\n"), Framing.LENGTH, b"ok", True),
        (CHUNKED + b"2 ;a=b\r\nok\r\n0\r\n\r\n", Framing.CHUNKED, b"ok", True),
        (CHUNKED + b"0000002; a = b ; c\r\nok\r\n00 ;d\r\n\r\n", Framing.CHUNKED, b"ok", True),
        (CHUNKED.replace(b"chunked", b"\tChunked\t") + b"2\r\nok\r\n0\r\n\r\n", Framing.CHUNKED, b"ok", True),
        (CHUNKED.replace(b"chunked", b", chunked ,") + b"2\r\nok\r\n0\r\n\r\n", Framing.CHUNKED, b"ok", True),
        (CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 2\r\nHost: x\r\n\r\n", Framing.CHUNKED, b"ok", True),
        (CHUNKED + b"2\r\nok\r\n0\r\nConnection: close\r\n\r\n", Framing.CHUNKED, b"ok", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 099\r\n\r\n", Framing.NONE, b"", True),
    ],
)
async def test_what_is_odd_and_legal_is_read_and_written_in_one_way(
    answer: bytes, framing: Framing, expected: bytes, reusable: bool, size: int
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        for start in range(0, len(answer), size):
            writer.write(answer[start : start + size])
            await asyncio.sleep(0)
        await reader.read()

    async with origin(script) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        head = await ask(connection)
        assert head.framing is framing
        assert await body(connection) == expected
        assert connection.is_reusable is reusable
        assert all(length == b"%d" % int(length) for length in head.all(b"content-length"))
        connection.abort()


async def test_an_answer_without_length_ends_with_the_connection() -> None:
    async with origin(answering(b"HTTP/1.1 200 OK\r\n\r\nall of it", close=True)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        assert (await ask(connection)).framing is Framing.UNTIL_CLOSE
        assert await body(connection) == b"all of it"
        assert not connection.is_reusable


async def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    async with origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n")) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        assert (await ask(connection, "HEAD")).framing is Framing.NONE
        assert await body(connection) == b""
        assert connection.is_reusable
        connection.abort()


@pytest.mark.parametrize(("said", "is_kept"), [(b"Transfer-Encoding: chunked\r\n", True), (b"", False)])
async def test_an_answer_to_head_that_would_end_with_its_connection_is_its_last(said: bytes, is_kept: bool) -> None:
    async with origin(answering(b"HTTP/1.1 200 OK\r\n" + said + b"\r\n")) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        assert (await ask(connection, "HEAD")).framing is Framing.NONE
        assert await body(connection) == b""
        assert connection.is_reusable is is_kept
        connection.abort()


async def test_headers_keep_their_order_and_spelling_and_reasons_their_words() -> None:
    answer = b"HTTP/1.1 299 Quite All Right\r\nsEt-CooKie: a=1\r\nX: y \r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    async with origin(answering(answer)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        head = await ask(connection)
        assert head.reason == b"Quite All Right"
        assert head.headers == (
            (b"sEt-CooKie", b"a=1"),
            (b"X", b"y"),
            (b"Set-Cookie", b"b=2"),
            (b"Content-Length", b"0"),
        )
        connection.abort()


async def test_interim_answers_are_told_and_are_not_the_answer() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    async with origin(answering(interim + OK)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        seen: list[tuple[int, object]] = []
        connection.begin("GET", lambda a: seen.append((a.status, a.headers)))
        connection.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await connection.head()).status == 200
        assert seen == [(100, ()), (103, ((b"Link", b"</a.css>"),))]
        assert await body(connection) == b"ok"
        assert connection.is_reusable
        connection.abort()


def endless(beginning: bytes, more: bytes) -> Script:
    """A script that never ends its answer."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(beginning)
        while True:
            writer.write(more)
            await writer.drain()

    return script


async def test_interim_answers_without_end_are_no_answer() -> None:
    seen = 0

    def on_interim(answer: Response) -> None:
        nonlocal seen
        seen += 1

    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    async with origin(endless(b"", hint * 100)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        connection.begin("GET", on_interim)
        connection.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(UpstreamError, match=r"of header|header fields"):
            await connection.head()
        assert 100 <= seen < 10_000
        await server.wait_closed(1)


@pytest.mark.parametrize(
    ("beginning", "more"),
    [(b"2\r\nok\r\n0\r\n", b"A: b\r\n" * 1000), (b"2\r\nok\r\n0\r\nA: ", b"b" * 1000), (b"2;", b"a=b;" * 1000)],
    ids=["trailers", "one trailer", "chunk extensions"],
)
async def test_what_is_no_body_does_not_go_on_without_end(beginning: bytes, more: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with origin(endless(head + beginning, more)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        await ask(connection)
        with pytest.raises(UpstreamCut, match=r"trailers are too large|line of a chunked body is too long"):
            while await connection.read():
                pass
        await server.wait_closed(1)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x00\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x01\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * MAX_HEAD,
        b"HTTP/1.1 200 OK\r\n" + b"A:\r\n" * (MAX_FIELDS + 1) + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n" + b"A:\r\n" * 500 + b"\r\nHTTP/1.1 200 OK\r\n" + b"A:\r\n" * 13 + b"\r\n",
    ],
    ids=lambda answer: repr(answer[:60]),
)
async def test_what_is_not_strictly_http_is_no_answer(answer: bytes) -> None:
    async with origin(answering(answer)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        with pytest.raises(UpstreamError):
            await ask(connection)
        assert not connection.is_reusable
        await server.wait_closed(1)


async def test_a_transfer_coding_that_cannot_be_undone_here_is_refused() -> None:
    async with origin(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        with pytest.raises(UpstreamError, match="transfer coding"):
            await ask(connection)


@pytest.mark.parametrize("cut", ["end", "reset"])
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", UpstreamLost),
        (b"HTTP/1.1 200 OK\r\nCont", UpstreamError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", UpstreamCut),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", UpstreamCut),
    ],
)
async def test_an_upstream_that_dies_is_named_and_never_ends_a_body(
    cut: str, sent: bytes, error: type[UpstreamError]
) -> None:
    received = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(sent)
        await writer.drain()
        if error is UpstreamCut:
            await received.wait()
        if cut == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()

    async with origin(script) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        with pytest.raises(error, match="The upstream dash closed the connection") as caught:
            await ask(connection)
            assert await connection.read() == b"half"
            received.set()
            await body(connection)
        assert type(caught.value) is error


REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 40000\r\n\r\n" + bytes(40000)


async def refuse_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer before the end of an upload, and close with the rest of it unread."""
    await read_head(reader)
    writer.write(REFUSAL)
    await writer.drain()
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def write_until_it_is_lost(connection: UpstreamConnection) -> None:
    """Meet the reset with a write, before anything of the answer is read."""
    connection.pause_reading()
    transport = connection._transport
    assert transport is not None
    connection.write(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        while not transport.is_closing():
            connection.write(bytes(1000))
            await asyncio.sleep(0)


async def _answer_before_a_reset() -> None:
    async with origin(refuse_and_reset) as server:
        up = upstream(server.url, buffer=16384)
        connection = await up.addresses[0].connect(5)
        connection.begin("POST")
        await write_until_it_is_lost(connection)
        connection.resume_reading()
        async with asyncio.timeout(10):
            assert (await connection.head()).status == 413
        assert await body(connection) == bytes(40000)
        up.release(connection)
        assert up.idle == 0, "nothing more can be sent on it"


async def _fast_path_response_before_a_reset() -> None:
    answered, lost = bytearray(), asyncio.Event()

    class Listener:
        def response_received(self, data: bytes) -> None:
            answered.extend(data)

        def upstream_lost(self, exc: Exception | None) -> None:
            lost.set()

    async with origin(refuse_and_reset) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        connection.begin("POST", listener=Listener())
        await write_until_it_is_lost(connection)
        connection.resume_reading()
        async with asyncio.timeout(10):
            await lost.wait()
        assert answered == REFUSAL


async def _given_up_in_the_moment_of_a_reset() -> None:
    """As by a client that leaves: nobody is there to read on, and nobody would give the descriptor back."""
    async with origin(refuse_and_reset) as server:
        up = upstream(server.url, buffer=16384)
        connection = await up.addresses[0].connect(5)
        connection.begin("POST")
        connection.pause_reading()
        connection.write(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            while True:
                connection.write(bytes(1000))
                if connection.is_closing:
                    break
                await asyncio.sleep(0)
        up.discard(connection)
        async with asyncio.timeout(10):
            while connection.transport is not None:  # noqa: ASYNC110 - the loop tells, and nobody else
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "scene", [_answer_before_a_reset, _fast_path_response_before_a_reset, _given_up_in_the_moment_of_a_reset]
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_an_answer_is_heard_though_a_write_meets_the_reset_behind_it_first(
    loop: str, scene: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scene())


async def test_a_broken_chunk_cuts_the_body() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"
    async with origin(answering(answer)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        await ask(connection)
        with pytest.raises(UpstreamCut):
            await body(connection)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_comes_behind_an_answer_throws_the_connection_away(method: str) -> None:
    length = 2 if method == "GET" else 6
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + (b"ok" if method == "GET" else b"")
    async with origin(answering(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")) as server:
        up = upstream(server.url)
        connection = await up.addresses[0].connect(5)
        assert (await ask(connection, method)).status == 200
        assert await body(connection) == (b"ok" if method == "GET" else b"")
        up.release(connection)
        assert up.idle == 0
        await server.wait_closed(1)


async def test_bytes_that_were_not_asked_for_end_an_idle_connection() -> None:
    late = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(OK)
        await late.wait()
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with origin(script) as server:
        up = upstream(server.url)
        connection = await up.addresses[0].connect(5)
        await ask(connection)
        await body(connection)
        up.release(connection)
        assert up.idle == 1
        late.set()
        await server.wait_closed(1)
        assert up.addresses[0]._pool.take() is None


async def test_a_reader_that_is_slow_makes_the_upstream_wait() -> None:
    size = 32 << 20
    written = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        writer.write(b"x" * size)
        await writer.drain()
        written.set()
        await reader.read()

    async with origin(script) as server:
        connection = await upstream(server.url, buffer=65536).addresses[0].connect(5)
        await ask(connection)
        first = await connection.read()
        # Nothing is read meanwhile: neither side may hold the whole body.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await written.wait()
        assert connection.buffered <= 2 * 262144  # the buffer and what one read of the loop can add
        assert len(first) + len(await body(connection)) == size
        connection.abort()


async def test_a_switch_of_protocols_hands_out_the_transport_and_what_came_behind_it() -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi"
    async with origin(answering(answer)) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        assert (await ask(connection, may_switch=True)).status == 101
        assert not connection.is_reusable
        transport, leftover = connection.detach()
        assert leftover == b"\x81\x02hi"
        transport.abort()
        await server.wait_closed(1)


async def test_an_upstream_that_answers_in_tls_is_told_and_is_not_waited_for() -> None:
    async with origin(answering(b"\x15\x03\x01\x00\x02\x02\x46")) as server:
        connection = await upstream(server.url).addresses[0].connect(5)
        with pytest.raises(UpstreamError, match=r"^The upstream dash answers in TLS\.$") as caught:
            await ask(connection)
        assert (caught.value.status, caught.value.is_transient) == (502, False)
        assert "write https:// and not http:// in gateway.upstreams.dash." in caught.value.advice
        assert "write https://" in caught.value.detail


# -- methods that may be sent again


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "PURGE", "get", ""])
def test_what_may_do_harm_when_it_comes_twice_or_is_not_known_is_never_sent_again(method: str) -> None:
    assert method not in IDEMPOTENT
    assert method not in SAFE


def test_what_may_be_sent_again_later_may_be_sent_again_at_once() -> None:
    assert SAFE < IDEMPOTENT
    assert "PUT" in IDEMPOTENT - SAFE
