"""What was said, what came back, and what is missing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence

SIZES = (12, 120, 700, 40, 5000, 90, 20, 70000)
"""Bytes of messages, one after the other: each length of a frame's head (RFC 6455, section 5.2) is among them."""


def message(name: str, number: int) -> bytes:
    """Return the message that a socket says in its place: no two of a run are the same."""
    head = f"{name} {number} "
    return head.ljust(SIZES[number % len(SIZES)], ".").encode()


class Ledger:
    """What one socket has said, and what of it has come back. name: nobody else's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.said = 0
        self.heard = 0

    @property
    def owed(self) -> int:
        """How many messages have not come back."""
        return self.said - self.heard

    def say(self) -> bytes:
        """Return the next message to say."""
        self.said += 1
        return message(self._name, self.said - 1)

    def hear(self, got: bytes) -> str:
        """Note a message that has come back; return what is wrong with it, or nothing."""
        if self.owed and got == message(self._name, self.heard):
            self.heard += 1
            return ""
        shown = f"{got[:60]!r}, where message {self.heard} of {self._name!r} was due"
        for number in range(self.said):
            if got == message(self._name, number):
                return f"came twice: {shown}" if number < self.heard else f"came too early, others are lost: {shown}"
        return f"was never said: {shown}"


def done_twice(book: Sequence[str]) -> list[str]:
    """Return the orders that are in the book more than once."""
    return [token for token, count in Counter(book).items() if count > 1]


def not_done(acknowledged: Collection[str], book: Collection[str]) -> list[str]:
    """Return the orders that were acknowledged and are not in the book."""
    return sorted(set(acknowledged) - set(book))


def moments(seconds: float, period: float, chance: random.Random) -> list[float]:
    """Return when a trouble happens within a round: once a period, a fifth of it to either side, never at its ends.

    At least once, however short the round.
    """
    count = max(1, int(seconds / period))
    step = seconds / (count + 1)
    return [step * (number + 1 + chance.uniform(-0.2, 0.2)) for number in range(count)]
