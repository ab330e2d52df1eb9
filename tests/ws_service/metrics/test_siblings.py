"""Processes that share sockets find each other in a folder: numbers, answers, and those that are gone or hang."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from ws_service.metrics import siblings
from ws_service.metrics.siblings import Siblings, kept

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs unix sockets")


async def answer(question: bytes) -> bytes:
    return b"answer to " + question


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Siblings]]:
    async with AsyncExitStack() as stack:

        def make(folder: Path | None = tmp_path, answer: siblings.Answer = answer) -> Siblings:
            made = Siblings(folder, answer)
            stack.push_async_callback(made.close)
            return made

        yield make
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".sock")]


async def test_a_process_that_is_alone_answers_for_itself(make: Callable[..., Siblings]) -> None:
    alone = make(None)
    await alone.start(4)
    assert alone.number == 0
    assert await alone.ask(b"a") == ([b"answer to a"], [])


async def test_each_has_a_number_and_any_of_them_can_be_asked(make: Callable[..., Siblings]) -> None:
    several = [make() for _ in range(3)]
    for number, each in enumerate(several):
        await each.start(4)
        assert each.number == number
    for each in several:
        assert await each.ask(b"a") == ([b"answer to a"] * 3, [])


async def test_the_number_of_one_that_has_ended_is_the_next_ones(make: Callable[..., Siblings]) -> None:
    first, second, third = make(), make(), make()
    await first.start(4)
    await second.start(4)
    await first.close()
    await first.close()
    assert await second.ask(b"a") == ([b"answer to a"], [])
    await third.start(4)
    assert third.number == 0


async def test_one_that_was_killed_is_not_missed_and_its_number_is_free(
    make: Callable[..., Siblings], tmp_path: Path
) -> None:
    """What it leaves: a socket that does not listen, and a lock that the kernel has freed."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "0.sock"))
    (tmp_path / "0.lock").touch()
    other = make()
    other.number, other._lock = siblings._take_number(tmp_path, 4)
    os.close(other._lock)
    other._lock = None
    living = make()
    await living.start(4)
    assert living.number == 0
    assert await living.ask(b"a") == ([b"answer to a"], [])


async def test_one_that_hangs_is_named_and_the_others_answer_in_time(
    make: Callable[..., Siblings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "DEADLINE", 0.05)

    async def hang(question: bytes) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    hanging, living = make(answer=hang), make()
    await hanging.start(4)
    await living.start(4)
    assert await living.ask(b"a") == ([b"answer to a"], [0])


async def test_an_answer_may_be_large_and_one_without_an_end_is_given_up(
    make: Callable[..., Siblings], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def much(question: bytes) -> bytes:
        return b"x" * 3_000_000

    first, second = make(answer=much), make()
    await first.start(4)
    await second.start(4)
    assert [len(each) for each in (await second.ask(b"a"))[0]] == [11, 3_000_000]
    monkeypatch.setattr(siblings, "_LONGEST_ANSWER", 1_000_000)
    assert await second.ask(b"a") == ([b"answer to a"], [0])


async def test_a_question_without_an_end_is_cut(make: Callable[..., Siblings], tmp_path: Path) -> None:
    one = make()
    await one.start(4)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "0.sock"))
    writer.write(b"x" * 5000)
    with suppress(ConnectionResetError):  # as it is before the end where something is left unread
        assert await reader.read() == b""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def test_more_than_there_may_be_is_an_error(make: Callable[..., Siblings]) -> None:
    first, second = make(), make()
    await first.start(1)
    with pytest.raises(OSError, match="all of 1 numbers are taken"):
        await second.start(1)


def test_what_cleans_tmp_finds_the_folder_of_a_service_locked(tmp_path: Path) -> None:
    """As systemd-tmpfiles looks; without that the locks go after ten days, and a new worker takes the socket of one
    that lives (tried with systemd-tmpfiles 252)."""
    import fcntl

    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with kept(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
