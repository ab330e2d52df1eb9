"""``results.json``: what a run has found, as it is kept and read again. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from benchmarks.rounds import Summary, summarise


@dataclass(frozen=True)
class Subject:
    """What was measured. log: its access log. missing: why it was not measured; None: it was."""

    name: str
    version: str
    log: str
    missing: str | None


@dataclass
class Cell:
    """One workload through one subject. rounds: figures by name, of each round. error: why it broke off."""

    workload: str
    subject: str
    rounds: list[dict[str, float]] = field(default_factory=list)
    error: str | None = None

    def add(self, figures: dict[str, float]) -> None:
        """Keep the figures of a round, with as many digits as a clock of nanoseconds can mean."""
        self.rounds.append({name: float(f"{value:.5g}") for name, value in figures.items()})


@dataclass(frozen=True)
class Results:
    """A run. date: UTC. seconds: how long it took. window: seconds of one measurement."""

    date: str
    seconds: int
    is_pinned: bool
    window: float
    machine: dict[str, str]
    subjects: Sequence[Subject]
    cells: Sequence[Cell]

    def values(self, workload: str, subject: str, figure: str) -> list[float]:
        """Return a figure of every round; empty when there is none. A cell that broke off counts for nothing."""
        for cell in self.cells:
            if (cell.workload, cell.subject) == (workload, subject) and cell.error is None:
                return [figures[figure] for figures in cell.rounds if figure in figures]
        return []

    def summary(self, workload: str, subject: str, figure: str) -> Summary | None:
        """Return a figure's median and spread; None when it was not measured."""
        values = self.values(workload, subject, figure)
        return summarise(values) if values else None

    def error(self, workload: str, subject: str) -> str | None:
        """Return why a cell broke off."""
        for cell in self.cells:
            if (cell.workload, cell.subject) == (workload, subject):
                return cell.error
        return None


def dump(results: Results) -> str:
    """Write results as JSON, one cell to a line, so that a diff of two runs can be read."""
    fields = asdict(results)
    rows = {name: ",\n    ".join(json.dumps(row) for row in fields.pop(name)) for name in ("subjects", "cells")}
    head = json.dumps(fields, indent=2).removesuffix("\n}")
    tail = ",\n".join(f'  "{name}": [\n    {lines}\n  ]' for name, lines in rows.items())
    return f"{head},\n{tail}\n}}\n"


def load(text: str) -> Results:
    """Read what ``dump`` has written."""
    fields = json.loads(text)
    fields["subjects"] = [Subject(**row) for row in fields["subjects"]]
    fields["cells"] = [Cell(**row) for row in fields["cells"]]
    return Results(**fields)
