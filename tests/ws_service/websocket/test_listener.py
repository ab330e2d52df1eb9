"""The service's own listener: a head has a deadline, silence has a cap, and a WebSocket has neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from tests.ws_service.adopting import Peer, application, close_frame, head, parts
from ws_service.websocket import listener as module
from ws_service.websocket import sweep
from ws_service.websocket.library import MAX_HEAD
from ws_service.websocket.listener import LimitedHTTP, ListenerResources, Tunnelled

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    return request.param()  # type: ignore[no-any-return]


async def both(scope: dict[str, object], receive: object, send: object) -> None:
    if scope["type"] == "websocket":
        await application(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]


class Rig:
    def __init__(self, port: int, resources: ListenerResources, connections: set[Any]) -> None:
        self.port, self.resources, self.connections = port, resources, connections
        self.peers: list[Peer] = []

    async def dial(self) -> Peer:
        self.peers.append(Peer(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.peers[-1]

    async def counts(self, silent: int) -> None:
        async with asyncio.timeout(10):
            while len(self.resources.first) + len(self.resources.idle) != silent:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(handshake: float = 15, app: Any = both) -> AsyncIterator[Rig]:
    made_of = parts(app, http=LimitedHTTP)
    made_of["config"].ws_protocol_class = Tunnelled
    made_of["config"].resources = resources = ListenerResources(64 << 20, handshake)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: LimitedHTTP(**made_of), "127.0.0.1", 0)
    rig = Rig(server.sockets[0].getsockname()[1], resources, made_of["server_state"].connections)
    try:
        yield rig
    finally:
        for peer in rig.peers:
            peer.writer.transport.abort()
        server.close()
    await rig.counts(0)
    async with asyncio.timeout(10):
        while made_of["server_state"].connections:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        await asyncio.gather(*made_of["server_state"].tasks, return_exceptions=True)
    assert len(resources.sweep) == len(resources.memory) == 0


async def test_a_head_that_does_not_come_has_a_deadline_before_and_behind_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HEAD", 0.2)
    monkeypatch.setattr(module, "_PERIOD", 0.05)
    async with listening() as rig:
        silent, second = await rig.dial(), await rig.dial()
        second.writer.write(HEALTH)
        assert (await second.head()).startswith(b"HTTP/1.1 204 ")
        second.writer.write(HEALTH[:10])
        assert await silent.rest() == b""
        assert await second.rest() == b""


async def test_the_oldest_that_is_silent_goes_for_the_next(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_SILENT", 2)
    async with listening() as rig:
        oldest = await rig.dial()
        await rig.counts(1)
        others = [await rig.dial() for _ in range(2)]
        assert await oldest.rest() == b""
        for peer in others:
            peer.writer.write(HEALTH)
            assert (await peer.head()).startswith(b"HTTP/1.1 204 ")
        assert len([line for line in caplog.messages if "send nothing; the oldest are closed" in line]) == 1


async def test_a_websocket_is_waited_for_no_more_and_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD", 0.1)
    monkeypatch.setattr(module, "_PERIOD", 0.02)
    async with listening() as rig:
        peer = await rig.dial()
        peer.writer.write(head("/echo", "X-Forwarded-For: 203.0.113.9"))
        assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
        assert len(rig.resources.first) == 0
        assert len(rig.resources.sweep) == 1
        await peer.frame()
        silent = await rig.dial()
        assert await silent.rest() == b"", "the time of a head has passed"
        for text in ("one", "two", "x" * 100):
            peer.say(text)
            assert await peer.frame() == (1, text.encode())
        account = rig.resources.memory.account("203.0.113.9")
        assert len(account.sockets) == 1, "the gateway's word for who it is"
        peer.writer.write(close_frame(1000))
        assert (await peer.frame())[0] == 8


async def test_connections_between_two_requests_do_not_go_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway is about to use them, and a request that meets a close may fail."""
    monkeypatch.setattr(module, "MAX_SILENT", 2)
    async with listening() as rig:
        for _ in range(5):
            peer = await rig.dial()
            peer.writer.write(HEALTH)
            assert (await peer.head()).startswith(b"HTTP/1.1 204 ")
        await rig.counts(5)
        for peer in rig.peers:
            peer.writer.write(HEALTH)
            assert (await peer.head()).startswith(b"HTTP/1.1 204 ")


async def test_what_an_app_does_after_an_answer_is_no_deadline_for_the_next_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HEAD", 0.2)
    monkeypatch.setattr(module, "_PERIOD", 0.05)
    has_come, has_ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/poll":
            has_come.set()
            await has_ended.wait()
            await asyncio.sleep(0.5)  # longer than a head may take
        await both(scope, receive, send)
        if scope["path"] == "/background":
            await has_come.wait()
            has_ended.set()

    async with listening(app=app) as rig:
        peer = await rig.dial()
        for path in (b"/background", b"/poll"):
            peer.writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            assert (await peer.head()).startswith(b"HTTP/1.1 204 ")
        assert await peer.rest() == b"", "and then it is idle"


async def test_trailers_are_no_fields_of_the_head() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        seen.extend(scope["headers"])
        await both(scope, receive, send)

    async with listening(app=app) as rig:
        peer = await rig.dial()
        peer.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-User: root\r\n\r\n")
        assert (await peer.head()).startswith(b"HTTP/1.1 204 ")
        assert seen == [(b"host", b"x"), (b"transfer-encoding", b"chunked")]


async def test_a_handshake_that_came_through_the_listener_has_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)
    async with listening(handshake=0.1) as rig:
        peer = await rig.dial()
        peer.writer.write(head("/silent"))
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert b"The endpoint did not answer the handshake within 0.1 s." in answer
        async with asyncio.timeout(10):
            while rig.connections:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("size", [20_000, 100_000])
async def test_a_large_head_is_taken_in_however_many_reads(size: int) -> None:
    async with listening() as rig:
        peer = await rig.dial()
        peer.writer.write(head("/echo?" + "q" * 16_000, "Cookie: " + "x" * size))
        assert (await peer.head()).startswith(b"HTTP/1.1 101 ")


async def test_a_head_without_an_end_is_a_431_and_holds_no_more_memory() -> None:
    async with listening() as rig:
        peer = await rig.dial()
        peer.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (MAX_HEAD + (1 << 20)))
        assert (await peer.head()).startswith(b"HTTP/1.1 431 ")


async def test_a_body_is_no_part_of_a_head_however_it_comes() -> None:
    body = bytes(2 * MAX_HEAD)
    async with listening() as rig:
        peer = await rig.dial()
        for _ in range(2):
            peer.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert (await peer.head()).startswith(b"HTTP/1.1 204 ")


async def test_a_connection_that_cannot_be_shut_down_disturbs_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        raise AssertionError("a state that cannot be")

    monkeypatch.setattr(LimitedHTTP.__bases__[0], "shutdown", fails)
    async with listening() as rig:
        peer = await rig.dial()
        await rig.counts(1)
        for connection in list(rig.connections):
            connection.shutdown()
        assert await peer.rest() == b""
        assert "could not be closed at the stop (AssertionError: a state that cannot be)" in caplog.text
