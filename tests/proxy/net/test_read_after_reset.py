"""What the kernel still holds of a connection that a failed write has closed: read once, in pieces, and given back."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import cast

import pytest

from proxy.net.fair_reads import READ_SIZE
from proxy.net.read_after_reset import ReadAfterReset, half_close, read_after_reset

WHY = ConnectionResetError("a write met the reset")


class Protocol(asyncio.Protocol):
    """What was told."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.lost: list[Exception | None] = []
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)
        self.ended.set()


class Transport(asyncio.Transport):
    """All that is asked of one."""

    def __init__(self, sock: socket.socket | None, **info: object) -> None:
        super().__init__({"socket": sock, **info})


def reset(said: bytes) -> socket.socket:
    """Return one end of a connection whose other end has said something, and reset it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    far.sendall(said)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    with pytest.raises(OSError):
        while True:
            near.send(b"x")
    return near


def begin(sock: socket.socket, protocol: Protocol, *, is_paused: bool = False) -> ReadAfterReset:
    rest = read_after_reset(Transport(sock), protocol, WHY, is_paused=is_paused)
    assert rest is not None
    sock.close()  # as the transport does that is lost
    return rest


async def test_what_was_said_before_the_reset_is_read_to_its_end_and_the_end_is_told_once() -> None:
    said, protocol = bytes(range(256)) * 100, Protocol()
    rest = begin(reset(said), protocol)
    async with asyncio.timeout(10):
        await protocol.ended.wait()
    assert b"".join(protocol.pieces) == said
    assert max(map(len, protocol.pieces)) <= READ_SIZE
    rest.abort()
    rest.close()
    await asyncio.sleep(0)
    assert protocol.lost == [WHY]
    assert rest.is_closing()


async def test_it_waits_for_a_reader_that_is_slow() -> None:
    protocol = Protocol()
    rest = begin(reset(b"said"), protocol, is_paused=True)
    await asyncio.sleep(0.01)
    assert protocol.pieces == [] and not rest.is_reading()
    rest.resume_reading()
    rest.pause_reading()
    await asyncio.sleep(0.01)
    assert protocol.pieces == []
    rest.resume_reading()
    async with asyncio.timeout(10):
        await protocol.ended.wait()
    assert protocol.pieces == [b"said"]


async def test_what_reads_no_more_gets_no_more_and_the_descriptor_is_given_back() -> None:
    before = len(os.listdir("/dev/fd"))
    protocol = Protocol()
    begin(reset(b"said"), protocol).abort()
    async with asyncio.timeout(10):
        await protocol.ended.wait()
    assert protocol.pieces == []
    assert len(os.listdir("/dev/fd")) == before


async def test_what_is_written_goes_nowhere() -> None:
    protocol = Protocol()
    rest = begin(reset(b"said"), protocol, is_paused=True)
    rest.write(b"x")
    rest.write_eof()
    assert rest.can_write_eof() and rest.get_write_buffer_size() == 0
    other = Protocol()
    rest.set_protocol(other)
    rest.resume_reading()
    async with asyncio.timeout(10):
        await other.ended.wait()
    assert other.pieces == [b"said"] and protocol.pieces == []


async def test_there_is_none_where_nothing_is_left_to_read() -> None:
    protocol = Protocol()
    with reset(b"") as silent, reset(b"said") as sock:
        assert read_after_reset(Transport(silent), protocol, WHY, is_paused=False) is None
        assert read_after_reset(Transport(sock), protocol, None, is_paused=False) is None, "no write has failed"
        assert read_after_reset(Transport(sock, sslcontext=object()), protocol, WHY, is_paused=False) is None
        assert read_after_reset(Transport(None), protocol, WHY, is_paused=False) is None
        assert read_after_reset(None, protocol, WHY, is_paused=False) is None
        rest = read_after_reset(Transport(sock), protocol, WHY, is_paused=True)
        assert read_after_reset(cast(asyncio.Transport, rest), protocol, WHY, is_paused=True) is None, "only once"
        assert rest is not None
        rest.abort()
        await asyncio.sleep(0)


async def test_a_half_close_that_meets_a_reset_is_no_error_and_the_loop_tells_of_the_reset() -> None:
    protocol = Protocol()
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, sock=near)
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    half_close(transport)
    async with asyncio.timeout(10):
        await protocol.ended.wait()
    assert isinstance(protocol.lost[0], ConnectionResetError)
