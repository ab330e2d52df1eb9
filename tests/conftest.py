"""What holds for all tests: their levels, how they run side by side, what they must not leave open, and Hypothesis's
profile.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import uvloop
from hypothesis import settings

import ws_service.websocket  # noqa: F401 - before a test imports the library, which then reads the limits set there
from tests import side_by_side
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

# How long an example takes says more about the machine than about the code; tests that are about time measure it.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

_current: pytest.Item | None = None

_close = uvloop.Loop.close


def _close_with_what_is_open(loop: uvloop.Loop) -> None:
    """Close a uvloop, and fail where a test left something open.

    uvloop warns of each such thing, then closes it. A warning that is raised, as all are here, keeps it from closing
    it; then it waits for ever, in C, where pytest-timeout's signal is not seen.
    """
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        _close(loop)
    if left:
        raise AssertionError("left open on the event loop: " + "; ".join(str(warning.message) for warning in left))


uvloop.Loop.close = _close_with_what_is_open  # type: ignore[method-assign, unused-ignore]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts programs, and begin with what takes longest."""
    for item in items:
        if item.nodeid.startswith(side_by_side.LONG):
            item.add_marker("system")
    items.sort(key=lambda item: side_by_side.order(item.nodeid.partition("::")[0]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Remember which test runs."""
    global _current
    _current = item
    try:
        return (yield)
    finally:
        _current = None


def _starts_no_program(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "subprocess.Popen" or _current is None or _current.get_closest_marker("system"):
        return
    raise AssertionError(f"{_current.nodeid} starts {arguments[0]}; what does so is marked `system`")


sys.addaudithook(_starts_no_program)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return side_by_side.workers(config.args)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return side_by_side.scheduler(config, log)
