"""A client's connection, with a handler that is a function."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.config import Settings, Timeouts
from proxy.http1.chunked import ProtocolError
from proxy.http1.client_connection import TRANSITIONS, ClientConnection, State
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.connection_manager import ConnectionManager
from proxy.http1.headers import Head
from proxy.http1.request_handler import ActiveExchange
from proxy.net.client_limits import ClientCounter, Lease, Slot
from proxy.net.peer import Peer
from tests.proxy.listening import HANDSHAKE

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def unused(client: ClientStream) -> SentResponse:
    raise AssertionError("nobody asks")


Handler = Callable[[ClientStream], Awaitable[SentResponse]]
OfferSimple = Callable[[ClientConnection, Head, bytes], ActiveExchange | None]


class Handlers:
    """A request handler that is made of functions."""

    def __init__(self, handler: Handler, offer_simple: OfferSimple) -> None:
        self._handler, self.offer_simple = handler, offer_simple

    async def handle(self, stream: ClientStream) -> SentResponse:
        return await self._handler(stream)

    def refuse(self, stream: ClientStream, status: int, message: str) -> None:
        stream.write(b"unreadable %d" % status)

    def lease_buffer(self, address: str, size: int) -> Lease | None:
        return Slot(ClientCounter(), address, size)


@asynccontextmanager
async def connected(
    handler: Handler,
    *,
    offer_simple: OfferSimple = lambda connection, head, body: None,
    head_timeout: float = 10,
    send_timeout: float = 10,
    keepalive_timeout: float = 10,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, ConnectionManager]]:
    """A raw connection to a manager."""
    timeouts = {"head": head_timeout, "send": send_timeout, "keepalive": keepalive_timeout}
    manager = ConnectionManager(
        Handlers(handler, offer_simple),
        Settings.model_validate({"buffer": "64KiB"}).model_copy(
            update={"timeouts": Timeouts().model_copy(update=timeouts)}
        ),
    )
    server = await asyncio.get_running_loop().create_server(manager, "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            async with asyncio.timeout(10):
                yield reader, writer, manager
        finally:
            writer.transport.abort()
    finally:
        server.close()
        await manager.shutdown(1)


async def serve(
    handler: Handler, data: bytes, *, count: int = -1, kept: list[ConnectionManager] | None = None
) -> tuple[bytes, ConnectionManager]:
    """Run one raw connection against a handler; return what came back. ``kept`` gets the manager at the start."""
    async with connected(handler) as (reader, writer, manager):
        if kept is not None:
            kept.append(manager)
        writer.write(data)
        return await (reader.read() if count < 0 else reader.readexactly(count)), manager


async def test_a_taken_connection_comes_with_its_leftover_and_is_forgotten() -> None:
    taken: asyncio.Future[tuple[asyncio.Transport, bytes]] = asyncio.get_running_loop().create_future()

    async def handler(client: ClientStream) -> SentResponse:
        taken.set_result(client.detach())
        return SentResponse(keep_alive=False)

    async def talk() -> None:
        transport, leftover = await taken
        assert leftover == b"\x81\x80\0\0\0\0"
        transport.write(b"still open")

    talking = asyncio.get_running_loop().create_task(talk(), name="talk")
    answer, manager = await serve(handler, HANDSHAKE + b"\x81\x80\0\0\0\0", count=10)
    await talking
    assert answer == b"still open"
    assert manager.connections == []
    (await taken)[0].abort()


async def test_a_large_leftover_is_bounded_and_whole() -> None:
    """aiohttp pauses the transport when the leftover grows; taking it must not lose the rest."""
    rest = b"x" * 300_000
    done = asyncio.get_running_loop().create_future()

    class Sink(asyncio.Protocol):
        data = b""

        def data_received(self, data: bytes) -> None:
            self.data += data
            if len(self.data) == len(rest):
                done.set_result(None)

    async def handler(client: ClientStream) -> SentResponse:
        while len(client._connection.socket.held) < 65536:  # noqa: ASYNC110 - aiohttp tells nobody
            await asyncio.sleep(0)
        transport, leftover = client.detach()
        sink = Sink()
        transport.set_protocol(sink)
        transport.resume_reading()
        sink.data_received(leftover)
        await done
        transport.write(b"got it")
        return SentResponse(keep_alive=False)

    answer, _ = await serve(handler, HANDSHAKE + rest, count=6)
    assert answer == b"got it"


async def test_a_connection_that_is_let_go_belongs_to_who_has_its_descriptor() -> None:
    """No FIN and no reset is sent, and what comes meanwhile waits in the kernel."""
    held: asyncio.Future[tuple[socket.socket, bytes]] = asyncio.get_running_loop().create_future()

    async def handler(client: ClientStream) -> SentResponse:
        descriptor, leftover = client.lend_socket()
        held.set_result((socket.socket(fileno=os.dup(descriptor)), leftover))
        client.abandon()
        assert client.is_gone
        client.abandon()
        return SentResponse(keep_alive=False)

    async def talk() -> None:
        other, leftover = await held
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while managers and managers[0].connections:  # noqa: ASYNC110 - aiohttp tells nobody
                await asyncio.sleep(0)
            assert leftover == b"\x81\x80\0\0\0\0"
            await loop.sock_sendall(other, b"mine now")
            other.close()

    managers: list[ConnectionManager] = []
    talking = asyncio.get_running_loop().create_task(talk(), name="talk")
    answer, manager = await serve(handler, HANDSHAKE + b"\x81\x80\0\0\0\0", kept=managers)
    await talking
    assert answer == b"mine now", "and then the end, which is the other one's"
    assert manager.connections == []


async def test_a_connection_that_was_not_detached_goes_on() -> None:
    async def handler(client: ClientStream) -> SentResponse:
        if client.head.target == "/live":
            assert client.lend_socket()[1] == b""
            client.resume()
        client.write(b"<%b>" % client.head.target.encode())
        return SentResponse(client.wants_keep_alive)

    async with connected(handler) as (reader, writer, _):
        writer.write(HANDSHAKE)
        assert await reader.readexactly(7) == b"</live>"
        writer.write(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert await reader.read() == b"</next>"


async def test_a_refused_upgrade_leaves_a_connection_that_still_speaks_http() -> None:
    seen = []

    async def handler(client: ClientStream) -> SentResponse:
        seen.append(client.head.target)
        client.write(b"<%b>" % client.head.target.encode())
        return SentResponse(client.wants_keep_alive)

    await serve(handler, HANDSHAKE + b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert seen == ["/live", "/next"]


async def test_the_head_is_what_was_sent() -> None:
    heads = []

    async def handler(client: ClientStream) -> SentResponse:
        heads.append(client.head)
        client.write(b".")
        return SentResponse(keep_alive=False)

    await serve(handler, b"PATCH //a/%2e%2E?x=%20&& HTTP/1.1\r\nhOsT: x:1\r\nA_b:  c \r\nContent-Length: 0\r\n\r\n")
    assert heads[0].method == "PATCH"
    assert heads[0].target == "//a/%2e%2E?x=%20&&"
    assert heads[0].headers == ((b"hOsT", b"x:1"), (b"A_b", b"c"), (b"Content-Length", b"0"))
    assert not heads[0].has_body


async def test_bytes_that_are_not_latin_in_a_target_are_kept() -> None:
    targets = []

    async def handler(client: ClientStream) -> SentResponse:
        targets.append(client.head.target)
        client.write(b".")
        return SentResponse(keep_alive=False)

    await serve(handler, b"GET /\xc3\xa9\xff HTTP/1.1\r\nHost: x\r\n\r\n")
    assert targets in ([], ["/\xc3\xa9\xff"])  # llhttp may refuse them; if not, they are what they were


async def test_what_cannot_be_read_is_answered_by_us() -> None:
    async def handler(client: ClientStream) -> SentResponse:
        raise AssertionError("nothing to handle")

    answer, _ = await serve(handler, b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
    assert answer == b"unreadable 400"


async def test_a_client_that_was_announced_is_who_it_is_said_to_be_from_the_first_moment() -> None:
    async def handler(client: ClientStream) -> SentResponse:
        client.write(f"{client.peer.address} {client.peer.scheme} {client.has_tls}".encode())
        return SentResponse(keep_alive=False)

    async with connected(handler) as (_, _, manager):
        for announced in (Peer("198.51.100.7", "https"), None):
            here, there = socket.socketpair()
            here.setblocking(False)
            connection = manager(announced)
            assert connection.peer == Peer("-")
            await asyncio.get_running_loop().connect_accepted_socket(lambda it=connection: it, here)
            assert connection.peer == announced or connection.peer == Peer("unix")
            reader, writer = await asyncio.open_unix_connection(sock=there)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            said = await reader.read()
            assert said == (b"198.51.100.7 https False" if announced else b"unix http False")
            writer.close()


@pytest.mark.parametrize(("begun", "answer"), [(b"", b""), (b"GET / HT", b"unreadable 408")])
async def test_a_connection_that_asks_nothing_is_closed_in_time(begun: bytes, answer: bytes) -> None:
    """Who has begun a head hears why."""

    async def handler(client: ClientStream) -> SentResponse:
        raise AssertionError("nothing to handle")

    async with connected(handler, head_timeout=0.1) as (reader, writer, _):
        writer.write(begun)
        assert await reader.read() == answer


GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST /0 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_request_is_seen_when_the_one_before_it_is_answered() -> None:
    seen: list[str] = []
    go_on = asyncio.Event()

    async def handler(client: ClientStream) -> SentResponse:
        seen.append(client.head.target)
        await go_on.wait()
        client.write(b".")
        return SentResponse(keep_alive=True)

    async with connected(handler) as (reader, writer, _):
        writer.write(GET % 0 + GET % 1 + b"GET / HTTP/1.1\nHost: x\n\n" + GET % 2)
        while not seen:  # noqa: ASYNC110 - the handler's first step is the event
            await asyncio.sleep(0)
        assert seen == ["/0"]
        go_on.set()
        assert await reader.read() == b"..unreadable 400"
        assert seen == ["/0", "/1"]


async def test_the_last_trailer_of_a_body_is_no_field_of_the_next_head() -> None:
    heads = []

    async def handler(client: ClientStream) -> SentResponse:
        heads.append(client.head.headers)
        await client.body.read()
        client.write(b".")
        return SentResponse(keep_alive=True)

    async with connected(handler) as (reader, writer, _):
        writer.write(CHUNKED + b"1\r\na\r\n0\r\nX-Last: evil\r\n\r\n" + GET % 1)
        assert await reader.readexactly(2) == b".."
    assert heads[1] == ((b"Host", b"x"),)


async def test_the_reader_of_a_body_learns_at_once_that_it_has_broken_off() -> None:
    async def handler(client: ClientStream) -> SentResponse:
        assert await client.body.read() == b"a"
        client.write(b"begun ")
        try:
            await client.body.read()
        except ProtocolError as error:
            client.write(str(error).encode())
        return SentResponse(keep_alive=False)

    async with connected(handler) as (reader, writer, _):
        writer.write(CHUNKED + b"1\r\na\r\n")
        assert await reader.readexactly(6) == b"begun "
        writer.write(b"x\r\n" + GET % 1)
        assert await reader.read() == b"the size of a chunk, or an extension of it, is malformed"


async def test_what_a_client_still_sends_does_not_reset_the_answer_that_it_has_not_read() -> None:
    async def handler(client: ClientStream) -> SentResponse:
        raise AssertionError("nothing to handle")

    async with connected(handler) as (reader, writer, _):
        writer.write(b"G\0")
        await asyncio.sleep(0)
        for _ in range(50):
            writer.write(b"x" * 10_000)
            await asyncio.sleep(0)
        assert await reader.read() == b"unreadable 400"


async def test_who_left_just_before_the_order_to_stop_does_not_hold_it_up() -> None:
    """The connection is gone, and the task that served it still has a step to do."""
    serving: asyncio.Future[ClientConnection] = asyncio.get_running_loop().create_future()

    async def handler(client: ClientStream) -> SentResponse:
        serving.set_result(client._connection)
        await asyncio.Event().wait()
        raise AssertionError("cancelled before")

    async with connected(handler) as (_, writer, manager):
        writer.write(GET % 0)
        connection = await serving
        empty = asyncio.Event()
        manager.on_empty = empty.set
        connection.connection_lost(None)
        assert manager.connections
        manager.leave()
        await empty.wait()


class Unmoved:
    """Carries a plain exchange, and does nothing about whatever happens."""

    def client_left(self) -> None: ...

    def cut(self) -> None: ...

    def client_is_slow(self, is_slow: bool) -> None: ...


async def test_an_unread_body_does_not_stop_the_reading_of_the_next_request() -> None:
    """A plain request that fails is answered on the ordinary way, and its body stays where it is."""
    seen = []

    def offer_simple(connection: ClientConnection, head: Head, body: bytes) -> ActiveExchange | None:
        seen.append(head.target)
        connection.stream(head, b"x" * 300_000).write(b".")
        asyncio.get_running_loop().call_soon(connection.exchange_ended, True)
        return Unmoved()

    async with connected(lambda _: asyncio.sleep(0, SentResponse(keep_alive=False)), offer_simple=offer_simple) as (
        reader,
        writer,
        _,
    ):
        for number in range(2):
            writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            assert await reader.readexactly(1) == b"."
        assert seen == ["/0", "/1"]


# -- leaving


async def test_who_leaves_says_so_in_each_answer_and_hears_when_the_last_connection_has_ended() -> None:
    empty = asyncio.Event()

    async def handler(client: ClientStream) -> SentResponse:
        client.write(b"keep" if client.wants_keep_alive else b"last")
        return SentResponse(keep_alive=client.wants_keep_alive)

    async with connected(handler) as (reader, writer, manager):
        manager.on_empty = empty.set
        writer.write(GET)
        assert await reader.readexactly(4) == b"keep"
        manager.leave()
        writer.write(GET)
        assert await reader.read() == b"last"
        await empty.wait()
        assert manager.connections == []


async def test_a_large_body_that_came_whole_is_counted_until_its_exchange_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits for its upstream as long as any other, and a client may send one on each of its connections."""
    counter, may_end = ClientCounter(), asyncio.Event()

    async def handler(client: ClientStream) -> SentResponse:
        await may_end.wait()
        client.write(b"done")
        return SentResponse(keep_alive=True)

    monkeypatch.setattr(Handlers, "lease_buffer", lambda _, address, size: Slot(counter, address, size))
    async with connected(handler) as (reader, _, manager):
        while not manager.connections:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        for size, counted in ((65536, 0), (65537, 2 * 65537)):
            head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
            manager.connections[0].data_received(head + b"x" * size)
            assert counter.total == counted
            may_end.set()
            assert await reader.readexactly(4) == b"done"
            await asyncio.sleep(0)
            assert counter.total == 0
            may_end.clear()


