"""The admin listener's sockets: clients that are silent, slow or many keep no other one from its answer."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest

from proxy.http1.chunked import ProtocolError
from proxy.http1.headers import Head
from proxy.server.admin import MAX_HEAD
from proxy.server.admin_listener import AdminListener, Answer
from tests.processes import no_descriptor_left

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"GET /healthz"
PLACES = 8


class Rig:
    def __init__(self, sock: socket.socket, listener: AdminListener) -> None:
        self.sock, self.listener = sock, listener
        self._stack = ExitStack()

    def dial(self, count: int = 1) -> list[socket.socket]:
        """Connect, without a word."""
        made = []
        for _ in range(count):
            sock = socket.socket(self.sock.family)
            sock.setblocking(False)
            self._stack.enter_context(closing(sock))
            sock.settimeout(5)
            sock.connect(self.sock.getsockname())
            sock.setblocking(False)
            made.append(sock)
        return made

    def close(self) -> None:
        self.listener.close()
        self._stack.close()


async def read(sock: socket.socket) -> bytes:
    """Return everything up to the end, or a reset."""
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(10):
        try:
            while piece := await loop.sock_recv(sock, 65536):
                data += piece
        except ConnectionResetError:
            return data + b"(reset)"
    return data


def answer(request: Head | ProtocolError, is_unix: bool) -> bytes:
    what = str(request.status) if isinstance(request, ProtocolError) else f"{request.method} {request.target}"
    return b"unix " * is_unix + what.encode()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
async def rig(listening: socket.socket) -> AsyncIterator[Rig]:
    rig = Rig(listening, AdminListener([listening], answer, places=PLACES, deadline=0.4))
    yield rig
    rig.close()


@asynccontextmanager
async def answered_by(answer: Answer, *, places: int = PLACES, deadline: float = 60) -> AsyncIterator[Rig]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        sock.setblocking(False)
        rig = Rig(sock, AdminListener([sock], answer, places=places, deadline=deadline))
        yield rig
        rig.close()
        await rig.listener.wait_closed()


async def ask(rig: Rig, data: bytes = REQUEST) -> bytes:
    (sock,) = rig.dial()
    sock.send(data)
    return await read(sock)


async def test_a_request_is_answered_and_its_connection_ends(rig: Rig) -> None:
    assert await ask(rig) == ANSWER


async def test_a_head_may_come_in_pieces(rig: Rig) -> None:
    (sock,) = rig.dial()
    for byte in REQUEST:
        sock.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert await read(sock) == ANSWER


async def test_what_comes_after_a_head_is_no_second_request_and_loses_no_answer(rig: Rig) -> None:
    assert await ask(rig, REQUEST + REQUEST + b"x" * 4000) == ANSWER


def head_of(size: int) -> bytes:
    line, end = b"GET /healthz HTTP/1.1\r\nX: ", b"\r\n\r\n"
    return line + b"a" * (size - len(line) - len(end)) + end


async def test_a_head_that_grows_too_large_is_answered_at_once(rig: Rig) -> None:
    assert await ask(rig, b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD) == b"431"


@pytest.mark.parametrize("more", [b"", b"x" * MAX_HEAD])
async def test_a_head_has_its_limit_as_a_whole_whatever_comes_after_it(rig: Rig, more: bytes) -> None:
    assert await ask(rig, head_of(MAX_HEAD) + more) == ANSWER
    assert await ask(rig, head_of(MAX_HEAD + 1) + more) == b"431"


async def test_what_is_no_request_is_answered_at_once(rig: Rig) -> None:
    assert await ask(rig, b"GET /healthz HTTP/1.1\r\nno colon\r\n") == b"400"


async def test_through_a_unix_socket_it_is_told_so() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(Path(folder) / "x"))
        sock.listen(8)
        sock.setblocking(False)
        rig = Rig(sock, AdminListener([sock], answer, places=PLACES))
        assert (await ask(rig)).startswith(b"unix ")
        rig.close()


async def test_who_says_nothing_or_not_enough_has_a_deadline(rig: Rig) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    silent, slow = rig.dial(2)
    slow.send(REQUEST[:-2])
    assert await read(silent) == b""
    assert await read(slow) in (b"", b"(reset)")
    assert 0.3 < loop.time() - began < 3
    assert len(rig.listener) == 0


async def test_who_never_closes_has_the_same_deadline(rig: Rig) -> None:
    (sock,) = rig.dial()
    sock.send(REQUEST)
    loop = asyncio.get_running_loop()
    assert await loop.sock_recv(sock, 100) == ANSWER
    async with asyncio.timeout(5):
        while len(rig.listener):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_who_sends_without_end_is_cut(listening: socket.socket) -> None:
    rig = Rig(listening, AdminListener([listening], answer, places=PLACES, deadline=60))
    (sock,) = rig.dial()
    sock.send(REQUEST)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        async with asyncio.timeout(10):
            while True:
                await asyncio.get_running_loop().sock_sendall(sock, bytes(65536))
    rig.close()


async def test_the_oldest_is_closed_and_a_request_is_answered(rig: Rig) -> None:
    crowd = rig.dial(5 * PLACES)
    assert await ask(rig) == ANSWER
    assert len(rig.listener) <= PLACES
    assert await read(crowd[0]) == b"", "the first of all was closed"
    assert await ask(rig) == ANSWER


async def test_who_has_an_answer_makes_room_before_who_waits(listening: socket.socket) -> None:
    rig = Rig(listening, AdminListener([listening], answer, places=2, deadline=60))
    loop = asyncio.get_running_loop()
    (waiting,) = rig.dial()
    (answered,) = rig.dial()
    answered.send(REQUEST)
    assert await loop.sock_recv(answered, 100)
    assert await ask(rig) == ANSWER
    waiting.send(REQUEST)
    assert await read(waiting) == ANSWER
    rig.close()


async def test_who_says_nothing_makes_room_before_one_whose_answer_is_being_made() -> None:
    made = asyncio.Event()

    async def later(request: Head | ProtocolError, is_unix: bool) -> bytes:
        await made.wait()
        return ANSWER

    async with answered_by(later) as rig:
        (asked,) = rig.dial()
        asked.send(REQUEST)
        (first, *_) = rig.dial(5 * PLACES)
        assert await read(first) == b"", "the first of those that say nothing was closed"
        made.set()
        assert await read(asked) == ANSWER


async def test_an_answer_that_is_cancelled_ends_its_connection() -> None:
    begun = asyncio.Event()

    async def later(request: Head | ProtocolError, is_unix: bool) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    async with answered_by(later) as rig:
        (asked,) = rig.dial()
        asked.send(REQUEST)
        await begun.wait()
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "answer of the admin listener"]
        task.cancel()
        assert await read(asked) == b""
        assert len(rig.listener) == 0


async def test_without_a_descriptor_it_pauses_says_so_and_goes_on(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ws_service.net.accept_loop.PAUSE", 0.02)
    rig = Rig(listening, AdminListener([listening], answer, places=PLACES, deadline=60))
    (sock,) = rig.dial()
    sock.send(REQUEST)
    with no_descriptor_left():
        async with asyncio.timeout(5):
            while "no connection is accepted on gateway.admin" not in caplog.text:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
    assert await read(sock) == ANSWER
    rig.close()


async def test_closing_ends_all_connections(rig: Rig) -> None:
    silent = rig.dial(3)
    assert await ask(rig)
    rig.listener.close()
    assert [await read(sock) for sock in silent] == [b""] * 3


LARGE = bytes(range(256)) * (1 << 16)
"""16 MiB: more than the kernel's buffers take, whatever it has made of their sizes."""


