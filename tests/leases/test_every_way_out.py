"""Each way through gateway and service is cancelled, and loses its client or its upstream, at each await in turn.

``LEASES=all`` in the environment does everything at every await, on both loops; without it some things happen at some
of the awaits (``harness.RARELY``), and asyncio's own loop has a few ways that together are of every kind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.leases.harness import Report, Way, play
from tests.leases.ways import MUST_BE_COVERED, WAYS


def _some_of_every_kind() -> list[Way]:
    left = {kind for way in WAYS.values() for kind in way.kinds}
    chosen = []
    while left:
        chosen.append(max(WAYS.values(), key=lambda way: len(way.kinds & left)))
        left -= chosen[-1].kinds
    return chosen


ON_ASYNCIO = list(WAYS.values()) if os.environ.get("LEASES") == "all" else _some_of_every_kind()
RUNS = [(way, "uvloop") for way in WAYS.values()] + [(way, "asyncio") for way in ON_ASYNCIO]


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> Iterator[list[Report]]:
    """Collect what was done; the sum is printed at the end, whatever is captured."""
    collected: list[Report] = []
    yield collected
    awaits, runs = sum(report.awaits for report in collected), sum(report.runs for report in collected)
    left = sum(len(report.left_over) for report in collected)
    missed = sum(len(report.not_reached) for report in collected)
    done = f"{len(collected)} ways, {awaits} awaits, {runs} disturbed runs, {missed} not reached, {left} left over"
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nleases: {done}")


@pytest.fixture(autouse=True)
def short_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each disturbed run of an upload would wait a quarter of a second for the rest of a small body."""
    monkeypatch.setattr("proxy.gateway.forward._MOMENT", 0.02)


@pytest.mark.parametrize(("way", "loop"), RUNS, ids=[f"{way.name.replace(' ', '-')}-{loop}" for way, loop in RUNS])
def test_everything_is_given_back(way: Way, loop: str, reports: list[Report]) -> None:
    report = play(way, loop)
    reports.append(report)
    print(report)
    assert not report.left_over, "\n".join([str(report), *report.left_over])
    assert report.runs >= 10, "so few that it proves nothing"
    assert len(report.not_reached) <= report.runs / 10, report.not_reached


def test_each_kind_of_way_is_there() -> None:
    assert not MUST_BE_COVERED - {kind for way in WAYS.values() for kind in way.kinds}
