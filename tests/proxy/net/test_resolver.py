"""Host names: looked up anew each time, by threads of its own.

The resolver that hangs is a stand-in: a real one takes a name server that
does not answer, and with it the system's own configuration.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.net import resolver
from proxy.net.resolver import Resolver, look_up

GetAddrInfo = Callable[..., Any]


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver that answers when the test is over; yields the names it was asked for."""
    over, asked = threading.Event(), []

    def resolve(host: str, *_: Any, **__: Any) -> Any:
        asked.append(host)
        over.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield asked
    over.set()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_needs_no_resolver(address: str, hanging: list[str]) -> None:
    assert await Resolver(address).addresses() == [address]
    assert hanging == []


async def test_a_name_becomes_its_addresses() -> None:
    assert "127.0.0.1" in await Resolver("localhost").addresses()


async def test_a_name_that_is_not_there_is_an_error_for_all_that_ask() -> None:
    name = Resolver("no-such-host.invalid")  # RFC 6761: it never will be
    found = await asyncio.gather(*(name.addresses() for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in found] == [socket.gaierror] * 3
    assert len({id(error) for error in found}) == 3
    assert not name.is_looking_up


async def test_a_name_that_cannot_be_one_is_not_known() -> None:
    with pytest.raises(socket.gaierror):
        await Resolver("x" * 70 + ".invalid").addresses()


async def test_it_is_looked_up_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = iter(["192.0.2.1", "192.0.2.2"])

    def resolve(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(addresses), 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    name = Resolver("dash")
    assert await name.addresses() == ["192.0.2.1"]
    assert await name.addresses() == ["192.0.2.2"]


async def test_a_resolver_that_hangs_takes_one_thread_however_often_it_is_asked(hanging: list[str]) -> None:
    name = Resolver("dash")
    for _ in range(50):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.002):
                await name.addresses()
    assert sum(thread.name == "look-up of dash" for thread in threading.enumerate()) == 1
    assert hanging == ["dash"]
    assert name.is_looking_up


async def test_a_name_that_hangs_stops_neither_another_one_nor_the_loops_own_pool(hanging: list[str]) -> None:
    stuck = [Resolver(f"dead-{number}") for number in range(40)]
    waiting = [asyncio.get_running_loop().create_task(name.addresses(), name="look-up") for name in stuck]
    async with asyncio.timeout(5):
        while len(hanging) < len(stuck):  # noqa: ASYNC110 - the threads begin when they begin
            await asyncio.sleep(0.001)
        assert await asyncio.get_running_loop().run_in_executor(None, lambda: "free") == "free"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_a_look_up_that_outlives_its_loop_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    over, done = threading.Event(), threading.Event()

    def resolve(*_: Any, **__: Any) -> Any:
        over.wait(20)
        done.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Resolver("dash").addresses()

    asyncio.run(give_up())
    over.set()
    assert done.wait(5)
    for thread in threading.enumerate():
        if thread.name == "look-up of dash":
            thread.join(5)  # an exception in it would fail the test


# -- without a loop


def test_a_name_and_every_address_are_looked_up_before_there_is_a_loop() -> None:
    assert "127.0.0.1" in look_up("localhost")
    assert set(look_up("*")) <= {"0.0.0.0", "::"}


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70 + ".invalid"])
def test_a_name_that_is_not_known_is_an_error(host: str) -> None:
    with pytest.raises(socket.gaierror):
        look_up(host)


def test_a_name_server_that_does_not_answer_delays_it_for_a_bounded_time(
    hanging: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "TIMEOUT", 0.05)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        look_up("gateway.test")
    assert hanging == ["gateway.test"]
