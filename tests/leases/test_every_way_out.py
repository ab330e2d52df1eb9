"""Each way through gateway and service is cancelled, and loses its client or its upstream, at each await in turn."""

from __future__ import annotations

import pytest

from tests.leases.harness import LOOPS, play
from tests.leases.ways import MUST_BE_COVERED, WAYS


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", WAYS.values(), ids=lambda way: way.name.replace(" ", "-"))
def test_everything_is_given_back(way: object, loop: str) -> None:
    report = play(way, loop)  # type: ignore[arg-type]
    print(report)
    assert not report.left_over, "\n".join([str(report), *report.left_over])
    assert report.runs


def test_each_kind_of_way_is_there() -> None:
    assert not MUST_BE_COVERED - {kind for way in WAYS.values() for kind in way.kinds}