async def test_an_answer_may_have_any_size_and_other_clients_do_not_wait_for_it() -> None:
    sizes: dict[str, bytes] = {"/large": LARGE, "/healthz": ANSWER}
    async with answered_by(lambda request, _: sizes[request.target] if isinstance(request, Head) else b"") as rig:
        (slow,) = rig.dial()
        slow.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        loop = asyncio.get_running_loop()
        begin = await loop.sock_recv(slow, 1)
        assert await ask(rig) == ANSWER, "while the other one has read one byte"
        assert begin + await read(slow) == LARGE


async def test_a_large_answer_has_the_same_deadline() -> None:
    async with answered_by(lambda *_: LARGE, deadline=0.3) as rig:
        (sock,) = rig.dial()
        sock.send(REQUEST)
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(sock, 1)
        async with asyncio.timeout(5):
            while len(rig.listener):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        assert len(await read(sock)) < len(LARGE)


async def test_a_client_that_has_closed_its_direction_gets_the_whole_answer() -> None:
    async with answered_by(lambda *_: LARGE) as rig:
        (sock,) = rig.dial()
        sock.send(REQUEST)
        sock.shutdown(socket.SHUT_WR)
        assert await read(sock) == LARGE
        assert len(rig.listener) == 0, "nothing more is waited for"


async def test_an_answer_may_take_its_time_and_other_clients_do_not_wait_for_it() -> None:
    go_on = asyncio.Event()

    async def later() -> bytes:
        await go_on.wait()
        return b"later"

    async with answered_by(
        lambda request, _: later() if isinstance(request, Head) and request.target == "/later" else ANSWER
    ) as rig:
        (waiting,) = rig.dial()
        waiting.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await ask(rig) == ANSWER
        go_on.set()
        assert await read(waiting) == b"later"


@pytest.mark.parametrize("deadline", [0.2, 60])
async def test_an_answer_that_is_not_made_in_time_is_cancelled_and_so_is_one_at_the_end(deadline: float) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def never() -> bytes:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return b""

    async with asyncio.timeout(10), answered_by(lambda *_: never(), deadline=deadline) as rig:
        (sock,) = rig.dial()
        sock.send(REQUEST)
        await begun.wait()
        if deadline > 1:
            rig.listener.close()
            await rig.listener.wait_closed()
            assert cancelled.is_set()
        assert await read(sock) == b""
        await cancelled.wait()
