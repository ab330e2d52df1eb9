"""What goes to a client, on a transport that only notes what it is told."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import pytest

from proxy.http1.client_writer import ClientWriter


class Wire:
    """A transport that keeps what is written."""

    def __init__(self, held: int = 0) -> None:
        self.sent, self.held, self.is_aborted = b"", held, False
        self.sock = socket.socket()

    def write(self, data: bytes) -> None:
        self.sent += data

    def abort(self) -> None:
        self.is_aborted = True
        self.sock.close()

    def get_write_buffer_size(self) -> int:
        return self.held

    def get_extra_info(self, name: str) -> Any:
        return self.sock


def writer_on(wire: Wire) -> ClientWriter:
    writer = ClientWriter(timeout=1)
    writer.transport = cast(asyncio.Transport, wire)
    return writer


def test_bytes_are_sent_and_counted_and_after_the_end_they_go_nowhere() -> None:
    wire = Wire()
    writer = writer_on(wire)
    writer.write(b"abc")
    writer.ended()
    writer.write(b"def")
    wire.sock.close()
    assert (wire.sent, writer.written, writer.taken()) == (b"abc", 3, None)


async def test_a_slow_client_is_waited_for() -> None:
    wire = Wire()
    writer = writer_on(wire)
    await writer.drain()
    writer.set_slow(True)
    waiting = asyncio.get_running_loop().create_task(writer.drain(), name="drain")
    await asyncio.sleep(0)
    assert not waiting.done()
    writer.set_slow(False)
    await waiting
    wire.sock.close()


async def test_a_client_that_leaves_is_not_waited_for() -> None:
    wire = Wire()
    writer = writer_on(wire)
    writer.set_slow(True)
    waiting = asyncio.get_running_loop().create_task(writer.drain(), name="drain")
    await asyncio.sleep(0)
    writer.ended()
    with pytest.raises(ConnectionResetError):
        await waiting
    wire.sock.close()


def test_a_client_that_takes_too_long_is_cut_with_a_reset() -> None:
    wire = Wire(held=10)
    writer = writer_on(wire)
    writer.took_too_long()
    assert writer.was_too_slow
    assert wire.is_aborted
