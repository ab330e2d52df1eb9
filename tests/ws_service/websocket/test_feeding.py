"""Who is fed in a turn of the loop: clients in turn, and the sockets of each; nobody is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from ws_service.websocket import feeding as module
from ws_service.websocket.feeding import SLICE, TURN, Feeder


class Client:
    def __init__(self, owes: float = 0.0) -> None:
        self.owes = owes

    def delay(self) -> float:
        owes, self.owes = self.owes, 0.0
        return owes


class Socket:
    """Has so many slices to be fed, and writes its name down for each."""

    def __init__(self, feeder: Feeder, client: Client, name: str, slices: int, order: list[str]) -> None:
        self.feeder, self.client, self.name, self.slices, self.order = feeder, client, name, slices, order
        self.fails = False

    def enter(self) -> Socket:
        self.feeder.enter(self.client, self)
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
    monkeypatch.setattr(module, "_LONGEST", 60.0)


async def turn() -> None:
    await asyncio.sleep(0)


async def until_empty(feeder: Feeder) -> None:
    async with asyncio.timeout(10):
        while len(feeder):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def test_a_turn_has_one_budget_for_everybody() -> None:
    feeder, order = Feeder(), list[str]()
    many = Client()
    for number in range(100):
        Socket(feeder, many, str(number), 1, order).enter()
    assert order == [], "not in the turn that is under way"
    await turn()
    assert order == [str(number) for number in range(TURN // SLICE)]
    assert feeder.left <= 0
    await turn()
    assert len(order) == 2 * TURN // SLICE
    await until_empty(feeder)
    await turn()
    assert feeder.left == TURN
    assert len(order) == 100


async def test_a_client_with_one_socket_waits_for_one_slice_of_one_with_a_thousand() -> None:
    feeder, order = Feeder(), list[str]()
    many, single = Client(), Client()
    for _ in range(1000):
        Socket(feeder, many, "many", 3, order).enter()
    await turn()
    assert set(order) == {"many"}
    order.clear()
    Socket(feeder, single, "single", 2, order).enter()
    await turn()
    assert order[:4] == ["many", "single", "many", "single"]


async def test_the_sockets_of_a_client_take_turns() -> None:
    feeder, order = Feeder(), list[str]()
    client = Client()
    for name in "abc":
        Socket(feeder, client, name, 2, order).enter().enter()
    await until_empty(feeder)
    assert order == list("abcabc")


async def test_a_frame_that_costs_more_than_it_counts_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", -1.0)
    feeder, order = Feeder(), list[str]()
    for name in "ab":
        Socket(feeder, Client(), name, 1, order).enter()
    await turn()
    assert order == ["a"]
    assert feeder.left <= 0
    await until_empty(feeder)
    assert order == ["a", "b"]


async def test_a_client_that_has_to_wait_is_put_aside_with_all_of_its_sockets_and_comes_back() -> None:
    feeder, order = Feeder(), list[str]()
    owing, other = Client(0.05), Client()
    for name in "ab":
        Socket(feeder, owing, name, 1, order).enter()
    Socket(feeder, other, "other", 1, order).enter()
    await turn()
    assert order == ["other"]
    assert len(feeder) == 2
    Socket(feeder, owing, "c", 1, order).enter()
    await turn()
    assert order == ["other"], "one that comes later waits with them"
    await until_empty(feeder)
    assert order == ["other", "a", "b", "c"]


@pytest.mark.parametrize("is_aside", [False, True])
async def test_who_has_gone_is_fed_no_more(is_aside: bool) -> None:
    feeder, order = Feeder(), list[str]()
    client = Client(60.0 if is_aside else 0.0)
    sockets = [Socket(feeder, client, name, 1, order) for name in "ab"]
    for one in sockets:
        one.enter()
    if is_aside:
        await turn()
    for one in sockets:
        feeder.leave(client, one)
        feeder.leave(client, one)
    assert len(feeder) == 0
    await turn()
    assert order == []
    sockets[0].enter()
    await until_empty(feeder)
    assert order == ["a"], "nothing is left of the wait either"


async def test_the_fault_of_one_is_told_and_the_others_are_fed(caplog: pytest.LogCaptureFixture) -> None:
    feeder, order = Feeder(), list[str]()
    bad, good = (Socket(feeder, Client(), name, 1, order) for name in ("bad", "good"))
    bad.fails = True
    bad.enter()
    good.enter()
    await turn()
    assert order == ["good"]
    assert "cannot be fed" in caplog.text


async def test_nothing_is_scheduled_while_nobody_spends(monkeypatch: pytest.MonkeyPatch) -> None:
    feeder = Feeder()
    feeder.spend(1)
    feeder.spend(1)
    assert feeder.left == TURN - 2
    await turn()
    assert feeder.left == TURN
    assert not feeder._is_turn_coming
