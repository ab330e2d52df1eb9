"""An exchange in a task of its own tells its connection of its end, whatever that is."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from proxy.http1.client_stream import SentResponse
from proxy.http1.task_exchange import TaskExchange
from proxy.net.peer import Peer


class Connection:
    peer = Peer("192.0.2.1")

    def __init__(self) -> None:
        self.manager, self.loop = self, asyncio.get_running_loop()
        self.ended = self.loop.create_future()

    def exchange_ended(self, keep_alive: bool) -> None:
        self.ended.set_result(keep_alive)


async def end_of(work: Coroutine[Any, Any, SentResponse], *, cut: bool = False) -> bool:
    connection = Connection()
    exchange = TaskExchange(cast(Any, connection), work)
    if cut:
        exchange.cut()
    async with asyncio.timeout(10):
        kept: bool = await connection.ended
    return kept


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_it_is_told_whether_the_connection_is_kept(keep_alive: bool) -> None:
    assert await end_of(asyncio.sleep(0, SentResponse(keep_alive))) == keep_alive


async def test_a_task_that_is_cut_before_its_first_step_is_told_of() -> None:
    assert not await end_of(asyncio.sleep(10, SentResponse(True)), cut=True)


@pytest.mark.parametrize(("error", "lines"), [(ConnectionResetError(), 0), (ValueError(), 1)])
async def test_a_fault_ends_it_and_is_in_the_log_unless_the_client_has_left(
    error: Exception, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> SentResponse:
        raise error

    assert not await end_of(fail())
    assert len(caplog.records) == lines
