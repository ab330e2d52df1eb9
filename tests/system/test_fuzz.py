"""The fuzz target for the request path, for some seconds: a real gateway between fuzzed clients and strict origins.

``make fuzz`` plays longer, and anything else than this seed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.run import run


@pytest.mark.parametrize(("hands_off", "has_several"), [(False, False), (True, False), (False, True), (True, True)])
def test_whatever_is_sent_the_origin_sees_only_what_the_gateway_decided_on(
    tmp_path: Path, hands_off: bool, has_several: bool
) -> None:
    verdict = run(tmp_path, seed="always the same", seconds=3.0, hands_off=hands_off, has_several=has_several)
    assert verdict.failures == []
    assert verdict.connections > 100
    assert verdict.requests > verdict.connections / 5
    assert (verdict.handed_off > 0) is hands_off
