"""The processes that share the sockets of one service: each has a number, and answers the questions of the others.

A request reaches one of them, by chance, and is to be answered for all. They find each other in a folder that the first
process makes for them alone: a lock and a socket for each number. The kernel frees the lock of a process that ends,
however it ends, and the next process takes its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

log = logging.getLogger(__name__)

DEADLINE = 1.0
"""Seconds for the others to answer. Prometheus waits 10 s for a scrape, and a status page asks each second."""

_LONGEST_QUESTION = 1024

_LONGEST_ANSWER = 16 << 20
"""Bytes. 500 sockets and 500 topics take 0.2 MB."""

_SUFFIX = ".sock"

Answer = Callable[[bytes], Awaitable[bytes]]
"""Answers a question for its own process. Raises nothing."""


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Have systemd-tmpfiles leave a folder in /tmp alone for a ``with`` block: it passes over one that is locked
    (https://systemd.io/TEMPORARY_DIRECTORIES).

    It removes what is ten days old, and that would be the locks: a worker that is replaced then could take the number
    of another one that lives, and its socket.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a folder of a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class Siblings:
    """The others, and what they are answered.

    folder: of all of them; None: this process is alone, and has the number 0. answer: for this process.
    """

    def __init__(self, folder: Path | None, answer: Answer) -> None:
        self._folder = folder
        self._answer = answer
        self._lock: int | None = None
        self._server: asyncio.Server | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self.number = 0

    async def start(self, most: int) -> None:
        """Take a number below ``most``, and answer from now on. Raises OSError where the folder cannot be used."""
        if self._folder is None or sys.platform == "win32":  # where asyncio has no sockets in folders
            return
        self.number, self._lock = _take_number(self._folder, most)
        path = self._folder / f"{self.number}{_SUFFIX}"
        with contextlib.suppress(FileNotFoundError):  # of a process that was killed
            path.unlink()
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Question(self._begin), path)

    async def close(self) -> None:
        """Answer no more, and give the number back. Safe to call twice, and before ``start``."""
        server, self._server = self._server, None
        if server is not None and self._folder is not None:
            server.close()
            (self._folder / f"{self.number}{_SUFFIX}").unlink(missing_ok=True)
        for task in self._answering:
            task.cancel()
        if self._answering:
            await asyncio.wait(self._answering)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def are_several(self) -> bool:
        """Whether there may be others."""
        return self._folder is not None

    async def ask(self, question: bytes) -> tuple[list[bytes], list[int]]:
        """Ask all of them, this one too. Returns the answers, and the numbers of those that did not answer in time."""
        async with asyncio.TaskGroup() as group:
            asking = {
                number: group.create_task(self._ask(number, question), name=f"asks worker {number}")
                for number in self._others()
            }
            own = await self._answer(question)
        answers = {number: task.result() for number, task in asking.items()}
        found = [own, *(answer for answer in answers.values() if answer)]
        return found, [number for number, answer in answers.items() if answer is None]

    # -- inside

    def _others(self) -> list[int]:
        if self._folder is None:
            return []
        try:
            numbers = sorted(int(path.stem) for path in self._folder.glob(f"*{_SUFFIX}"))
            return [number for number in numbers if number != self.number]
        except OSError:
            return []

    async def _ask(self, number: int, question: bytes) -> bytes | None:
        """Return the answer of one; None: it did not come in time; empty: that process has ended."""
        assert self._folder is not None
        loop = asyncio.get_running_loop()
        transport: asyncio.BaseTransport | None = None
        try:
            async with asyncio.timeout(DEADLINE):
                asked = _Asked(question)
                path = self._folder / f"{number}{_SUFFIX}"
                transport, _ = await loop.create_unix_connection(lambda: asked, str(path))
                return await asked.answer
        except (ConnectionRefusedError, FileNotFoundError):
            return b""
        except (OSError, TimeoutError):
            return None
        finally:
            if transport is not None:
                transport.close()

    def _begin(self, question: bytes, transport: asyncio.Transport) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(question, transport), name="answers another worker")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _reply(self, question: bytes, transport: asyncio.Transport) -> None:
        try:
            answer = await self._answer(question)
            if not transport.is_closing():  # the other one has waited for as long as it does
                transport.write(answer)
        finally:
            transport.close()


class _Question(asyncio.Protocol):
    """The connection of another process: one line comes, and the answer goes until the end."""

    def __init__(self, begin: Callable[[bytes, asyncio.Transport], None]) -> None:
        self._begin = begin
        self._line = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._line += data
        if self._line.endswith(b"\n"):
            self._begin(self._line[:-1], self._transport)
        elif len(self._line) > _LONGEST_QUESTION:
            self._transport.abort()


class _Asked(asyncio.Protocol):
    """The connection to another process. ``answer``: all that it sends; None where it ends by an error."""

    def __init__(self, question: bytes) -> None:
        self._question = question
        self._parts: list[bytes] = []
        self._size = 0
        self._transport: asyncio.Transport
        self.answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._transport.write(self._question + b"\n")

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > _LONGEST_ANSWER:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            is_whole = exc is None and self._size <= _LONGEST_ANSWER
            self.answer.set_result(b"".join(self._parts) if is_whole else None)


def _take_number(folder: Path, most: int) -> tuple[int, int]:
    """Return the lowest number that no living process has, and the descriptor that holds it."""
    import fcntl  # not on Windows, where this is not called

    for number in range(most):
        descriptor = os.open(folder / f"{number}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return number, descriptor
    raise OSError(f"all of {most} numbers are taken")
