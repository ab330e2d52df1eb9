"""What all WebSocket connections have in common, at one that does nothing but that."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.wire.frames import CLOSE
from tests.ws_service.adopting import Peer, tcp
from ws_service.websocket.client_socket import ClientSocket
from ws_service.websocket.resources import Resources


class Library:
    def __init__(self) -> None:
        self.extensions: list[Any] = []
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


class Plain(ClientSocket):
    __slots__ = ()

    def eof_received(self) -> None:
        self.has_client_ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.input.close()


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Plain, Library, Peer]]:
    connections: set[Any] = set()
    resources, library = Resources(1 << 20), Library()
    async with tcp() as (sock, peer):
        made = Plain(library, connections, resources, handshake=15, send=60)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: made, sock)
        assert connections == {made}
        yield made, library, peer
        peer.writer.transport.abort()
        async with asyncio.timeout(10):
            while connections:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        assert made.is_lost
        assert len(resources.sweep) == len(resources.memory) == len(resources.scheduler) == 0, "all is given back"


async def test_it_reads_for_its_library_once_the_handshake_is_accepted() -> None:
    async with connected() as (made, library, peer):
        peer.writer.write(b"early")
        made.write(b"an answer")
        made.input.accept("10.0.0.7")
        peer.writer.write(b" and late")
        async with asyncio.timeout(10):
            while library.data != b"early and late":  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.01)
        assert made.written == len(b"an answer")


async def test_a_refusal_is_a_whole_answer_and_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with connected() as (made, _, peer):
        made.note_path(b"GET /x?token=secret HTTP/1.1\r\n\r\n")
        assert made.is_unanswered
        made.refuse(403, "it is not allowed")
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 403 ") and b"It is not allowed." in answer
        assert "/x: answered the handshake with 403: it is not allowed" in caplog.text
        assert "secret" not in caplog.text
        assert made.is_gone and not made.is_unanswered


async def test_a_close_of_its_own_has_a_code() -> None:
    async with connected() as (made, _, peer):
        made.close_with(1008, "no")
        assert await peer.frame() == (CLOSE, struct.pack("!H", 1008) + b"no")
        assert made.closed_with == 1008


async def test_a_fault_before_the_answer_is_a_500_and_after_it_a_cut(caplog: pytest.LogCaptureFixture) -> None:
    async with connected() as (made, _, peer):
        made.failed("data_received", RuntimeError("a fault"))
        assert (await peer.rest()).startswith(b"HTTP/1.1 500 ")
    async with connected() as (made, _, peer):
        made.write(b"x")
        made.failed("data_received", RuntimeError("a fault"))
        assert await peer.rest() in (b"", b"x")
    assert "failed in data_received (RuntimeError: a fault)" in caplog.text


async def test_after_its_end_nothing_is_written() -> None:
    async with connected() as (made, _, peer):
        made.abort()
        made.write(b"x")
        assert made.written == 0
        assert await peer.rest() == b""
