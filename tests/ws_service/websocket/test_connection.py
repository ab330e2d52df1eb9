"""What is done around the library: deadlines, turns, bounds, and that its faults end one connection alone."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from starlette.websockets import WebSocketDisconnect

from tests.ws_service.adopting import MASK, Peer, close_frame, head, parts, tcp
from tests.ws_service.adopting import text_frame as text
from ws_service.websocket import connection as module
from ws_service.websocket import sweep
from ws_service.websocket.connection import Connection, Resources
from ws_service.websocket.feeding import SLICE, TURN
from ws_service.websocket.library import MAX_FIELDS, MAX_HEAD, lent_state, library_class

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

IMPLEMENTATIONS = ["websockets", "websockets-sansio"]


@pytest.fixture(params=IMPLEMENTATIONS)
def ws(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return request.param()  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)


class App:
    """Accepts, and takes messages as fast as it is told to."""

    def __init__(self, *, accepts: bool = True, returns: bool = False, sends: int = 0) -> None:
        self.accepts, self.returns, self.sends = accepts, returns, sends
        self.may_take = asyncio.Event()
        self.heard: list[Any] = []
        self.scope: Any = None
        self.error: BaseException | None = None
        self._changed = asyncio.Event()

    async def has_heard(self) -> None:
        """Wait for the next message."""
        self._changed.clear()
        await self._changed.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        assert (await receive())["type"] == "websocket.connect"
        if self.returns:
            return
        if not self.accepts:
            assert (await receive())["type"] == "websocket.disconnect"
            return
        await send({"type": "websocket.accept"})
        for _ in range(self.sends):
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
        await self.may_take.wait()
        while (message := await receive())["type"] == "websocket.receive":
            self.heard.append(message.get("text") if message.get("text") is not None else message["bytes"])
            self._changed.set()
        if self.error is not None:
            raise self.error


class Fed(Connection):
    """A connection that is fed a head as soon as it has a transport, as each of those in use is."""

    head: bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.feed_head(self.head)


class Rig:
    def __init__(self, peer: Peer, connection: Connection, resources: Resources, made_of: dict[str, Any]) -> None:
        self.peer, self.connection, self.resources, self.made_of = peer, connection, resources, made_of

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            while self.made_of["server_state"].connections:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(
    app: App,
    ws: str = "websockets-sansio",
    *fields: str,
    limit: int = 64 << 20,
    handshake: float = 15,
    send: float | None = 60,
    shared: Resources | None = None,
) -> AsyncIterator[Rig]:
    made_of = parts(app, ws=ws, ws_per_message_deflate=True)
    config, state = made_of["config"], made_of["server_state"]
    async with tcp() as (sock, peer):
        resources = Resources(limit) if shared is None else shared
        library = library_class(config)(config=config, server_state=lent_state(state), app_state=made_of["app_state"])
        connection = Fed(library, state.connections, resources, handshake=handshake, send=send)
        connection.head = head("/x", *fields).replace(b"UPGRADE", b"upgrade")
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        rig = Rig(peer, connection, resources, made_of)
        yield rig
        peer.writer.transport.abort()
        app.may_take.set()
        await rig.ended()
        async with asyncio.timeout(10):
            await asyncio.gather(*state.tasks, return_exceptions=True)
        if shared is None:
            assert len(resources.sweep) == len(resources.memory) == len(resources.feeder) == 0, "all is given back"


def fragment(first: int, payload: bytes) -> bytes:
    size = len(payload)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return bytes((first,)) + length + MASK + bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))


async def test_messages_come_whole_and_in_order_however_many_are_sent_at_once(ws: str) -> None:
    app = App()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        sent = [str(number) for number in range(2000)]
        rig.peer.writer.write(b"".join(map(text, sent)) + fragment(0x82, b"x" * 60_000) + text("last"))
        app.may_take.set()
        async with asyncio.timeout(20):
            while len(app.heard) < 2002:
                await app.has_heard()
        assert app.heard == [*sent, b"x" * 60_000, "last"]
        assert rig.connection._memory is not None
        assert rig.connection._memory.held == 0


async def test_an_endpoint_that_takes_nothing_leaves_the_rest_in_the_kernel() -> None:
    async with connected(App()) as rig:
        await rig.peer.head()
        for _ in range(200):
            rig.peer.writer.write(fragment(0x82, b"x" * 1000) * 10)
        for _ in range(20):
            await asyncio.sleep(0.01)
        memory = rig.connection._memory
        assert memory is not None
        assert rig.connection._is_paused
        assert memory.held < 2 * module.READ_SIZE + SLICE * 2000


async def test_no_turn_feeds_more_than_so_many_frames_however_many_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    ping = fragment(0x89, b"")
    async with AsyncExitStack() as stack:
        resources = Resources(64 << 20)
        rigs = [await stack.enter_async_context(connected(app, shared=resources)) for _ in range(12)]
        for rig in rigs:
            await rig.peer.head()
        fed: list[int] = []
        begin = resources.feeder._turn

        def turn() -> None:
            fed.append(sum(rig.connection._fed for rig in rigs))
            begin()

        monkeypatch.setattr(resources.feeder, "_turn", turn)
        for rig in rigs:
            rig.peer.writer.write(ping * 500 + text("behind them"))
        app.may_take.set()
        async with asyncio.timeout(20):
            while len(app.heard) < len(rigs):
                await app.has_heard()
        steps = [after - before for before, after in pairwise(fed)]
        assert max(steps) <= (TURN + SLICE) * len(ping)
        assert len(resources.feeder) == 0


async def test_what_is_read_when_the_turn_is_used_up_comes_in_the_next(ws: str) -> None:
    app = App()
    app.may_take.set()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        for number in range(3):
            rig.resources.feeder.spend(TURN)
            await asyncio.sleep(0)
            rig.resources.feeder.spend(TURN)
            rig.connection._receive(text(str(number)))
            assert rig.connection._is_paused
            async with asyncio.timeout(10):
                await app.has_heard()
            assert not rig.connection._is_paused
        assert app.heard == ["0", "1", "2"]


@pytest.mark.parametrize("why", ["library", "client"])
async def test_who_may_not_be_fed_when_its_turn_comes_is_fed_behind_it(why: str) -> None:
    app = App()
    app.may_take.set()
    async with connected(app) as rig:
        await rig.peer.head()
        connection, feeder = rig.connection, rig.resources.feeder
        feeder.spend(TURN)
        connection._receive(text("kept"))
        assert len(feeder) == 1
        stop, go = {
            "library": (connection.pause_reading, connection.resume_reading),
            "client": (connection.pause_writing, connection.resume_writing),
        }[why]
        stop()
        while len(feeder):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert app.heard == []
        go()
        async with asyncio.timeout(10):
            await app.has_heard()


async def test_a_client_that_owes_waits_with_all_of_its_sockets_also_for_single_messages(ws: str) -> None:
    app = App()
    app.may_take.set()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        assert rig.connection._memory is not None
        account = rig.connection._memory.account
        account.spend(0.06)
        rig.connection._receive(text("a single one"))
        assert app.heard == []
        assert rig.connection._is_paused
        async with asyncio.timeout(10):
            await app.has_heard()
        assert account.delay() == 0


async def test_a_client_that_takes_nothing_is_cut() -> None:
    async with connected(App(sends=10_000), send=0.3) as rig:
        await rig.peer.head()
        rig.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await rig.ended()


async def test_a_handshake_that_is_not_answered_is_a_504(ws: str) -> None:
    async with connected(App(accepts=False), ws, handshake=0.1) as rig:
        answer = await rig.peer.rest()
        assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert b"did not answer the handshake within 0.1 s" in answer
        assert rig.connection.status == 504


class Begins(App):
    """Begins an answer that is no 101, and does not go on. The newer library waits for it; the older sends the head."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await self.may_take.wait()


