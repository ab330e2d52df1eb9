"""The listening sockets in the test's own loop: who is let in, who is not, and when nobody is."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp.web_protocol import RequestHandler

from proxy.door import Door, listening_sockets, listening_unix_socket
from proxy.limits import Admission, Slot


class Visitor(asyncio.Protocol):
    """Stands for a connection: it counts until it is lost."""

    def __init__(self, rig: Rig, slot: Slot) -> None:
        self._rig, self._slot = rig, slot

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(b"welcome")
        self._rig.visitors.append(self)
        self._rig.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._rig.visitors.remove(self)
        self._slot.release()
        self._rig.changed.set()


class Rig:
    """A door on a free port, with limits that a test may change at any time."""

    def __init__(self) -> None:
        self.admission = Admission()
        self.capacity = 100
        self.most: int | None = None
        self.visitors: list[Visitor] = []
        self.changed = asyncio.Event()
        self.door = Door(
            self.admission,
            capacity=lambda: (self.capacity, f"room for {self.capacity} connections (the test)"),
            most_of=lambda address: self.most,
            protocol=self.make,
        )

    def make(self, slot: Slot) -> RequestHandler:
        return Visitor(self, slot)  # type: ignore[return-value]

    @property
    def count(self) -> int:
        return self.admission.connections.total

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not is_so():
                self.changed.clear()
                await self.changed.wait()

    async def open(self) -> None:
        sockets = await listening_sockets("127.0.0.1", 0)
        self.port = sockets[0].getsockname()[1]
        self.door.open(sockets)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.open()
    yield made
    made.door.close()
    for visitor in list(made.visitors):
        visitor.transport.abort()
    await made.until(lambda: not made.visitors)
    assert made.count == 0, "everybody has been counted out"


class Caller:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def hears(self) -> bytes:
        async with asyncio.timeout(10):
            return await asyncio.get_running_loop().sock_recv(self.sock, 1000)

    def has_heard_nothing(self) -> bool:
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True

    def leave(self) -> None:
        self.sock.close()


async def call(rig: Rig, source: str = "127.0.0.1") -> Caller:
    """Connect; the kernel does that whether or not somebody accepts."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind((source, 0))
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", rig.port))
    except OSError:
        sock.close()
        raise
    return Caller(sock)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_who_comes_is_counted_until_the_connection_is_lost(rig: Rig) -> None:
    callers = [await call(rig) for _ in range(3)]
    assert [await caller.hears() for caller in callers] == [b"welcome"] * 3
    assert (rig.count, rig.admission.connections.of("127.0.0.1")) == (3, 3)
    callers.pop().leave()
    await rig.until(lambda: rig.count == 2)
    for caller in callers:
        caller.leave()


async def test_small_pieces_are_sent_at_once(rig: Rig) -> None:
    caller = await call(rig)
    await caller.hears()
    lent = rig.visitors[0].transport.get_extra_info("socket")
    assert lent.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    caller.leave()


