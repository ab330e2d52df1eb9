"""Adopted sockets of the hub: the same connection, and the end of each is reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.wire.frames import CLOSE, TEXT
from tests.ws_service.adopting import Peer, close_frame, head, tcp, text_frame
from tests.ws_service.adopting import both_loops as both_loops
from tests.ws_service.hub.sockets import PATH, TakingHub
from ws_service.handoff.adopted_hub import AdoptedHubSocket
from ws_service.handoff.protocol import Ended, Ending, Open, Socket
from ws_service.websocket.resources import Resources

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Rig:
    def __init__(self, peer: Peer, connections: set[Any], hub: TakingHub) -> None:
        self.peer, self.connections, self.hub = peer, connections, hub
        self.begun: list[AdoptedHubSocket] = []
        self.report: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()

    async def ended(self) -> Ended:
        async with asyncio.timeout(10):
            return await self.report


@asynccontextmanager
async def adopted(given: bytes | None = None, leftover: bytes = b"", memory: int = 64 << 20) -> AsyncIterator[Rig]:
    connections: set[Any] = set()
    resources = Resources(memory)
    async with tcp() as (sock, peer):
        rig = Rig(peer, connections, TakingHub())
        about = Socket("x1", "203.0.113.9", PATH, "example.com", "websocket", 1.0)
        message = Open(about, False, given or head(PATH, "X-User: ada"), leftover, 15, 60)
        connection = AdoptedHubSocket(
            message,
            sock,
            rig.hub,
            resources,
            connections,
            rig.begun.append,
            lambda _, report: rig.report.set_result(report),
        )
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        yield rig
        peer.writer.transport.abort()
        await rig.ended()
        assert not connections
        assert len(resources.sweep) == len(resources.memory) == len(resources.scheduler) == 0, "all is given back"


async def test_its_client_is_whom_the_gateway_names_and_the_leftover_comes_first() -> None:
    async with adopted(leftover=text_frame("one") + text_frame("two")[:4]) as rig:
        rig.peer.writer.write(text_frame("two")[4:])
        assert (await rig.peer.head()).startswith(b"HTTP/1.1 101 ")
        (client,) = rig.hub.clients
        await client.has_taken(2)
        assert client.taken == [b"one", b"two"]
        assert client.handshake.address == "203.0.113.9"
        assert client.handshake.field("x-user") == "ada"
        assert len(rig.begun) == 1


async def test_the_end_is_reported_with_its_code_its_author_and_the_kernels_bytes() -> None:
    async with adopted() as rig:
        sent = len(await rig.peer.head())
        rig.hub.clients[0].connection.send(b"hello")
        assert await rig.peer.frame() == (TEXT, b"hello")
        rig.hub.clients[0].connection.close(3500, "invalid token")
        assert (await rig.peer.frame())[0] == CLOSE
        rig.peer.writer.write(close_frame(3500))
        await rig.peer.leave()
        report = await rig.ended()
        assert (report.status, report.close_code, report.ending) == (101, 3500, Ending.SERVICE)
        assert report.received == len(close_frame(3500))
        assert report.sent == sent + 2 + 5 + 2 + 2 + len("invalid token")


async def test_a_client_that_leaves_is_reported_so() -> None:
    async with adopted() as rig:
        await rig.peer.head()
        rig.peer.writer.write(close_frame(1001))
        await rig.peer.leave()
        report = await rig.ended()
        assert (report.close_code, report.ending) == (1001, Ending.CLIENT)
        assert rig.hub.clients[0].ends == 1


async def test_a_refusal_is_answered_and_nothing_is_read_after_it() -> None:
    async with adopted(b"GET /connection/websocket HTTP/1.1\r\nHost: a\r\n\r\n", text_frame("one")) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 426 ")
        report = await rig.ended()
        assert (report.status, report.ending) == (426, Ending.SERVICE)
        assert not rig.hub.clients


async def test_a_leftover_that_is_too_much_for_its_client_is_a_429() -> None:
    async with adopted(leftover=bytes(2000), memory=1000) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 429 ")
        assert (await rig.ended()).status == 429


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
        assert "failed in connection_made (AssertionError: a state that cannot be)" in caplog.text
