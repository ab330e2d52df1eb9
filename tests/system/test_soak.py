"""The soak, short: everything goes wrong for some seconds, and nothing is lost or left over."""

from __future__ import annotations

from pathlib import Path

from tests.load.checks import all_held, table
from tests.soak.__main__ import soak
from tests.soak.troubles import Pace


async def test_whatever_goes_wrong_nothing_acknowledged_is_lost_and_nothing_is_left(tmp_path: Path) -> None:
    pace = Pace(origin=3, service=4, reload=2)
    checks = await soak(tmp_path, seconds=5, warm_up=1, sockets=60, pace=pace)
    assert all_held(checks), table(checks)
