"""Lines to a descriptor, from a thread of its own: whoever reads a log may be slow, and the event loop never waits.

A write to a full pipe (a pager that is paused, a collector that hangs) waits
as long as its reader does, and every client with it. ``O_NONBLOCK`` is no
cure: it belongs to the open file and not to this process, so the shell that
shares the terminal, and every other program behind the same pipe, would get
it too. Opening ``/proc/self/fd/1`` anew gives a file of our own, but not
where standard output is a socket, as it is under systemd. A thread works
everywhere, and costs a hand-over for each batch of lines.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections import deque

from ws_service.logs.formatter import PlainFormatter

logger = logging.getLogger("proxy")

MOST = 1 << 20
"""Bytes that are held for a reader that is slow; about 8,000 lines. Lines behind them are dropped and counted."""


class LogWriter:
    """Writes lines in the order in which they come, or drops them and counts them: a log never stops the traffic.

    descriptor: stays the caller's. name: of the log, for messages about it.

    The first line that is lost is reported, and so is the first that is
    written again, with the number of those between. May be used from any
    thread.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._pieces: deque[bytes] = deque()
        self._held = 0  # bytes, those that are being written too
        self._is_torn = False  # the last line was written in part
        self._is_closing = False
        self._changed = threading.Condition()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"writer of {name}", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> None:
        """Take one line or more, each with its end; returns at once."""
        with self._changed:
            has_room = self._held + len(lines) <= MOST
            if has_room:
                self._pieces.append(lines)
                self._held += len(lines)
                self._changed.notify_all()
        if not has_room:
            self._drop(lines.count(b"\n"), "is not read as fast as it grows")

    def close(self, timeout: float) -> None:
        """Write what is held, for ``timeout`` seconds at most, and end. What is left then is lost."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout)

    # -- inside

    def _run(self) -> None:
        while lines := self._next():
            self._write_all(lines)
            with self._changed:
                self._held -= len(lines)

    def _next(self) -> bytes:
        """Wait for lines; nothing is the end."""
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
                done += self._write(memoryview(data)[done:])
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


class LogHandler(logging.Handler):
    """Gives the records of ``logging`` to a writer, of every logger there is: what is written is escaped here."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer
        self.setFormatter(PlainFormatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; one that cannot be formatted is told as ``logging`` tells it, and disturbs nobody."""
        try:
            line = self.format(record)
        except Exception:
            self.handleError(record)
        else:
            self._writer.write(line.encode("utf-8", "backslashreplace") + b"\n")
