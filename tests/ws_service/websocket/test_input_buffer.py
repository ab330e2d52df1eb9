"""What a client has sent and the library has not been given: fair reading, and a limit for what waits."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from tests.ws_service.adopting import both_loops as both_loops
from tests.ws_service.adopting import text_frame as text
from tests.ws_service.websocket.connections import App, connected, fragment
from ws_service.websocket import sweep
from ws_service.websocket.read_scheduler import BUDGET, SLICE
from ws_service.websocket.resources import READ_SIZE, Resources

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)


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
        assert rig.connection.input.memory is not None
        assert rig.connection.input.memory.held == 0


async def test_an_endpoint_that_takes_nothing_leaves_the_rest_in_the_kernel() -> None:
    async with connected(App()) as rig:
        await rig.peer.head()
        for _ in range(200):
            rig.peer.writer.write(fragment(0x82, b"x" * 1000) * 10)
        for _ in range(20):
            await asyncio.sleep(0.01)
        memory = rig.connection.input.memory
        assert memory is not None
        assert rig.connection.input.is_paused
        assert memory.held < 2 * READ_SIZE + SLICE * 2000


async def test_no_turn_feeds_more_than_so_many_frames_however_many_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    ping = fragment(0x89, b"")
    async with AsyncExitStack() as stack:
        resources = Resources(64 << 20)
        rigs = [await stack.enter_async_context(connected(app, shared=resources)) for _ in range(12)]
        for rig in rigs:
            await rig.peer.head()
        fed: list[int] = []
        begin = resources.scheduler._turn

        def turn() -> None:
            fed.append(sum(rig.connection.input.fed for rig in rigs))
            begin()

        monkeypatch.setattr(resources.scheduler, "_turn", turn)
        for rig in rigs:
            rig.peer.writer.write(ping * 500 + text(""))  # each frame has as many bytes as a ping: bytes count frames
        app.may_take.set()
        async with asyncio.timeout(20):
            while len(app.heard) < len(rigs):
                await app.has_heard()
        steps = [after - before for before, after in pairwise(fed)]
        assert max(steps) <= (BUDGET + SLICE) * len(ping)
        assert len(resources.scheduler) == 0


async def test_what_is_read_when_the_budget_is_used_up_comes_in_the_next_turn(ws: str) -> None:
    app = App()
    app.may_take.set()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        for number in range(3):
            rig.resources.scheduler.spend(BUDGET)
            await asyncio.sleep(0)
            rig.resources.scheduler.spend(BUDGET)
            rig.connection.input.receive(text(str(number)))
            assert rig.connection.input.is_paused
            async with asyncio.timeout(10):
                await app.has_heard()
            assert not rig.connection.input.is_paused
        assert app.heard == ["0", "1", "2"]


@pytest.mark.parametrize("why", ["library", "client"])
async def test_a_socket_that_may_not_be_read_in_its_turn_is_read_later(why: str) -> None:
    app = App()
    app.may_take.set()
    async with connected(app) as rig:
        await rig.peer.head()
        connection, scheduler = rig.connection, rig.resources.scheduler
        scheduler.spend(BUDGET)
        connection.input.receive(text("kept"))
        assert len(scheduler) == 1
        stop, go = {
            "library": (connection.pause_reading, connection.resume_reading),
            "client": (connection.pause_writing, connection.resume_writing),
        }[why]
        stop()
        while len(scheduler):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)
        assert app.heard == []
        go()
        async with asyncio.timeout(10):
            await app.has_heard()


async def test_a_client_that_has_to_wait_does_so_for_single_messages_too(ws: str) -> None:
    app = App()
    app.may_take.set()
    async with connected(app, ws) as rig:
        await rig.peer.head()
        assert rig.connection.input.memory is not None
        account = rig.connection.input.memory.account
        account.spend(0.06)
        rig.connection.input.receive(text("a single one"))
        assert app.heard == []
        assert rig.connection.input.is_paused
        async with asyncio.timeout(10):
            await app.has_heard()
        assert account.delay() == 0


async def test_a_client_that_holds_too_much_is_closed_with_1009(ws: str, caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    async with connected(app, ws, limit=100_000) as rig:
        await rig.peer.head()
        for _ in range(100):
            rig.peer.writer.write(fragment(0x02 if not _ else 0x00, b"x" * 10_000))
        opcode, payload = await rig.peer.frame()
        assert (opcode, payload[:2]) == (8, b"\x03\xf1")
        assert "ws_service.memory_per_client sets it" in caplog.text


async def test_a_handshake_of_a_client_that_holds_too_much_is_a_429_in_the_log_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connected(App(accepts=False), limit=1000) as rig:
        rig.connection.input.count_for("203.0.113.7")
        rig.peer.writer.write(bytes(5000))
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 429 ")
        assert "is answered with 429. ws_service.memory_per_client" in caplog.text
        assert "1009" not in caplog.text
