"""The order of measurements, and what is made of their repetitions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def interleave(names: Sequence[str], rounds: int) -> list[list[str]]:
    """Return who is measured in each round, in which order.

    Everybody once per round, so that a slow minute of the machine hits all alike; each round
    begins with another, so that nobody is always the one behind the largest.
    """
    return [[*names[turn:], *names[:turn]] for turn in (number % max(len(names), 1) for number in range(rounds))]


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return the value below which a share ``q`` of them lies; nearest rank. ValueError when there is none."""
    if not ordered:
        raise ValueError("no values")
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)]


@dataclass(frozen=True)
class Summary:
    """A figure of several rounds: its median, and the lowest and the highest."""

    median: float
    low: float
    high: float


def summarise(values: Sequence[float]) -> Summary:
    """Summarise the rounds of one figure. ValueError when there is none."""
    if not values:
        raise ValueError("no values")
    return Summary(median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """Compare two figures round by round: both of a round have met the same machine.

    Where one of them has lost a round, medians are compared instead. ValueError when there is nothing to compare.
    """
    if not ours or not theirs or min(theirs) <= 0:
        raise ValueError("nothing to compare with")
    if len(ours) != len(theirs):
        return summarise([median(ours) / median(theirs)])
    return summarise([a / b for a, b in zip(ours, theirs, strict=True)])
