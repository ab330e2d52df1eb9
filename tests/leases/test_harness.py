"""The harness finds what it is for: planted leaks, each of a kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.http1.client_connection import ClientConnection
from proxy.net.client_limits import Slot
from proxy.net.concurrency import ConcurrencyLimit
from proxy.upstream.upstream import Upstream
from tests.leases.harness import Report, play
from tests.leases.ways import WAYS

SHORT = 0.05
"""Seconds for what is left over to be given back; here it never is."""


def disturbed(name: str, *actions: str, loop: str = "uvloop") -> Report:
    return play(replace(WAYS[name], actions=actions, also=()), loop, timeout=SHORT)


def unless_cancelled(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that does nothing in a task that is being cancelled, as if the cancellation had skipped it."""

    def planted(*args: Any) -> Any:
        task = asyncio.current_task()
        return None if task is not None and task.cancelling() else method(*args)

    return planted


def test_a_turn_that_a_cancellation_keeps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConcurrencyLimit, "release", unless_cancelled(ConcurrencyLimit.release))
    (first, *_) = disturbed("ordinary get", "cancel").left_over
    assert "slots of dash: 1" in first
    assert "Gateway.handle#1 await 1, cancel, at proxy/" in first


def test_a_connection_that_is_never_closed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(upstream: Upstream, connection: Any) -> None:
        upstream._uncount(connection)
        connection.rest()

    monkeypatch.setattr(Upstream, "discard", keep)
    assert any("connections of the upstream: 1" in each for each in disturbed("head request", "cancel").left_over)


def test_a_slot_that_is_kept_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    release = Slot.release
    monkeypatch.setattr(ClientConnection, "connection_lost", _without_slot(ClientConnection.connection_lost))
    assert Slot.release is release
    found = disturbed("head request", "client is lost").left_over
    assert any("connections counted" in each for each in found), found


def _without_slot(method: Callable[..., None]) -> Callable[..., None]:
    def planted(connection: ClientConnection, exc: BaseException | None) -> None:
        connection.slot = None
        method(connection, exc)

    return planted


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_way_has_the_same_awaits_each_time(loop: str) -> None:
    first, second = (disturbed("whole post", "client is lost", loop=loop) for _ in range(2))
    assert not first.left_over
    assert abs(first.awaits - second.awaits) <= 2, "the kernel may join two packets, and nothing else"
