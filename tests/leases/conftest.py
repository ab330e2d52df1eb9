"""The sum of what was done, at the end of the run."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how often something went wrong on purpose, whichever worker did it."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    rows = [value for report in reports for name, value in report.user_properties if name == "leases"]
    if rows:
        awaits, runs, missed, left = map(sum, zip(*rows, strict=True))
        done = f"{len(rows)} ways, {awaits} awaits, {runs} disturbed runs, {missed} not reached, {left} left over"
        terminalreporter.write_line(f"leases: {done}")