async def test_an_answer_that_is_begun_and_never_comes_is_a_504_too() -> None:
    async with connected(Begins(), handshake=0.1) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 504 ")
        assert rig.connection.status == 504


async def test_a_stop_in_the_middle_of_an_answer_that_has_not_come_is_a_503() -> None:
    async with connected(Begins()) as rig:
        async with asyncio.timeout(10):
            while not rig.connection.status:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        rig.connection.shutdown()
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("early", [100, 100_000])
async def test_a_client_that_leaves_before_the_answer_is_noticed(early: int) -> None:
    async with connected(App(accepts=False)) as rig:
        rig.peer.writer.write(bytes(early))
        await rig.peer.writer.drain()
        await asyncio.sleep(0.05)
        rig.peer.writer.close()
        await rig.ended()


LARGE = {
    "a cookie of 20 KB": ("Cookie: " + "x" * 20_000,),
    "a field of 64 KiB": ("X-Long: " + "x" * (1 << 16),),
    "200 fields": tuple(f"X-{number}: y" for number in range(200)),
}


@pytest.mark.parametrize("fields", LARGE.values(), ids=LARGE)
async def test_a_head_as_large_as_the_gateway_passes_on_is_taken(ws: str, fields: tuple[str, ...]) -> None:
    app = App()
    async with connected(app, ws, *fields) as rig:
        assert (await rig.peer.head()).startswith(b"HTTP/1.1 101 ")
        app.may_take.set()
        rig.peer.say("hello")
        await app.has_heard()
        name, _, value = fields[-1].partition(": ")
        assert (name.encode(), value.encode()) in app.scope["headers"]


