"""Log lines that a client can cause, of the gateway and of the service: of each kind one a minute, and how many were
left out."""

from __future__ import annotations

import logging
import time

PERIOD = 60.0
"""Seconds between two lines of a kind. A thousand sockets that do the same are one line, and a log that can be read."""


class LimitedLog:
    """Writes to a log, of each kind one line in a while.

    logger: what is written to.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._last: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, kind: str, level: int, sentence: str, *arguments: object) -> None:
        """Write a line, unless one of its kind was written lately.

        kind: a word of the code and never of a client, so there are few.
        level: as of ``logging``. sentence, arguments: as for a logger.
        """
        now = time.monotonic()
        last = self._last.get(kind)
        if last is not None and now - last < PERIOD:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._last[kind] = now
        unsaid = self._unsaid.pop(kind, 0)
        if unsaid:
            sentence += f" ({unsaid} more of this kind since it was said last)"
        self._logger.log(level, sentence, *arguments)
