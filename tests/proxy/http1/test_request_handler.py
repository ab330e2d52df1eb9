"""The interface between a client's connection and the gateway; a task tells its connection of its end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.gateway.handler import Gateway
from proxy.http1.client_stream import SentResponse
from proxy.http1.request_handler import RequestHandler, TaskExchange

METHODS = [name for name, _ in inspect.getmembers(RequestHandler, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", METHODS)
def test_the_gateway_has_each_method_of_the_interface(name: str) -> None:
    declared, implemented = getattr(RequestHandler, name), getattr(Gateway, name)
    assert inspect.iscoroutinefunction(declared) == inspect.iscoroutinefunction(implemented)
    assert len(inspect.signature(declared).parameters) == len(inspect.signature(implemented).parameters)


def test_the_interface_is_small() -> None:
    assert METHODS == ["handle", "lease_buffer", "offer_simple", "refuse"]


# -- an exchange in a task of its own


async def end_of(work: Coroutine[Any, Any, SentResponse], *, cut: bool = False) -> bool:
    ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    exchange = TaskExchange(work, "work", ended.set_result)
    if cut:
        exchange.cut()
    async with asyncio.timeout(10):
        return await ended


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
