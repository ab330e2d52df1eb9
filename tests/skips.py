"""Where CI is set, a test that skips fails: everything is installed there, and nobody would see the skip."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest

Report = pytest.TestReport | pytest.CollectReport

PERMITTED = re.compile(
    r"\broot\b|another user"  # one user or the other runs the suite
    r"|recorded is|this version of it|that version chooses"  # of a program whose version Debian or PyPI chooses
    r"|no dependency of this project"
    r"|a default port is taken"
)
"""Reasons that hold under CI too: what they miss is there, or is not ours to install."""


def without_skip(report: Report) -> None:
    """Make a skip a failure, under CI, unless its reason is permitted. An expected failure is no skip."""
    if not report.skipped or hasattr(report, "wasxfail") or not os.environ.get("CI"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not PERMITTED.search(reason):
        report.outcome = "failed"
        report.longrepr = f"{reason}\nCI is set, so this is no skip: .ci/run has to install it (tests/skips.py)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Report, Report]:
    """Judge each test."""
    report = yield
    without_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Report, Report]:
    """Judge each file: it can skip as a whole."""
    report = yield
    without_skip(report)
    return report
