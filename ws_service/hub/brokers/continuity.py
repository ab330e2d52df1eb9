"""Whether what arrives of a topic continues what has arrived before. Pure.

A subscriber counts on every publication after its own position. So a broker that cannot prove that none is missing
says so, with ``Lost``, before anything newer.
"""

from __future__ import annotations

from ws_service.hub.broker import Event, Lost, Published
from ws_service.hub.history import is_continued
from ws_service.hub.publication import History, Position

MAX_WAITING = 1000
"""Events of a topic that wait while missing ones are read; beyond them the topic is told as lost."""

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""Bytes of their publications."""


class Continuity:
    """The place that one topic has reached in this process.

    While ``is_refilling``, missing publications are being read from the history, and what arrives waits.
    """

    __slots__ = ("_has_delivered", "_has_overflown", "_topic", "_waiting", "_waiting_bytes", "is_refilling", "position")

    def __init__(self, topic: str) -> None:
        self.is_refilling = False
        self.position: Position | None = None
        self._topic = topic
        self._has_delivered = False
        self._waiting: list[Event] = []
        self._waiting_bytes = 0
        self._has_overflown = False

    def expect(self, position: Position) -> None:
        """Take a position that a subscriber was given: what comes must continue it.

        Several are asked for at once, and answered in any order: before the first publication the lowest one counts.
        """
        known = self.position
        if known is None or (
            not self._has_delivered and known.epoch == position.epoch and position.offset < known.offset
        ):
            self.position = position

    def receive(self, event: Event) -> list[Event]:
        """Take an event. Returns what the hub is to get now. May begin to refill: see ``is_refilling``."""
        if self.is_refilling:
            self._wait(event)
            return []
        if not isinstance(event, Published) or not event.epoch:
            return [event]
        known, reached = self.position, Position(event.epoch, event.publication.offset)
        if known is None or known.epoch == reached.epoch:
            return self._same_epoch(known, reached, event)
        return [Lost(self._topic), *self._reach(reached, event)]

    def interrupt(self) -> None:
        """Note that events may be missing, because the connection was: what arrives waits for ``refill``."""
        self.is_refilling = True

    def refill(self, history: History | None) -> list[Event]:
        """End what ``interrupt`` or a gap has begun. Returns what the hub is to get.

        history: what was read after ``position``; None where nothing can be known.
        """
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        has_overflown, self._has_overflown = self._has_overflown, False
        self.is_refilling = False
        events: list[Event] = []
        if history is None or self.position is None or has_overflown or not is_continued(self.position, history):
            events.append(Lost(self._topic))
            self.position = history.position if history is not None and not has_overflown else None
        else:
            for publication in history.publications:
                events.append(Published(self._topic, publication, history.position.epoch))
            self.position = history.position
        self._has_delivered = True
        for event in () if has_overflown else waiting:
            events += self.receive(event)
        return events

    def _wait(self, event: Event) -> None:
        self._waiting_bytes += len(event.publication.data) if isinstance(event, Published) else 0
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self._has_overflown = True
        if self._has_overflown:
            self._waiting.clear()
        else:
            self._waiting.append(event)

    def _same_epoch(self, known: Position | None, reached: Position, event: Published) -> list[Event]:
        if known is None or reached.offset == known.offset + 1:
            return self._reach(reached, event)
        if reached.offset <= known.offset:
            return [] if self._has_delivered else self._reach(reached, event)
        self.interrupt()
        self._wait(event)
        return []

    def _reach(self, position: Position, event: Published) -> list[Event]:
        self.position = position
        self._has_delivered = True
        return [event]