async def test_an_answer_that_its_client_has_not_taken_yet_holds_the_connection() -> None:
    empty = asyncio.Event()
    answer = b"x" * (64 << 20)  # more than any kernel holds

    async def handler(client: ClientStream) -> SentResponse:
        client.write(answer)
        return SentResponse(keep_alive=False)

    async with connected(handler) as (reader, writer, manager):
        manager.leave()
        manager.on_empty = empty.set
        writer.write(GET)
        await reader.readexactly(1)
        assert manager.flushing == 1
        assert not empty.is_set()
        assert len(await reader.read()) == len(answer) - 1
        await empty.wait()
        assert manager.flushing == 0


async def test_only_who_has_been_idle_for_long_enough_is_closed() -> None:
    turn = asyncio.Event()

    async def handler(client: ClientStream) -> SentResponse:
        await turn.wait()
        client.write(b"done")
        return SentResponse(keep_alive=True)

    async with connected(handler) as (reader, writer, manager):
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        await manager.close_idle(loop.time() - 60)
        writer.write(GET)
        await asyncio.sleep(0.05)  # until it is under way; nobody is told
        await manager.close_idle(loop.time() + 60)
        turn.set()
        assert await reader.readexactly(4) == b"done"
        await manager.close_idle(loop.time() + 60)
        assert await reader.read() == b""


