"""Accepting: in batches, not while there is a reason against it, and not in a busy loop when descriptors are out."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ws_service.net import accept_loop
from ws_service.net.accept_loop import AcceptLoop


class Accepted:
    """Counts what is accepted, and closes it."""

    def __init__(self) -> None:
        self.count = 0
        self.failures: list[OSError] = []
        self.changed = asyncio.Event()

    def accept(self, sock: socket.socket, _: object) -> None:
        assert sock.gettimeout() == 0
        sock.close()
        self.count += 1
        self.changed.set()

    def fail(self, error: OSError) -> None:
        self.failures.append(error)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.count != count:
                await self.changed.wait()
                self.changed.clear()


class Failing:
    """A listening socket whose first tries fail."""

    def __init__(self, listener: socket.socket, *errors: OSError) -> None:
        self._listener = listener
        self._errors = list(errors)
        self.tries = 0

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> Any:
        self.tries += 1
        if self._errors:
            raise self._errors.pop(0)
        return self._listener.accept()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        listener.setblocking(False)
        yield listener


def dial(listener: socket.socket, count: int) -> None:
    for _ in range(count):
        socket.create_connection(listener.getsockname()).close()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_connections_are_accepted_in_batches(listener: socket.socket) -> None:
    accepted = Accepted()
    dial(listener, 25)
    loop = AcceptLoop([listener], accepted.accept, accepted.fail, batch=10)
    most = before = 0
    while accepted.count < 25:
        await asyncio.sleep(0)
        most, before = max(most, accepted.count - before), accepted.count
    assert most == 10
    loop.close()


async def test_each_reason_against_it_has_to_be_taken_back(listener: socket.socket) -> None:
    accepted = Accepted()
    loop = AcceptLoop([listener], accepted.accept, accepted.fail, batch=10)
    loop.pause("one")
    loop.pause("another")
    dial(listener, 1)
    loop.resume("one")
    loop.resume("never given")
    await turns()
    assert accepted.count == 0
    loop.resume("another")
    await accepted.until(1)
    loop.close()
    loop.close()
    dial(listener, 1)
    await turns()
    assert accepted.count == 1


async def test_a_connection_that_reaches_a_limit_pauses_it_in_the_middle_of_a_batch(listener: socket.socket) -> None:
    accepted = Accepted()

    def may_accept() -> bool:
        if accepted.count < 3:
            return True
        loop.pause("limit")
        return False

    dial(listener, 5)
    loop = AcceptLoop([listener], accepted.accept, accepted.fail, batch=10, may_accept=may_accept)
    await turns()
    assert accepted.count == 3
    loop.close()


async def test_the_backlog_is_accepted_at_once_and_nothing_after_it(listener: socket.socket) -> None:
    accepted = Accepted()
    dial(listener, 100)
    loop = AcceptLoop([listener], accepted.accept, accepted.fail, batch=10)
    loop.accept_backlog()
    assert accepted.count == 100
    dial(listener, 1)
    await turns()
    assert accepted.count == 100
    loop.close()


async def test_a_paused_loop_accepts_no_backlog(listener: socket.socket) -> None:
    accepted = Accepted()
    dial(listener, 1)
    loop = AcceptLoop([listener], accepted.accept, accepted.fail, batch=10)
    loop.pause("limit")
    loop.accept_backlog()
    assert accepted.count == 0
    loop.close()


async def test_a_failure_is_told_and_accepting_goes_on_after_a_pause(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_loop, "PAUSE", 0.02)
    accepted = Accepted()
    failing: Any = Failing(listener, *(OSError(errno.EMFILE, "no descriptor") for _ in range(3)))
    dial(listener, 1)
    loop = AcceptLoop([failing], accepted.accept, accepted.fail, batch=10)
    await accepted.until(1)
    assert len(accepted.failures) == 3
    assert failing.tries <= 5, "no busy loop"
    loop.close()


async def test_a_connection_that_has_left_meanwhile_is_no_failure(listener: socket.socket) -> None:
    accepted = Accepted()
    failing: Any = Failing(listener, ConnectionAbortedError(errno.ECONNABORTED, "it left"))
    dial(listener, 1)
    loop = AcceptLoop([failing], accepted.accept, accepted.fail, batch=10)
    await accepted.until(1)
    assert not accepted.failures
    loop.close()


async def test_a_loop_that_is_closed_during_a_pause_stays_closed(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_loop, "PAUSE", 0.01)
    accepted = Accepted()
    failing: Any = Failing(listener, OSError(errno.EMFILE, "no descriptor"))
    dial(listener, 1)
    loop = AcceptLoop([failing], accepted.accept, accepted.fail, batch=10)
    while not accepted.failures:  # noqa: ASYNC110 - a turn of the loop at a time
        await asyncio.sleep(0)
    loop.close()
    await asyncio.sleep(0.05)  # what must not happen has no event
    assert accepted.count == 0
