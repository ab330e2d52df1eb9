"""The deadlines of a connection: its handshake, a client that takes nothing, a message that does not end."""

from __future__ import annotations

import asyncio

import pytest

from tests.ws_service.adopting import both_loops as both_loops
from tests.ws_service.adopting import text_frame as text
from tests.ws_service.websocket.connections import App, Begins, connected, fragment
from ws_service.net.unacknowledged import MIN_RATE
from ws_service.websocket import deadlines, sweep
from ws_service.websocket.deadlines import RateTimeout

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PERIOD", 0.05)


async def test_a_client_that_takes_nothing_is_cut() -> None:
    async with connected(App(sends=10_000), send=0.3) as rig:
        await rig.peer.head()
        rig.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await rig.ended()


async def test_what_is_written_after_a_sweep_is_not_acknowledged() -> None:
    async with connected(App()) as rig:
        await rig.peer.head()
        checked = rig.connection._deadlines
        assert not checked.is_acknowledged, "the answer to the handshake was written"
        checked.is_acknowledged = True
        assert checked.is_acknowledged
        rig.connection.write(b"x")
        assert not checked.is_acknowledged


async def test_a_handshake_that_is_not_answered_is_a_504(ws: str) -> None:
    async with connected(App(accepts=False), ws, handshake=0.1) as rig:
        answer = await rig.peer.rest()
        assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        assert b"did not answer the handshake within 0.1 s" in answer
        assert rig.connection.status == 504


async def test_an_answer_that_is_begun_and_never_comes_is_a_504_too() -> None:
    async with connected(Begins(), handshake=0.1) as rig:
        assert (await rig.peer.rest()).startswith(b"HTTP/1.1 504 ")
        assert rig.connection.status == 504


@pytest.mark.parametrize("early", [100, 100_000])
async def test_a_client_that_leaves_before_the_answer_is_noticed(early: int) -> None:
    async with connected(App(accepts=False)) as rig:
        rig.peer.writer.write(bytes(early))
        await rig.peer.writer.drain()
        await asyncio.sleep(0.05)
        rig.peer.writer.close()
        await rig.ended()


async def test_an_unfinished_message_has_a_deadline(monkeypatch: pytest.MonkeyPatch, ws: str) -> None:
    monkeypatch.setattr(deadlines, "UNFINISHED", 0.2)
    async with connected(App(), ws) as rig:
        await rig.peer.head()
        rig.peer.writer.write(fragment(0x01, b"begun"))
        assert await rig.peer.frame() == (8, b"\x03\xf0unfinished message")
        assert rig.connection.closed_with == 1008


async def test_a_frame_whose_end_does_not_come_has_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "UNFINISHED", 0.2)
    async with connected(App()) as rig:
        await rig.peer.head()
        rig.peer.writer.write(text("never whole")[:-1])
        assert (await rig.peer.frame())[1].startswith(b"\x03\xf0")


async def test_a_client_is_not_late_while_what_it_sent_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "UNFINISHED", 0.2)
    async with connected(App()) as rig:
        await rig.peer.head()
        connection = rig.connection
        connection.input.receive(fragment(0x01, b"begun"))
        assert connection.input.memory is not None
        connection.input.memory.account.spend(60)
        connection.input.receive(fragment(0x80, b" and ended"))
        for now in (1e6, 2e6):
            assert connection._deadlines.check(now)
        assert connection.closed_with is None
        connection.input._pending = b""
        for now in (3e6, 4e6):
            connection._deadlines.check(now)
        assert connection.closed_with == 1008


async def test_a_count_that_grows_slowly_is_found_after_its_timeout() -> None:
    timeout = RateTimeout()
    assert timeout.check(100, 0, 10) is None, "it begins to measure"
    assert timeout.check(109, 0, 10) is None
    assert timeout.check(110, 10 * MIN_RATE - 1, 10) == (10 * MIN_RATE - 1, 10)


async def test_a_count_that_grows_is_measured_anew_after_each_timeout() -> None:
    timeout = RateTimeout()
    timeout.restart(0, 0)
    assert timeout.check(10, 10 * MIN_RATE, 10) is None
    assert timeout.check(20, 10 * MIN_RATE, 10) == (0, 10)


async def test_a_timeout_that_was_stopped_begins_to_measure_again() -> None:
    timeout = RateTimeout()
    timeout.restart(0, 0)
    timeout.stop()
    assert timeout.check(100, 0, 10) is None
    assert timeout.check(105, 0, 10) is None
