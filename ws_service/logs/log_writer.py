"""Log lines are written to a descriptor by a thread, so that a slow reader of the log never stops the event loop.

A write to a full pipe (a pager that is paused, a collector that hangs) blocks until the reader goes on, and every
client would wait with it. ``O_NONBLOCK`` does not solve this: the flag belongs to the open file and not to this
process, so the shell that shares the terminal, and every other program that writes to the same pipe, would get it
too. Opening ``/proc/self/fd/1`` again gives a file of our own, but fails where standard output is a socket, as it is
under systemd. A thread works everywhere, and costs one hand-over for each batch of lines.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

from ws_service.logs.formatter import LineFormatter

logger = logging.getLogger(__name__)

MAX_BUFFERED = 1 << 20
"""Bytes that wait for a slow reader; about 8,000 lines. Further lines are dropped and counted."""

LAST_LINES = 1.0
"""Seconds for the lines that wait to be written when a log ends."""

_AT_ONCE = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes whole or not at all (POSIX, write(2); 4,096 on Linux): with more, the lines of processes that
share it, as workers do, would be mixed."""

_STANDARD_ERROR = 2


class LogWriter:
    """Writes lines in the order in which they come, or drops and counts them.

    descriptor: is not closed. name: of the log, for messages about it.

    The first line that is dropped is reported, and so is the first that is written afterwards, with the number of
    those that were dropped in between. ``dropped`` is that number so far.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._pieces: deque[bytes] = deque()
        self._buffered = 0  # bytes, those that are being written too
        self._is_torn = False  # the last line was written in part
        self._is_closing = self._is_forked = False
        self._changed = threading.Condition()
        self.dropped = 0
        _writers.add(self)
        self._thread = threading.Thread(target=self._run, name=f"writer of {name}", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Take one line or more, each with its end; returns at once."""
        if self._is_forked:
            self._write_all(lines)
            return
        with self._changed:
            is_dropped = self._buffered + len(lines) > MAX_BUFFERED
            if not is_dropped:
                self._pieces.append(lines)
                self._buffered += len(lines)
                self._changed.notify_all()
        if is_dropped:
            self._drop(lines.count(b"\n"), "is not read as fast as it grows")

    def flush(self, timeout: float) -> None:
        """Wait until everything is written, for ``timeout`` seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._buffered or not self._thread.is_alive(), timeout)

    def close(self, timeout: float = LAST_LINES) -> None:
        """Write what waits, for ``timeout`` seconds at most, and end. What is left then is lost."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def forked(self) -> None:
        """Go on in a child process, which has no thread of its parent's: each line is written at once.

        What waited is the parent's to write. A thread of the child's own would lose its last lines: ``multiprocessing``
        ends its processes without any hook of an exit.
        """
        self._is_forked = True
        self._changed = threading.Condition()  # a thread that is not here may hold the other one
        self._pieces.clear()
        self._buffered = self.dropped = 0

    # -- inside

    def _run(self) -> None:
        while lines := self._next():
            self._write_all(lines)
            with self._changed:
                self._buffered -= len(lines)
                self._changed.notify_all()

    def _next(self) -> bytes:
        """Wait for lines and return them; empty once the writer is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._is_closing)
            lines = b"".join(self._pieces)
            self._pieces.clear()
        return lines

    def _write_all(self, lines: bytes) -> None:
        data = b"\n" + lines if self._is_torn else lines
        done = 0
        try:
            while done < len(data):
                done += self._write(memoryview(data)[done : _end_of_lines(data, done)])
        except OSError as error:
            if done:
                self._is_torn = data[done - 1 : done] != b"\n"
            self._drop(min(lines.count(b"\n"), data.count(b"\n", done)), f"cannot be written ({error})")
        else:
            self._is_torn = False
            self._report_gap()

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:  # another program that shares the open file has made it non-blocking
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll()
            return 0

    def _drop(self, count: int, why: str) -> None:
        with self._changed:
            is_first = not self.dropped
            self.dropped += count
        if is_first:  # outside the lock: it may become a line for this very writer
            logger.error("%s %s; its lines are dropped until that changes", self._name, why)

    def _report_gap(self) -> None:
        with self._changed:
            dropped, self.dropped = self.dropped, 0
        if dropped:
            logger.warning("%s is written again; %d lines were dropped", self._name, dropped)


def _end_of_lines(data: bytes, begin: int) -> int:
    """Return where as many whole lines end as are written at once; of a longer line, where that ends."""
    return data.rfind(b"\n", begin, begin + _AT_ONCE) + 1 or data.find(b"\n", begin) + 1 or len(data)


_writers: WeakSet[LogWriter] = WeakSet()


def _after_fork() -> None:
    for writer in _writers:
        writer.forked()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class LogHandler(logging.Handler):
    """Gives records of ``logging`` to a writer.

    pattern: of a line, as for ``logging.Formatter``; what is written is escaped.
    """

    def __init__(self, writer: LogWriter, pattern: str) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(LineFormatter(pattern))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; one that cannot be formatted is reported as ``logging`` does it."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            self._writer.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def flush(self) -> None:
        """Wait for the writer, for ``LAST_LINES`` at most; ``logging.shutdown`` calls it."""
        self._writer.flush(LAST_LINES)


@contextmanager
def standard_error() -> Iterator[LogWriter]:
    """Open a writer to standard error; what waits is written when the ``with`` block ends.

    It is not closed: the user's threads, and the deadline of a stop, may log until the process ends.

    A standard descriptor that was closed before the start leads to ``/dev/null`` from now on: otherwise the socket of
    a client would get its number, and what is written to standard error with it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    writer = LogWriter(_STANDARD_ERROR, "this log")
    try:
        yield writer
    finally:
        writer.flush(LAST_LINES)
