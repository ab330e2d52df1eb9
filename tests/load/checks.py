"""Figures, their bounds, and the table that a run ends with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One figure. most: what it may be; None: nobody has promised anything, it is only told."""

    what: str
    figure: float
    most: float | None = None
    unit: str = ""
    note: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the figure is within its bound. What could not be measured (NaN) is not."""
        return self.most is None or self.figure <= self.most

    def __str__(self) -> str:
        verdict = "     " if self.most is None else "ok   " if self.is_held else "FAIL "
        bound = "" if self.most is None else f" (at most {_number(self.most)}{self.unit})"
        note = f"; {self.note}" if self.note else ""
        return f"{verdict}{self.what}: {_number(self.figure)}{self.unit}{bound}{note}"


def all_held(checks: Sequence[Check]) -> bool:
    """Tell whether no figure is beyond its bound."""
    return all(check.is_held for check in checks)


def table(checks: Sequence[Check]) -> str:
    """Write one line for each check, and one that counts the broken ones."""
    broken = sum(not check.is_held for check in checks)
    return "\n".join([*map(str, checks), "all bounds are held" if not broken else f"{broken} bounds are BROKEN"])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that ``share`` (0 to 1) of all values do not exceed; NaN where there are none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _number(value: float) -> str:
    if math.isnan(value):
        return "not measured"
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
