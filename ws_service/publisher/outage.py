"""Whether the hub can be asked at the moment, and when an outage is logged. Pure: time is an argument.

A hub that refuses connections costs a publish nothing. One that hangs costs it its timeout, and a callback that streams
tokens publishes a hundred times a second: so after one timeout the hub is not asked for a while, and then by one caller
only, until that one has its answer.
"""

from __future__ import annotations

SLOW = 0.2
"""Seconds after which a failure has cost the caller something: a timeout, a name that is not resolved."""

PAUSE = 5.0
"""Seconds in which a hub that failed slowly is not asked."""

PERIOD = 60.0
"""Seconds between two log lines of one outage."""


class Outage:
    """What is known about the hub. Its methods do not block; its owner sees to it that no two run at once."""

    def __init__(self) -> None:
        self._not_before = 0.0
        self._is_slow = False
        self._unpublished = 0
        self._next_line: float | None = None

    def may_ask(self, now: float, timeout: float) -> bool:
        """Tell whether the hub may be asked now. timeout: seconds after which the caller will know more."""
        if now < self._not_before:
            return False
        if self._is_slow:
            self._not_before = now + timeout  # one caller asks, and the others fail at once
        return True

    def failed(self, now: float, took: float) -> None:
        """Note that the hub could not be asked. took: seconds that it has cost."""
        self._is_slow = took >= SLOW
        self._not_before = now + PAUSE if self._is_slow else 0.0

    def line(self, now: float) -> int | None:
        """Note that a message was not published for which no error is raised.

        Returns how many there are since the last line, when a line is to be logged; else None.
        """
        self._unpublished += 1
        if self._next_line is not None and now < self._next_line:
            return None
        self._next_line = now + PERIOD
        unpublished, self._unpublished = self._unpublished, 0
        return unpublished

    def answered(self) -> int | None:
        """Note that the hub has answered.

        Returns how many messages were not published since the last line, when a line was logged before; else None.
        """
        unpublished = self._unpublished if self._next_line is not None else None
        self._not_before, self._is_slow, self._unpublished, self._next_line = 0.0, False, 0, None
        return unpublished