@pytest.mark.parametrize(
    "fields",
    [
        ("X-Long: " + "x" * MAX_HEAD,),
        tuple(f"X-{number}: y" for number in range(MAX_FIELDS)),
        ("Sec-WebSocket-Extensions: x" + "; y" * 20_000,),
    ],
    ids=["bytes", "fields", "offers"],
)
async def test_a_larger_one_is_a_431_with_a_line(
    ws: str, fields: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(App(), ws, *fields) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 431 ")
        assert rig.connection.status == 431
        assert "/x: answered the handshake with 431: it" in caplog.text


UNREADABLE = {
    "a control character": "X-Bad: \x01",
    "two versions": "Sec-WebSocket-Version: 13",
    "no extension": "Sec-WebSocket-Extensions: ;;",
}


@pytest.mark.parametrize("field", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_handshake_that_the_library_refuses_is_answered_with_a_line(
    ws: str, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(App(), ws, field) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 400 ")
        await rig.ended()
        assert rig.connection.status == 400
        assert caplog.text.count("/x: answered the handshake with 400: ") == 1


async def test_a_handshake_at_which_the_library_fails_is_a_400(
    ws: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise UnicodeDecodeError("ascii", b"\xfc", 0, 1, "no such character")

    monkeypatch.setattr("ws_service.websocket.library.feed_head", fails)
    async with connected(App(), ws) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 400 ")
        assert "answered the handshake with 400: the WebSocket library failed to read this handshake" in caplog.text


async def test_a_library_that_closes_without_an_answer_has_one_given_for_it(
    ws: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(App(accepts=False), ws) as rig:
        rig.connection._lent.close()
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 500 ")
        assert rig.connection.status == 500
        assert "neither the endpoint nor the WebSocket library answered this handshake" in caplog.text


async def test_an_endpoint_that_returns_without_an_answer_is_one_answer(ws: str) -> None:
    app = App(returns=True)
    async with connected(app, ws) as rig:
        answer = await rig.peer.rest()
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert rig.connection.status == 500


async def test_the_older_library_has_no_deadline_of_its_own_for_a_handshake() -> None:
    async with connected(App(accepts=False), "websockets") as rig:
        assert rig.connection._library.open_timeout is None, "it would close after 10 s without an answer"


@pytest.mark.parametrize("wrapped", [False, True])
async def test_an_endpoint_that_does_not_catch_the_end_of_its_client_is_one_line(
    ws: str, wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ws_service")
    app = App()
    error: BaseException = WebSocketDisconnect(1001)
    app.error = ExceptionGroup("of a task group", [error]) if wrapped else error  # type: ignore[list-item]
    app.may_take.set()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        rig.peer.writer.write(close_frame(1001))
        await rig.peer.rest()
    assert "Traceback" not in caplog.text
    assert caplog.text.count("the endpoint went on when its client had gone") == 1


@pytest.mark.parametrize("method", ["data_received", "shutdown", "connection_lost"])
async def test_what_the_library_raises_ends_this_connection_with_a_line(
    method: str, ws: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise AssertionError("a state that cannot be")

    app = App()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        lose = rig.connection._library.connection_lost
        monkeypatch.setattr(rig.connection._library, method, fails)
        if method == "shutdown":
            rig.connection.shutdown()
        elif method == "data_received":
            rig.peer.say("hello")
        else:
            rig.peer.writer.transport.abort()
        await rig.ended()
        assert f"the WebSocket library failed in {method} (AssertionError: a state that cannot be)" in caplog.text
        if method == "connection_lost":
            lose(None)


async def test_a_stop_before_the_answer_is_a_503() -> None:
    async with connected(App(accepts=False)) as rig:
        rig.connection.shutdown()
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 503 ")


async def test_an_unfinished_message_has_a_deadline(monkeypatch: pytest.MonkeyPatch, ws: str) -> None:
    monkeypatch.setattr(module, "UNFINISHED", 0.2)
    async with connected(App(), ws) as rig:
        await rig.peer.head()
        rig.peer.writer.write(fragment(0x01, b"begun"))
        assert await rig.peer.frame() == (8, b"\x03\xf0unfinished message")
        assert rig.connection.closed_with == 1008


async def test_a_frame_whose_end_does_not_come_has_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNFINISHED", 0.2)
    async with connected(App()) as rig:
        await rig.peer.head()
        rig.peer.writer.write(text("never whole")[:-1])
        assert (await rig.peer.frame())[1].startswith(b"\x03\xf0")


async def test_a_client_is_not_late_while_what_it_sent_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNFINISHED", 0.2)
    async with connected(App()) as rig:
        await rig.peer.head()
        connection = rig.connection
        connection._receive(fragment(0x01, b"begun"))
        assert connection._memory is not None
        connection._memory.account.spend(60)
        connection._receive(fragment(0x80, b" and ended"))
        for now in (1e6, 2e6):
            assert connection.check(now)
        assert connection.closed_with is None
        connection._pending = b""
        for now in (3e6, 4e6):
            connection.check(now)
        assert connection.closed_with == 1008


async def test_who_holds_too_much_is_told_1009(ws: str, caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    async with connected(app, ws, limit=100_000) as rig:
        await rig.peer.head()
        for _ in range(100):
            rig.peer.writer.write(fragment(0x02 if not _ else 0x00, b"x" * 10_000))
        opcode, payload = await rig.peer.frame()
        assert (opcode, payload[:2]) == (8, b"\x03\xf1")
        assert "ws_service.memory_per_client sets it" in caplog.text


@pytest.mark.parametrize(
    ("error", "is_said"),
    [(RuntimeError("the app's own"), True), (type("WebSocketDisconnect", (Exception,), {})(), False)],
)
async def test_an_endpoints_own_fault_is_told_when_its_client_has_gone(
    error: Exception, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    app = App()
    app.error = error
    app.may_take.set()
    async with connected(app) as rig:
        await rig.peer.head()
    assert ("Exception in ASGI application" in caplog.text) is is_said
    assert ("the endpoint went on when its client had gone" in caplog.text) is not is_said


@pytest.mark.parametrize("kind", ["504", "too much", "failed", "unfinished", "parting"])
async def test_what_a_client_can_cause_on_every_socket_is_said_once(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    app = App(accepts=kind != "504")
    if kind == "parting":
        app.error = type("WebSocketDisconnect", (Exception,), {})()
        app.may_take.set()
    if kind == "unfinished":
        monkeypatch.setattr(module, "UNFINISHED", 0.2)
    async with AsyncExitStack() as stack:
        resources = Resources(100_000)
        for _ in range(3):
            rig = await stack.enter_async_context(connected(app, shared=resources, handshake=0.1))
            if kind == "504":
                assert b" 504 " in await rig.peer.rest()
                continue
            await rig.peer.head()
            if kind == "too much":
                rig.peer.writer.write(fragment(0x02, b"x" * 60_000) + fragment(0x00, b"x" * 60_000))
                await rig.ended()
            elif kind == "failed":
                rig.connection._failed("data_received", ValueError("x"))
            elif kind == "unfinished":
                rig.peer.writer.write(fragment(0x01, b"begun"))
                await rig.peer.frame()
                rig.peer.writer.transport.abort()
                await rig.ended()
    said = [record.getMessage() for record in caplog.records if record.name == "ws_service.websocket.connection"]
    assert len(said) == 1, said


async def test_a_handshake_of_a_client_that_holds_too_much_is_a_429_in_the_log_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connected(App(accepts=False), limit=1000) as rig:
        rig.connection.count_for("203.0.113.7")
        rig.peer.writer.write(bytes(5000))
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 429 ")
        assert "is answered with 429. ws_service.memory_per_client" in caplog.text
        assert "1009" not in caplog.text


async def test_the_lent_transport_is_the_clients_but_for_its_protocol() -> None:
    async with connected(App()) as rig:
        await rig.peer.head()
        lent = rig.connection._lent
        assert lent.get_protocol() is rig.connection
        assert lent.get_extra_info("peername") is not None
        lent.set_write_buffer_limits(high=1 << 30)
        assert lent.get_write_buffer_limits()[1] == module.WRITE_MARK
        assert lent.is_reading()
        lent.pause_reading()
        assert not lent.is_reading()
        lent.resume_reading()
        lent.writelines([b"\x8a\x00", b"\x8a\x00"])
        assert [await rig.peer.frame() for _ in range(2)] == [(10, b"")] * 2
        assert lent.can_write_eof()
        with pytest.raises(RuntimeError):
            lent.set_protocol(asyncio.Protocol())
