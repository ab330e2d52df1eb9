"""Errors of the Redis client become those of a broker."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ResponseError

from ws_service.hub.broker import BrokerError
from ws_service.hub.brokers.redis_errors import as_broker_error


@pytest.mark.parametrize("error", [ResponseError("OOM"), ConnectionRefusedError(), TimeoutError(), ValueError("x")])
async def test_errors_of_redis_sockets_and_foreign_data_are_errors_of_the_broker(error: Exception) -> None:
    with pytest.raises(BrokerError, match="Redis: "), as_broker_error():
        raise error


async def test_faults_stay_what_they_are() -> None:
    with pytest.raises(KeyError), as_broker_error():
        raise KeyError("x")


async def test_a_cancellation_that_was_swallowed_is_raised_after_all() -> None:
    reached: list[str] = []

    async def swallow(*, is_failing: bool) -> None:
        with as_broker_error():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                reached.append("swallowed")
            if is_failing:
                raise TimeoutError
        reached.append("went on")

    for is_failing in (False, True):
        task = asyncio.get_running_loop().create_task(swallow(is_failing=is_failing), name="swallow")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert reached == ["swallowed", "swallowed"]


async def test_what_is_done_after_a_cancellation_is_done() -> None:
    async def clean_up() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with as_broker_error():
                await asyncio.sleep(0)
            return "cleaned up"
        return ""

    task = asyncio.get_running_loop().create_task(clean_up(), name="clean up")
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "cleaned up"
