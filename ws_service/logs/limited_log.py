"""Log lines that a client can cause, of the gateway and of the service: one a minute of each kind, with the number of
those left out."""

from __future__ import annotations

import logging
import time

PERIOD = 60.0
"""Seconds between two lines of a kind: a thousand sockets with the same fault are one line."""


class LimitedLog:
    """Writes to a log, one line of each kind in ``PERIOD``.

    logger: what is written to.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._last: dict[str, float] = {}
        self._skipped: dict[str, int] = {}

    def say(self, kind: str, level: int, sentence: str, *arguments: object) -> None:
        """Write a line, unless one of its kind was written lately.

        kind: a text of the code and never of a client, so that there are few.
        level: as of ``logging``. sentence, arguments: as for a logger.
        """
        now = time.monotonic()
        last = self._last.get(kind)
        if last is not None and now - last < PERIOD:
            self._skipped[kind] = self._skipped.get(kind, 0) + 1
            return
        self._last[kind] = now
        skipped = self._skipped.pop(kind, 0)
        if skipped:
            sentence += f" ({skipped} more of this kind since it was said last)"
        self._logger.log(level, sentence, *arguments)