async def test_who_is_in_the_middle_of_a_head_is_not_idle() -> None:
    async def handler(client: ClientStream) -> SentResponse:
        client.write(b"done")
        return SentResponse(keep_alive=False)

    async with connected(handler) as (reader, writer, manager):
        loop = asyncio.get_running_loop()
        writer.write(GET[:10])
        await asyncio.sleep(0.05)  # until it is here; nobody is told
        await manager.close_idle(loop.time() + 60)
        writer.write(GET[10:])
        assert await reader.read() == b"done"


async def test_other_options_hold_for_connections_that_begin_later() -> None:
    async with connected(unused) as (_, _, manager):
        before, after = manager.settings, manager.settings.model_copy(update={"buffer": 8192})
        await asyncio.sleep(0)
        manager.reconfigure(after)
        (now,), later = manager.connections, manager()
        assert (now.settings, later.settings) == (before, after)


async def test_a_client_that_left_before_the_drain_began_is_told_of_when_its_task_has_ended() -> None:
    began, cancelled, may_end, told = (asyncio.Event() for _ in range(4))

    async def handler(client: ClientStream) -> SentResponse:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            await may_end.wait()
            raise
        raise AssertionError

    async with connected(handler) as (_, writer, manager):
        manager.on_empty = told.set
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.wait()
        writer.transport.abort()
        await cancelled.wait()
        manager.leave()
        assert manager.connections
        may_end.set()
        await told.wait()
        assert not manager.connections


