"""What is done around the library: every handshake is answered, and its faults end one connection alone."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.ws_service.adopting import both_loops as both_loops
from tests.ws_service.websocket.connections import App, Begins, connected, fragment
from ws_service.websocket import deadlines, sweep
from ws_service.websocket.library import MAX_FIELDS, MAX_HEAD
from ws_service.websocket.resources import Resources

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)


async def test_a_stop_in_the_middle_of_an_answer_that_has_not_come_is_a_503() -> None:
    async with connected(Begins()) as rig:
        async with asyncio.timeout(10):
            while not rig.connection.status:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        rig.connection.shutdown()
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 503 ")


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


async def test_the_older_library_has_no_deadline_of_its_own_for_a_handshake() -> None:
    async with connected(App(accepts=False), "websockets") as rig:
        assert rig.connection._library.open_timeout is None, "it would close after 10 s without an answer"


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


@pytest.mark.parametrize("kind", ["504", "too much", "failed", "unfinished", "disconnect"])
async def test_what_a_client_can_cause_on_every_socket_is_logged_once(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    app = App(accepts=kind != "504")
    if kind == "disconnect":
        app.error = type("WebSocketDisconnect", (Exception,), {})()
        app.may_take.set()
    if kind == "unfinished":
        monkeypatch.setattr(deadlines, "UNFINISHED", 0.2)
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
                rig.connection.failed("data_received", ValueError("x"))
            elif kind == "unfinished":
                rig.peer.writer.write(fragment(0x01, b"begun"))
                await rig.peer.frame()
                rig.peer.writer.transport.abort()
                await rig.ended()
    said = [record.getMessage() for record in caplog.records if record.name == "ws_service.websocket"]
    assert len(said) == 1, said
