"""When an upstream is looked at. Real time, in hundredths of a second."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest

from proxy.upstream.health_check import LONGEST, SHORTEST, HealthCheck


class Sight:
    """What the watch looks at: notes when, and tells who waits."""

    def __init__(self, *, is_awaited: bool = False, takes: float = 0.0) -> None:
        self.is_awaited = is_awaited
        self.looks: list[float] = []
        self.at_once = self.most_at_once = 0
        self._takes = takes
        self._changed = asyncio.Condition()

    async def look(self) -> None:
        self.looks.append(asyncio.get_running_loop().time())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self._takes)
        self.at_once -= 1
        async with self._changed:
            self._changed.notify_all()

    async def seen(self, count: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.looks) >= count and not self.at_once)

    def gaps(self) -> list[float]:
        return [b - a for a, b in pairwise(self.looks)]


async def ended(watch: HealthCheck) -> None:
    watch.stop()
    async with asyncio.timeout(5):
        await watch.stopped()


async def test_the_first_look_is_at_once() -> None:
    sight = Sight()
    watch = HealthCheck("dash", sight.look, lambda: False, 60)
    watch.start()
    await sight.seen(1)
    await ended(watch)


async def test_the_next_look_comes_after_the_interval() -> None:
    sight = Sight()
    watch = HealthCheck("dash", sight.look, lambda: False, 0.1)
    watch.start()
    await sight.seen(3)
    assert all(0.08 <= gap for gap in sight.gaps())
    await ended(watch)


async def test_without_an_interval_there_is_no_check_until_one_is_requested() -> None:
    sight = Sight()
    watch = HealthCheck("dash", sight.look, lambda: sight.is_awaited, 0)
    watch.start()
    await asyncio.sleep(0.1)
    assert sight.looks == []
    sight.is_awaited = True
    watch.request()
    await sight.seen(2)
    sight.is_awaited = False
    await ended(watch)


async def test_while_requests_wait_it_checks_often_and_ever_less_often() -> None:
    sight = Sight(is_awaited=True)
    watch = HealthCheck("dash", sight.look, lambda: sight.is_awaited, 60)
    watch.request()
    await sight.seen(7)
    gaps = sight.gaps()
    assert all(gap >= SHORTEST * 0.75 for gap in gaps)
    assert gaps[-1] >= LONGEST * 0.75
    await ended(watch)


async def test_however_many_want_it_one_look_is_made_at_a_time() -> None:
    sight = Sight(is_awaited=True, takes=0.03)
    watch = HealthCheck("dash", sight.look, lambda: sight.is_awaited, 60)
    for _ in range(100):
        watch.request()
        await asyncio.sleep(0)
    await sight.seen(3)
    assert sight.most_at_once == 1
    await ended(watch)


async def test_a_look_that_has_just_been_made_is_known_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.upstream.health_check.SHORTEST", 60.0)
    sight = Sight(is_awaited=True)
    watch = HealthCheck("dash", sight.look, lambda: sight.is_awaited, 60)
    assert not watch.has_just_checked
    watch.request()
    await sight.seen(1)
    await asyncio.sleep(0)
    assert watch.has_just_checked
    await ended(watch)


async def test_a_health_check_that_never_began_can_be_stopped() -> None:
    await ended(HealthCheck("dash", Sight().look, lambda: False, 5))


async def test_a_check_that_fails_is_logged_and_the_next_one_comes_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sight = Sight(is_awaited=True)

    async def look() -> None:
        await sight.look()
        raise ZeroDivisionError

    watch = HealthCheck("dash", look, lambda: True, 0)
    with caplog.at_level(logging.ERROR, "proxy"):
        watch.request()
        await sight.seen(2)
        await ended(watch)
    assert "a fault of the gateway itself, in the health check of the upstream dash" in caplog.text