# -- odd, and legal


async def test_an_empty_line_after_a_request_begins_nothing_and_the_next_one_is_served() -> None:
    """RFC 9112, section 2.2. Old clients send one line end too many after a body."""

    async def handler(client: ClientStream) -> SentResponse:
        client.write(b"<%b>" % await client.body.read())
        return SentResponse(client.wants_keep_alive)

    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%b"
    async with connected(handler, head_timeout=0.1) as (reader, writer, manager):
        writer.write(post % b"1" + b"\r\n")
        assert await reader.readexactly(3) == b"<1>"
        for number in (b"2", b"3"):
            writer.write(b"\r\n\r\n")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.4):  # four times what a head may take
                    await reader.read(1)
            writer.write(post % number)
            assert await reader.readexactly(3) == b"<%b>" % number
        writer.write(b"\r\n")
        await asyncio.sleep(0.05)  # until it is here; nobody is told
        await manager.close_idle(asyncio.get_running_loop().time() + 60)
        assert await reader.read() == b"", "and counts as idle"


async def test_nothing_but_empty_lines_is_no_request_and_no_reason_to_stay() -> None:
    async with connected(unused, head_timeout=0.1) as (reader, writer, _):
        writer.write(b"\r\n" * 1000)
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "head",
    [
        b"BREW /a HTTP/1.1\r\nHost: x\r\n",
        b"get /a HTTP/1.1\r\nHost: x\r\n",
        b"!#$%&'*+-.^_`|~09 /a HTTP/1.1\r\nHost: x\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: A\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nUpgrade:\r\nConnection:\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n",
    ],
)
async def test_what_the_parser_behind_would_refuse_or_stop_at_is_served_and_the_connection_goes_on(head: bytes) -> None:
    seen = []

    async def handler(client: ClientStream) -> SentResponse:
        seen.append((client.head.method, client.head.target, await client.body.read()))
        client.write(b".")
        return SentResponse(client.wants_keep_alive)

    method = head.partition(b" ")[0].decode()
    async with connected(handler) as (reader, writer, _):
        writer.write((head + b"Content-Length: 3\r\n\r\nabc") * 2)
        writer.write((head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") * 2)
        assert await reader.readexactly(4) == b"...."
    assert seen == [(method, "/a", b"abc")] * 4


# -- the table of states; ``tests/test_drawings.py`` has its picture


def test_every_state_can_be_closed_and_none_is_left_after_that() -> None:
    assert all(row["close"] is State.CLOSED for row in TRANSITIONS.values())
    assert set(TRANSITIONS[State.CLOSED]) == {"close"}


def test_only_a_connection_that_serves_can_be_detached_and_only_one_that_does_not_is_refused() -> None:
    assert [state for state, row in TRANSITIONS.items() if "detach" in row] == [State.SERVING]
    assert [state for state, row in TRANSITIONS.items() if "bad request" in row] == [State.IDLE, State.READING]


def test_every_state_is_reached() -> None:
    reached = {after for row in TRANSITIONS.values() for after in row.values()} | {State.IDLE}
    assert reached == set(State)
