"""What Autobahn found, read from its ``index.json``, and where two ways to the same endpoint differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Report = Mapping[str, Mapping[str, Any]]
"""One agent's part of an ``index.json``: what was found, by case."""


@dataclass(frozen=True, order=True)
class Verdict:
    """How the endpoint took one case: the messages, and the close."""

    behavior: str
    behavior_close: str

    def __str__(self) -> str:
        return f"{self.behavior} (close {self.behavior_close})"


Seen = Mapping[str, frozenset[Verdict]]
"""The verdicts of each case. More than one where the endpoint itself is not always the same."""


@dataclass(frozen=True)
class Difference:
    """A case that went otherwise through the gateway. An empty set: it was not run that way."""

    case: str
    without: frozenset[Verdict]
    through: frozenset[Verdict]

    def __str__(self) -> str:
        return f"case {self.case}: {_spoken(self.without)} without the gateway, {_spoken(self.through)} with it"


def seen(reports: Iterable[Report]) -> dict[str, frozenset[Verdict]]:
    """Gather the verdicts of each case from several runs. Raises KeyError for a report that is none."""
    found: dict[str, frozenset[Verdict]] = {}
    for report in reports:
        for case, what in report.items():
            found[case] = found.get(case, frozenset()) | {Verdict(what["behavior"], what["behaviorClose"])}
    return found


def differences(without: Seen, through: Seen) -> list[Difference]:
    """Return the cases, in their order, that the gateway gave a verdict which they never have without it.

    A case that was run only one of the two ways is a difference too.
    """
    cases = sorted(without.keys() | through.keys(), key=_place)
    pairs = ((case, without.get(case, frozenset()), through.get(case, frozenset())) for case in cases)
    return [Difference(case, one, other) for case, one, other in pairs if not other or not other <= one]


def unsteady(without: Seen) -> list[str]:
    """Return the cases, in their order, that the endpoint itself does not always take the same way."""
    return sorted((case for case, verdicts in without.items() if len(verdicts) > 1), key=_place)


def summary(report: Report) -> str:
    """Count the verdicts on messages: ``OK 240, NON-STRICT 4``."""
    counted = Counter(what["behavior"] for what in report.values())
    return ", ".join(f"{name} {count}" for name, count in counted.most_common())


def _spoken(verdicts: frozenset[Verdict]) -> str:
    return " or ".join(map(str, sorted(verdicts))) or "not run"


def _place(case: str) -> tuple[int, ...]:
    return tuple(int(part) for part in case.split("."))
