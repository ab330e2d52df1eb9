"""A peer that has vanished is ended; TCP is not asked about one that has nothing on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import pairwise

import pytest

from ws_service.net import dead_peers, periodic_sweep
from ws_service.net.dead_peers import DeadPeers


class Transport(asyncio.Transport):
    """One that may hold something."""

    def __init__(self, held: int = 0) -> None:
        super().__init__()
        self.held = held

    def get_write_buffer_size(self) -> int:
        return self.held

    def is_closing(self) -> bool:
        return False


class End:
    """One end of a connection."""

    def __init__(self, written: int, held: int = 0) -> None:
        self.written, self.acknowledged = written, 0
        self.transport: asyncio.Transport | None = Transport(held)
        self.has_ended = asyncio.Event()

    @property
    def is_acknowledged(self) -> bool:
        return self.acknowledged == self.written

    @is_acknowledged.setter
    def is_acknowledged(self, value: bool) -> None:
        self.acknowledged = self.written if value else -1

    def vanish(self) -> None:
        self.has_ended.set()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[asyncio.BaseTransport | None, bool | None]]:
    """What TCP is to say of each; those that are not in here are not there to be asked for."""
    verdicts: dict[asyncio.BaseTransport | None, bool | None] = {}
    monkeypatch.setattr(dead_peers, "PERIOD", 0.01)
    monkeypatch.setattr(dead_peers, "has_vanished", verdicts.__getitem__)
    yield verdicts


Verdicts = dict[asyncio.BaseTransport | None, bool | None]


async def test_a_vanished_peer_is_cut_and_no_other(asked: Verdicts) -> None:
    gone, slow, well, idle = End(5), End(5), End(5), End(0)
    asked.update({gone.transport: True, slow.transport: False, well.transport: None})
    lost = End(5)
    lost.transport = None
    DeadPeers(lambda: [] if gone.has_ended.is_set() else [well, slow, idle, lost, gone]).start()
    async with asyncio.timeout(5):
        await gone.has_ended.wait()
    assert not any(end.has_ended.is_set() for end in (slow, well, idle, lost))
    assert (well.acknowledged, slow.acknowledged) == (5, 0)


async def test_a_peer_that_has_everything_is_asked_about_again_when_more_is_written(asked: Verdicts) -> None:
    end = End(5)
    asked[end.transport] = None
    looks = 0

    def ends() -> list[End]:
        nonlocal looks
        looks += 1
        return [] if end.has_ended.is_set() else [end]

    DeadPeers(ends).start()
    async with asyncio.timeout(5):
        while end.acknowledged != 5:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
    asked[end.transport] = True
    before = looks
    async with asyncio.timeout(5):
        while looks < before + 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
    assert not end.has_ended.is_set()
    end.written = 6
    async with asyncio.timeout(5):
        await end.has_ended.wait()


async def test_what_still_waits_in_this_process_is_not_acknowledged(asked: Verdicts) -> None:
    end = End(5, held=3)
    asked[end.transport] = None
    looks: list[int] = []

    def ends() -> list[End]:
        looks.append(1)
        return [end] if len(looks) < 4 else []

    DeadPeers(ends).start()
    async with asyncio.timeout(5):
        while len(looks) < 4:  # noqa: ASYNC110 - it tells the list
            await asyncio.sleep(0.001)
    assert end.acknowledged == 0


async def test_of_many_only_some_are_asked_about_before_other_callbacks_run(
    asked: Verdicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(periodic_sweep, "PIECES_PER_TURN", 10)
    ends = [End(5) for _ in range(95)]
    asked.update((end.transport, None) for end in ends)
    asked[ends[-1].transport] = True
    DeadPeers(lambda: [] if ends[-1].has_ended.is_set() else ends).start()
    counts = [0]
    async with asyncio.timeout(5):
        while not ends[-1].has_ended.is_set():
            await asyncio.sleep(0)
            counts.append(sum(end.acknowledged == 5 for end in ends))
    assert max(after - before for before, after in pairwise(counts)) == 10
    assert counts[-1] == 94


async def test_it_can_be_stopped_in_the_middle_of_a_pass(asked: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(periodic_sweep, "PIECES_PER_TURN", 1)
    ends = [End(5) for _ in range(50)]
    asked.update((end.transport, None) for end in ends)
    watch = DeadPeers(lambda: ends)
    watch.start()
    async with asyncio.timeout(5):
        while ends[0].acknowledged != 5:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    watch.stop()
    await asyncio.sleep(0.1)
    assert ends[-1].acknowledged == 0
