"""Which sockets are read in a turn of the loop: clients in turn, and the sockets of each; none is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from ws_service.websocket import read_scheduler as module
from ws_service.websocket.read_scheduler import BUDGET, SLICE, ReadScheduler


class Client:
    def __init__(self, owes: float = 0.0) -> None:
        self.owes = owes

    def delay(self) -> float:
        owes, self.owes = self.owes, 0.0
        return owes


class Socket:
    """Has so many slices to be fed, and writes its name down for each."""

    def __init__(self, scheduler: ReadScheduler, client: Client, name: str, slices: int, order: list[str]) -> None:
        self.scheduler, self.client, self.name, self.slices, self.order = scheduler, client, name, slices, order
        self.fails = False

    def enter(self) -> Socket:
        self.scheduler.enter(self.client, self)
        return self

    def feed(self) -> int:
        if self.fails:
            raise RuntimeError("a fault of this one")
        self.order.append(self.name)
        self.slices -= 1
        if self.slices:
            self.enter()
        return SLICE


@pytest.fixture(autouse=True)
def by_units_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_TURN", 60.0)


async def turn() -> None:
    await asyncio.sleep(0)


async def until_empty(scheduler: ReadScheduler) -> None:
    async with asyncio.timeout(10):
        while len(scheduler):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


async def test_a_turn_has_one_budget_for_all() -> None:
    scheduler, order = ReadScheduler(), list[str]()
    many = Client()
    for number in range(100):
        Socket(scheduler, many, str(number), 1, order).enter()
    assert order == [], "not in the turn that is under way"
    await turn()
    assert order == [str(number) for number in range(BUDGET // SLICE)]
    assert scheduler.left <= 0
    await turn()
    assert len(order) == 2 * BUDGET // SLICE
    await until_empty(scheduler)
    await turn()
    assert scheduler.left == BUDGET
    assert len(order) == 100


async def test_a_client_with_one_socket_waits_for_one_slice_of_one_with_a_thousand() -> None:
    scheduler, order = ReadScheduler(), list[str]()
    many, single = Client(), Client()
    for _ in range(1000):
        Socket(scheduler, many, "many", 3, order).enter()
    await turn()
    assert set(order) == {"many"}
    order.clear()
    Socket(scheduler, single, "single", 2, order).enter()
    await turn()
    assert order[:4] == ["many", "single", "many", "single"]


async def test_the_sockets_of_a_client_take_turns() -> None:
    scheduler, order = ReadScheduler(), list[str]()
    client = Client()
    for name in "abc":
        Socket(scheduler, client, name, 2, order).enter().enter()
    await until_empty(scheduler)
    assert order == list("abcabc")


async def test_a_frame_that_costs_more_than_it_counts_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_TURN", -1.0)
    scheduler, order = ReadScheduler(), list[str]()
    for name in "ab":
        Socket(scheduler, Client(), name, 1, order).enter()
    await turn()
    assert order == ["a"]
    assert scheduler.left <= 0
    await until_empty(scheduler)
    assert order == ["a", "b"]


async def test_the_time_of_a_turn_begins_with_what_is_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_TURN", -1.0)
    scheduler, order = ReadScheduler(), list[str]()
    for _ in range(2):
        assert not scheduler.is_spent
        scheduler.spend(1)
        assert scheduler.is_spent and scheduler.left == BUDGET - 1
        await turn()
    Socket(scheduler, Client(), "a", 1, order).enter()
    await turn()
    assert order == ["a"] and scheduler.is_spent
    await turn()
    assert not scheduler.is_spent
    client = Client(1e-9)
    Socket(scheduler, client, "b", 1, order).enter()
    await until_empty(scheduler)
    await turn()
    assert not scheduler.is_spent


async def test_a_client_that_has_to_wait_is_delayed_with_all_of_its_sockets_and_comes_back() -> None:
    scheduler, order = ReadScheduler(), list[str]()
    owing, other = Client(0.05), Client()
    for name in "ab":
        Socket(scheduler, owing, name, 1, order).enter()
    Socket(scheduler, other, "other", 1, order).enter()
    await turn()
    assert order == ["other"]
    assert len(scheduler) == 2
    Socket(scheduler, owing, "c", 1, order).enter()
    await turn()
    assert order == ["other"], "one that comes later waits with them"
    await until_empty(scheduler)
    assert order == ["other", "a", "b", "c"]


@pytest.mark.parametrize("is_delayed", [False, True])
async def test_a_socket_that_has_gone_is_read_no_more(is_delayed: bool) -> None:
    scheduler, order = ReadScheduler(), list[str]()
    client = Client(60.0 if is_delayed else 0.0)
    sockets = [Socket(scheduler, client, name, 1, order) for name in "ab"]
    for one in sockets:
        one.enter()
    if is_delayed:
        await turn()
    for one in sockets:
        scheduler.leave(client, one)
        scheduler.leave(client, one)
    assert len(scheduler) == 0
    await turn()
    assert order == []
    sockets[0].enter()
    await until_empty(scheduler)
    assert order == ["a"], "nothing is left of the wait either"


async def test_a_fault_of_one_is_logged_and_the_others_are_read(caplog: pytest.LogCaptureFixture) -> None:
    scheduler, order = ReadScheduler(), list[str]()
    bad, good = (Socket(scheduler, Client(), name, 1, order) for name in ("bad", "good"))
    bad.fails = True
    bad.enter()
    good.enter()
    await turn()
    assert order == ["good"]
    assert "cannot be read" in caplog.text


async def test_nothing_is_scheduled_while_nothing_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = ReadScheduler()
    scheduler.spend(1)
    scheduler.spend(1)
    assert scheduler.left == BUDGET - 2
    await turn()
    assert scheduler.left == BUDGET
    assert not scheduler._is_scheduled
