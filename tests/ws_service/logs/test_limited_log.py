"""A line of each kind in a while, with what was left out."""

from __future__ import annotations

import logging

import pytest

from ws_service.logs import limited_log as module
from ws_service.logs.limited_log import LimitedLog


def test_of_each_kind_one_line_in_a_while_and_then_how_many_there_were(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = LimitedLog(logging.getLogger("ws_service.test"))
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for number in range(5):
        limited.say("one", logging.WARNING, "%s: a line", f"/{number}%d")
    limited.say("other", logging.ERROR, "another line")
    now[0] += module.PERIOD
    for _ in range(2):
        limited.say("one", logging.WARNING, "%s: a line", "/x")
    now[0] += module.PERIOD
    limited.say("other", logging.WARNING, "another line")
    assert caplog.messages == [
        "/0%d: a line",
        "another line",
        "/x: a line (4 more of this kind since it was said last)",
        "another line",
    ]
    assert [record.levelno for record in caplog.records] == [30, 40, 30, 30]
