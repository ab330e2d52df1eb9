"""Which of an upstream's addresses gets what comes: one with the fewest under way, and of several in turn.

Least in flight, and not round robin: a Dash callback may compute for minutes, so equal numbers of requests are not
equal work. Nothing is sticky (docs/decisions/032-lists-of-addresses.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def least_loaded(candidates: Sequence[T], load: Callable[[T], int], turn: int) -> T:
    """Return the one with the smallest load; of those that are equal, the first from a place on.

    candidates: at least one. turn: the place, counted on by the caller from one call to the next.
    """
    first = turn % len(candidates)
    return min((*candidates[first:], *candidates[:first]), key=load)