async def test_one_client_too_many_hears_why_and_another_client_is_let_in(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.most = 2
    callers = [await call(rig) for _ in range(2)]
    for caller in callers:
        assert await caller.hears() == b"welcome"
    for _ in range(3):
        refused = await call(rig)
        answer = await refused.hears()
        assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nRetry-After: 5\r\n" in answer
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: %d" % len(body) in head
        assert b"Connection: close" in head
        assert await refused.hears() == b""
        refused.leave()
    other = await call(rig, "127.0.0.2")
    assert await other.hears() == b"welcome"
    (line,) = warnings(caplog)
    assert "127.0.0.1 has 2 connections, the most that gateway.limits.connections_per_client allows" in line
    callers.pop().leave()
    await rig.until(lambda: rig.count == 2)
    again = await call(rig)
    assert await again.hears() == b"welcome"
    for caller in (*callers, other, again):
        caller.leave()


async def test_when_all_are_taken_nobody_is_accepted_and_whoever_waits_comes_in_when_one_ends(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.capacity = 2
    first, second = await call(rig), await call(rig)
    assert [await first.hears(), await second.hears()] == [b"welcome"] * 2
    waiting = [await call(rig) for _ in range(3)]
    async with asyncio.timeout(10):
        while not rig.door.is_paused:  # noqa: ASYNC110 - the door tells nobody
            await asyncio.sleep(0)
    assert all(caller.has_heard_nothing() for caller in waiting)
    for leaver in (first, second, waiting[0]):
        leaver.leave()
        await rig.until(lambda: rig.count < 2)
        await rig.until(lambda: rig.count == 2)
    assert await waiting[1].hears() == b"welcome"
    (line,) = warnings(caplog)
    assert line == "accepting nobody for now: 2 connections are open; room for 2 connections (the test)"
    for caller in waiting[1:]:
        caller.leave()


async def test_never_more_than_there_is_room_for(rig: Rig) -> None:
    rig.capacity = 5
    callers = [await call(rig) for _ in range(50)]
    most = 0
    for caller in callers:
        assert await caller.hears() == b"welcome"
        most = max(most, rig.count)
        caller.leave()
    assert most == 5


async def test_a_reload_that_makes_room_counts_within_a_second(rig: Rig) -> None:
    rig.capacity = 1
    first, second = await call(rig), await call(rig)
    assert await first.hears() == b"welcome"
    async with asyncio.timeout(10):
        while not rig.door.is_paused:  # noqa: ASYNC110 - the door tells nobody
            await asyncio.sleep(0)
    rig.capacity = 2
    assert await second.hears() == b"welcome"
    first.leave()
    second.leave()


async def test_accepting_goes_on_when_every_reason_is_over(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    over = {"one": False, "two": False}
    caller = await call(rig)
    assert await caller.hears() == b"welcome"
    for reason in ("one", "two", "one"):
        rig.door.pause(reason, lambda reason=reason: over[reason], f"reason {reason}")  # type: ignore[misc]
    other = await call(rig)
    over["one"] = True
    caller.leave()
    await rig.until(lambda: rig.count == 0)
    assert rig.door.is_paused
    over["two"] = True
    assert await other.hears() == b"welcome", "found at the next look"
    assert warnings(caplog) == [f"accepting nobody for now: reason {reason}" for reason in ("one", "two")]
    other.leave()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_without_a_free_descriptor_accepting_pauses_and_goes_on_a_second_later(
    number: int, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    class Exhausted:
        """A listening socket whose process has no descriptor free, once."""

        tries = 0

        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock
            self.fileno, self.close, self.getsockname = sock.fileno, sock.close, sock.getsockname

        def accept(self) -> object:
            self.tries += 1
            if self.tries == 1:
                raise OSError(number, os.strerror(number))
            return self._sock.accept()

    rig.door.close()
    (sock,) = await listening_sockets("127.0.0.1", 0)
    rig.port = sock.getsockname()[1]
    exhausted = Exhausted(sock)
    rig.door.open([exhausted])  # type: ignore[list-item]
    caller = await call(rig)
    assert await caller.hears() == b"welcome"
    assert exhausted.tries <= 3, "it does not spin"
    (line,) = warnings(caplog)
    assert line.startswith(f"accepting nobody for now: {os.strerror(number)}; room for 100")
    caller.leave()


async def test_who_is_still_arriving_can_be_cut_and_is_counted_out(rig: Rig) -> None:
    sock = socket.create_connection(("127.0.0.1", rig.port))
    sock.setblocking(False)
    caller = Caller(sock)
    rig.door._knock(rig.door._sockets[0])  # and no turn of the loop, in which it would arrive
    assert rig.count == 1
    rig.door.abort()
    assert await caller.hears() == b""
    assert rig.count == 0
    caller.leave()


async def test_closing_refuses_whoever_comes_and_keeps_who_is_there(rig: Rig) -> None:
    caller = await call(rig)
    assert await caller.hears() == b"welcome"
    rig.door.close()
    with pytest.raises(ConnectionRefusedError):
        await call(rig)
    assert rig.count == 1
    caller.leave()


async def test_whoever_comes_through_a_unix_socket_is_one_client(rig: Rig, tmp_path: Path) -> None:
    path = str(tmp_path / "door.sock")
    listening_unix_socket(path).close()
    rig.door.open([listening_unix_socket(path)])  # the file that is there is replaced
    assert path in rig.door.names
    rig.most = 1
    heard = []
    for _ in range(2):
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, path)
        heard.append(Caller(sock))
    assert await heard[0].hears() == b"welcome"
    assert (await heard[1].hears()).startswith(b"HTTP/1.1 429 ")
    assert rig.admission.connections.of("unix") == 1
    for caller in heard:
        caller.leave()


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="in use"):
        listening_unix_socket(str(path))
    assert path.read_text() == "data"


async def test_a_name_with_several_addresses_is_listened_on_at_each() -> None:
    sockets = await listening_sockets("", 0)
    families = {sock.family for sock in sockets}
    for sock in sockets:
        sock.close()
    assert socket.AF_INET in families
