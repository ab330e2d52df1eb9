"""Samples of the process, one a second, and what was counted a minute ago."""

from __future__ import annotations

import asyncio

import pytest

from proxy.metrics.parts import Parts
from proxy.status import sampler as module
from proxy.status.sampler import Sampler
from tests.proxy.status.stand_ins import answered, make_parts, open_tunnels, record, tunnels


@pytest.fixture
async def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(module, "INTERVAL", 0.002)  # seconds that are shorter
    return make_parts()


async def until(sampler: Sampler, points: int) -> None:
    async with asyncio.timeout(10):
        while len(sampler.history.columns()["lag"]) < points:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


async def test_it_samples_from_start_to_stop(parts: Parts) -> None:
    sampler = Sampler(parts)
    sampler.start()
    await until(sampler, 3)
    sampler.stop()
    before = len(sampler.history.columns()["lag"])
    await asyncio.sleep(0.02)
    assert len(sampler.history.columns()["lag"]) == before
    sampler.stop()


async def test_a_sample_has_what_there_is(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = Sampler(parts)
    parts.limits.connection("192.0.2.1", None, 0.0)
    parts.lifecycle.enter(record(1))
    open_tunnels(parts, tunnels(2))
    monkeypatch.setattr(parts.lag, "take_longest", lambda: 0.25)
    sampler.start()
    await until(sampler, 1)
    sampler.stop()
    point = sampler.history.latest
    assert point is not None
    assert (point.connections, point.in_flight, point.tunnelled, point.handed_off, point.lag) == (1, 1, 2, 0, 0.25)
    assert (point.received, point.sent, point.waiting) == (0, 0, 0)  # none of them has changed


async def test_a_sample_that_fails_is_not_the_last_one(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    lags: list[float | Exception] = [0.0, ValueError("once"), 0.0, 0.0]
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))

    def take_longest() -> float:
        lag = lags.pop(0) if lags else 0.0
        if isinstance(lag, Exception):
            raise lag
        return lag

    monkeypatch.setattr(parts.lag, "take_longest", take_longest)
    sampler = Sampler(parts)
    sampler.start()
    await until(sampler, 2)
    sampler.stop()
    assert [str(problem) for problem in problems] == ["once"]


async def test_the_last_minute_is_what_was_counted_since_the_oldest_mark(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MARK", 1)
    sampler = Sampler(parts)
    answered(parts, 4)
    parts.limits.hits["connections"] += 1
    assert sampler.minute().all.requests == 4  # since the start
    sampler.start()
    answered(parts, 2, status=500)
    parts.limits.hits["body"] += 3
    minute = sampler.minute()
    assert minute.of("dash").requests == 2
    assert minute.of("ws").requests == 0
    assert minute.all.failed == 2
    assert minute.limits == {"body": 3}
    await until(sampler, 10)
    sampler.stop()
    assert sampler.minute().all.requests == 0  # it was counted before the oldest mark that is kept
    assert sampler.minute().limits == {}
