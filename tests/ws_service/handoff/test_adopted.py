"""An adopted socket on each of uvicorn's WebSocket implementations: the same app, the same end, and a true report."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.ws_service.adopting import Peer, close_frame, head, parts, tcp, text_frame
from tests.ws_service.adopting import both_loops as both_loops
from ws_service.handoff.adopted import Adopted
from ws_service.handoff.protocol import Ended, Ending, Open, Socket
from ws_service.websocket.resources import Resources

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Rig:
    """One adopted socket, and what is told about it."""

    def __init__(self, peer: Peer, made_of: dict[str, Any]) -> None:
        self.peer = peer
        self.made_of = made_of
        self.begun: list[Adopted] = []
        self.resources = Resources(64 << 20)
        self.report: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    async def ended(self) -> Ended:
        async with asyncio.timeout(10):
            return await self.report


@asynccontextmanager
async def adopted(
    ws: str = "auto",
    target: str = "/echo",
    *fields: str,
    leftover: bytes = b"",
    client: str = "127.0.0.1",
    is_secure: bool = False,
    handshake: float = 15,
    send: float = 60,
) -> AsyncIterator[Rig]:
    made_of = parts(ws=ws)
    async with tcp() as (sock, peer):
        rig = Rig(peer, made_of)
        about = Socket("x1", client, target, "example.com", "websocket", 1.0)
        message = Open(about, is_secure, head(target, *fields), leftover, handshake, send)
        protocol = Adopted(
            message, sock, rig.resources, rig.begun.append, lambda _, report: rig.report.set_result(report), **made_of
        )
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
        yield rig
        peer.writer.transport.abort()
        await rig.ended()
        async with asyncio.timeout(10):
            await asyncio.gather(*made_of["server_state"].tasks, return_exceptions=True)
        assert not made_of["server_state"].connections


async def test_the_app_gets_the_scope_that_uvicorn_would_have_made(ws: str) -> None:
    async with adopted(ws, "/a%20b/c?x=1", "X-Forwarded-For: 6.6.6.6", "X-Odd:  a: b ") as rig:
        assert (await rig.peer.head()).startswith(b"HTTP/1.1 101 ")
        told = json.loads((await rig.peer.frame())[1])
        assert told["client"] == list(rig.peer.writer.get_extra_info("sockname")), "the client itself, with its port"
        assert (told["scheme"], told["path"], told["raw_path"]) == ("ws", "/a b/c", "/a%20b/c")
        assert told["state"] == {"pool": "from lifespan"}
        fields = dict(told["headers"])
        assert (fields["host"], fields["x-odd"]) == ("example.com", "a: b")
        assert all(name == name.lower() for name in fields)
        assert len(rig.begun) == 1


async def test_what_the_gateway_knows_of_the_client_is_trusted(ws: str) -> None:
    async with adopted(ws, client="203.0.113.9", is_secure=True) as rig:
        await rig.peer.head()
        told = json.loads((await rig.peer.frame())[1])
        assert (told["client"], told["scheme"]) == (["203.0.113.9", 0], "wss")


async def test_the_leftover_comes_first(ws: str) -> None:
    async with adopted(ws, leftover=text_frame("one") + text_frame("two")[:4]) as rig:
        rig.peer.writer.write(text_frame("two")[4:] + text_frame("three"))
        await rig.peer.head()
        await rig.peer.frame()
        assert [(await rig.peer.frame())[1] for _ in range(3)] == [b"one", b"two", b"three"]


@pytest.mark.parametrize(("target", "status", "body"), [("/refuse", 403, b""), ("/answer", 418, b"short and stout")])
async def test_a_refusal_is_answered_and_nothing_is_read_behind_it(
    ws: str, target: str, status: int, body: bytes
) -> None:
    pipelined = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    async with adopted(ws, target, leftover=pipelined) as rig:
        answer = await rig.peer.rest()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1") == 1
        assert body in answer
        report = await rig.ended()
        assert (report.status, report.close_code, report.ending) == (status, None, Ending.SERVICE)


async def test_an_app_that_fails_is_a_500(ws: str) -> None:
    async with adopted(ws, "/fail") as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 500 ")
        assert (await rig.ended()).status == 500


async def test_a_client_that_leaves_before_the_answer_is_a_499(ws: str) -> None:
    async with adopted(ws, "/silent") as rig:
        rig.peer.writer.close()
        report = await rig.ended()
        assert (report.status, report.ending) == (499, Ending.CLIENT)


async def test_the_bytes_of_both_directions_are_the_kernels(ws: str) -> None:
    early = text_frame("early")
    async with adopted(ws, leftover=early) as rig:
        sent = len(await rig.peer.head()) + 2 + 2 + len((await rig.peer.frame())[1])  # 126 < its size < 65536
        for text in ("early", "hello"):
            if text == "hello":
                rig.peer.say(text)
            sent += 2 + len((await rig.peer.frame())[1])
        rig.peer.writer.close()
        report = await rig.ended()
        assert report.received == len(early) + len(text_frame("hello"))
        assert report.sent is not None
        assert sent <= report.sent <= sent + 8, "and perhaps a close frame that nobody reads"
        assert report.duration < 10


async def test_the_end_is_told_with_its_code_and_its_author(ws: str) -> None:
    async with adopted(ws) as rig:
        await rig.peer.head()
        rig.peer.writer.write(close_frame(1001))
        await rig.peer.leave()
        report = await rig.ended()
        assert (report.status, report.close_code) == (101, 1001)
        assert report.ending is Ending.CLIENT

    async with adopted(ws, "/close") as rig:
        await rig.peer.head()
        assert await rig.peer.frame() == (8, b"\x0b\xb9enough")
        rig.peer.writer.write(close_frame(3001))
        await rig.peer.leave()
        report = await rig.ended()
        assert (report.close_code, report.status) == (3001, 101)
        assert report.ending is Ending.SERVICE

    async with adopted(ws) as rig:
        await rig.peer.head()
        for connection in list(rig.made_of["server_state"].connections):
            connection.shutdown()
        await rig.peer.frame()
        assert await rig.peer.frame() == (8, b"\x03\xf4")
        rig.peer.writer.write(close_frame(1012))
        await rig.peer.leave()
        report = await rig.ended()
        assert (report.close_code, report.ending) == (1012, Ending.SERVICE)

    async with adopted(ws) as rig:
        await rig.peer.head()
        rig.peer.writer.transport.abort()
        report = await rig.ended()
        assert report.close_code is None
        assert report.ending in (Ending.CLIENT, Ending.RESET)


@pytest.mark.parametrize(
    "what", ["ws_service.handoff.socket_report._counts", "ws_service.websocket.client_socket.keep_alive"]
)
async def test_a_connection_that_cannot_be_made_is_answered_and_reported(
    what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        monkeypatch.undo()
        raise AssertionError("a state that cannot be")

    monkeypatch.setattr(what, fails)
    async with adopted() as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 500 ")
        assert (await rig.ended()).status == 500
        assert len(rig.begun) == 1
        assert "failed in connection_made (AssertionError: a state that cannot be)" in caplog.text


async def test_a_handshake_that_the_library_refuses_is_answered_by_it() -> None:
    """The gateway lets none pass; but whoever speaks its language could."""
    async with adopted("websockets-sansio", "/echo", "Sec-WebSocket-Version: 12") as rig:
        assert b" 4" in (await rig.peer.head())[:13]
        report = await rig.ended()
        assert (report.status, report.ending) == (400, Ending.SERVICE), "what the client was told"


async def test_nonsense_is_no_connection(ws: str) -> None:
    made_of = parts(ws=ws)
    async with tcp() as (sock, peer):
        report: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        about = Socket("x1", "-", "/", "", "", 1.0)
        message = Open(about, False, b"\x16\x03\x01\r\n\r\n\r\n", b"", 15, 60)
        protocol = Adopted(
            message, sock, Resources(64 << 20), lambda _: None, lambda _, told: report.set_result(told), **made_of
        )
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
        await peer.rest()
        async with asyncio.timeout(10):
            await report


@pytest.mark.parametrize("client", ["unix", "203.0.113.9"])
async def test_the_client_of_a_unix_socket_is_whom_the_gateway_names_and_has_no_bytes(client: str) -> None:
    made_of = parts()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    report: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    message = Open(Socket("x1", client, "/echo", "example.com", "websocket", 1.0), False, head(), b"", 15, 60)
    protocol = Adopted(
        message, ours, Resources(64 << 20), lambda _: None, lambda _, told: report.set_result(told), **made_of
    )
    await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, ours)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    peer = Peer(reader, writer)
    await peer.head()
    assert json.loads((await peer.frame())[1])["client"] == [client, 0]
    writer.close()
    async with asyncio.timeout(10):
        told = await report
    assert (told.received, told.sent, told.ending) == (None, None, Ending.CLIENT)
