"""What is printed and written of findings: lines for a terminal, JSON, and the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.doctor.finding import Finding, Place, Severity
from proxy.doctor.probe import Area, Outcome
from ws_service.logs.formatter import one_line

NOTHING_FOUND, FOUND, CANNOT_RUN = 0, 1, 2
"""Exit codes. Notes are no reason for 1."""

FORMAT = 1
"""The version of the JSON: it grows by keys, and is counted up when one goes or changes its meaning."""

_MARKS = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.NOTE: "·"}
_PASSED, _SKIPPED = "✓", "-"
_PLAIN = str.maketrans({"✗": "x", "✓": "+", "·": "-"})

_WIDTH = 10
"""Columns of an area's name."""


@dataclass
class Examined:
    """An area and what has been seen of it."""

    name: str
    outcome: Outcome


@dataclass
class Examination:
    """All that was found. source: the config file's name. url: what ``--url`` said."""

    source: str
    url: str | None = None
    areas: list[Examined] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """All of them, in the order of the areas."""
        return [finding for area in self.areas for finding in area.outcome.findings]

    @property
    def exit_code(self) -> int:
        """0 where nothing was found but notes, else 1."""
        return FOUND if _count(self.findings, Severity.ERROR, Severity.WARNING) else NOTHING_FOUND


def encodable(lines: Iterable[str], encoding: str | None) -> Iterator[str]:
    """Yield lines that a terminal can print: its marks are ASCII where its encoding does not have ours."""
    for line in lines:
        try:
            line.encode(encoding or "ascii")
        except UnicodeEncodeError:
            line = line.translate(_PLAIN).encode(encoding or "ascii", "replace").decode(encoding or "ascii")
        yield line


def begun(area: Area) -> str:
    """Return the line of an area that is being probed."""
    return f"… {area.name:<{_WIDTH}} {area.question}"


def lines_of(name: str, outcome: Outcome, *, is_quiet: bool = False) -> Iterator[str]:
    """Yield the lines of an area: its own, and each finding below it. is_quiet: none where there is no finding."""
    if is_quiet and not outcome.has(Severity.ERROR) and not outcome.has(Severity.WARNING):
        return
    yield f"{_mark(outcome)} {name:<{_WIDTH}} {one_line(outcome.seen)}".rstrip()
    for finding in outcome.findings:
        if not is_quiet or finding.kind.severity is not Severity.NOTE:
            yield from _lines_of_finding(finding)


def _mark(outcome: Outcome) -> str:
    if outcome.is_skipped:
        return _SKIPPED
    worst = next((severity for severity in (Severity.ERROR, Severity.WARNING) if outcome.has(severity)), None)
    return _MARKS[worst] if worst else _PASSED


def _lines_of_finding(finding: Finding) -> Iterator[str]:
    first, *more = map(one_line, finding.seen.split("\n"))
    yield f"  {_MARKS[finding.kind.severity]} {finding.id}: {first}"
    for line in more:
        yield f"      {line}"
    yield f"      why:  {finding.kind.why}"
    if finding.fix:
        yield f"      fix:  {one_line(finding.fix)}"
    if finding.place is not None:
        yield f"      in:   {one_line(str(finding.place))}"
    yield f"      more: {finding.docs}"


def summary(findings: Sequence[Finding]) -> str:
    """Return the last line."""
    errors, warnings, notes = (_count(findings, severity) for severity in Severity)
    counted = [_number(errors, "error"), _number(warnings, "warning"), _number(notes, "note")]
    found = ", ".join(text for text in counted if text)
    if not errors and not warnings:
        return f"nothing to repair ({found})" if found else "nothing to repair"
    return found


def as_json(examination: Examination, exit_code: int) -> dict[str, Any]:
    """Return everything as values for JSON."""
    return {
        "format": FORMAT,
        "config": examination.source,
        "url": examination.url,
        "exit_code": exit_code,
        "areas": [
            {"name": area.name, "result": _result(area.outcome), "seen": area.outcome.seen}
            for area in examination.areas
        ],
        "findings": [_finding(finding) for finding in examination.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "area": finding.kind.area,
        "severity": finding.kind.severity.value,
        "title": finding.kind.title,
        "seen": finding.seen,
        "why": finding.kind.why,
        "fix": finding.fix or None,
        "place": None if finding.place is None else _place(finding.place),
        "docs": finding.docs,
    }


def _place(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "column": place.column, "key": place.key or None}


def _result(outcome: Outcome) -> str:
    if outcome.is_skipped:
        return "skipped"
    return next((severity.value for severity in Severity if outcome.has(severity)), "ok")


def _count(findings: Iterable[Finding], *severities: Severity) -> int:
    return sum(finding.kind.severity in severities for finding in findings)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}" if count else ""
