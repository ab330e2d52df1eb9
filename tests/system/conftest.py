"""Fixtures of the system tests: those that modules hold, and one that several share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.browser import chromium, tab
from tests.system.gateway import Origin

__all__ = ["chromium", "tab"]


@pytest.fixture
def origin() -> Iterator[Origin]:
    """An upstream of the test's own; where many tests share one, their module says so."""
    with Origin() as origin:
        yield origin
