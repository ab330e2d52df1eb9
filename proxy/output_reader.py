"""What a program prints, read by a thread, for those that wait for a line of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, TypeVar

T = TypeVar("T")


class OutputReader:
    """Reads a stream line by line to its end.

    stream: of text; the output of a process. name: of the process.

    ``has_ended`` tells whether nothing more comes.
    """

    def __init__(self, stream: IO[str], name: str) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self.has_ended = False
        self._thread = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """What has come so far."""
        with self._changed:
            return "".join(self._lines)

    def wait(self, look: Callable[[Sequence[str]], T | None], timeout: float) -> T | None:
        """Wait until something is found, and return it; None where the stream ends before, or the time.

        look: returns what it finds in the lines that have come; None: not yet. timeout: seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while (found := look(self._lines)) is None:
                left = deadline - time.monotonic()
                if self.has_ended or left <= 0:
                    return None
                self._changed.wait(left)
        return found

    def join(self, timeout: float) -> None:
        """Wait for the end of the stream. timeout: seconds."""
        self._thread.join(timeout)

    def close(self, timeout: float) -> None:
        """Wait for the end of the stream, and close it. timeout: seconds."""
        self.join(timeout)
        self._stream.close()

    def _read(self) -> None:
        for line in self._stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self.has_ended = True
            self._changed.notify_all()
