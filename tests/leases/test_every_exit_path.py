"""Each way through gateway and service is cancelled, and loses its client or its upstream, at each await in turn.

``LEASES=all`` in the environment does everything at every await, on both loops; without it some things happen at some
of the awaits (``harness.RARELY``), and asyncio's own loop has a few ways that together are of every kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.leases.harness import Way, play
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


@pytest.fixture(autouse=True)
def short_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each disturbed run of an upload would wait a quarter of a second for the rest of a small body."""
    monkeypatch.setattr("proxy.gateway.request_body._SHORT_WAIT", 0.02)


@pytest.mark.parametrize(("way", "loop"), RUNS, ids=[f"{way.name.replace(' ', '-')}-{loop}" for way, loop in RUNS])
def test_everything_is_given_back(way: Way, loop: str, record_property: Callable[[str, object], None]) -> None:
    report = play(way, loop)
    record_property("leases", [report.awaits, report.runs, len(report.not_reached), len(report.left_over)])
    print(report)
    assert not report.left_over, "\n".join([str(report), *report.left_over])
    assert report.runs >= 10, "so few that it proves nothing"
    assert len(report.not_reached) <= report.runs / 10, report.not_reached


def test_each_kind_of_way_is_there() -> None:
    assert not MUST_BE_COVERED - {kind for way in WAYS.values() for kind in way.kinds}
