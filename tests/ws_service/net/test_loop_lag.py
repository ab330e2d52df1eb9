"""The lag of the event loop: what blocks it is seen."""

from __future__ import annotations

import asyncio
import time

import pytest

from ws_service.net.loop_lag import LoopLag


@pytest.fixture(autouse=True)
def short_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ws_service.net.loop_lag._PERIOD", 0.1)


async def until(lag: LoopLag, count: int) -> None:
    async with asyncio.timeout(10):
        while lag.lags.count < count:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_a_loop_that_is_blocked_is_as_late_as_it_was_blocked() -> None:
    lag = LoopLag()
    lag.start()
    await until(lag, 1)
    time.sleep(0.3)  # noqa: ASYNC251 - this is what blocks it
    await until(lag, 2)
    lag.stop()
    assert lag.lags.count - dict(lag.lags.buckets)["0.1"] >= 1
    assert lag.lags.sum > 0.15


async def test_the_longest_lag_is_told_once() -> None:
    lag = LoopLag()
    lag.start()
    await until(lag, 1)
    lag.take_longest()
    time.sleep(0.3)  # noqa: ASYNC251 - this is what blocks it
    await until(lag, 2)
    lag.stop()
    assert lag.take_longest() > 0.15
    assert lag.take_longest() == 0


async def test_it_measures_no_more_after_its_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ws_service.net.loop_lag._PERIOD", 0.001)
    lag = LoopLag()
    lag.stop()
    lag.start()
    lag.stop()
    lag.stop()
    await asyncio.sleep(0.02)  # twenty of its periods: nothing may come
    assert lag.lags.count == 0
