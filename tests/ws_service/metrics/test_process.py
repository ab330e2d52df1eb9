"""What a process says of itself where there is nothing; a hub with clients is in the tests of the reports."""

from __future__ import annotations

import json
import os
import threading

import pytest
from prometheus_client import ProcessCollector

from ws_service.metrics.process import METRICS, ProcessReport
from ws_service.metrics.status import Query
from ws_service.websocket.resources import Resources


async def test_a_process_without_sockets_and_without_a_hub_says_so() -> None:
    report = ProcessReport(None)
    report.worker = 3
    report.start(Resources(1 << 20))
    answer = report.status(Query())
    assert (answer["worker"]["worker"], answer["worker"]["pid"], answer["worker"]["sockets"]) == (3, os.getpid(), 0)
    assert answer["hub"] is None
    report.close()
    assert answer["topics"] == answer["sockets"] == {"total": 0, "rows": []}


async def test_open_files_are_not_counted_in_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    collect = ProcessCollector.collect
    monkeypatch.setattr(
        ProcessCollector, "collect", lambda one: (threads.append(threading.current_thread()), collect(one))[1]
    )
    report = ProcessReport(None)
    report.start(Resources(1 << 20))
    told = json.loads(await report.answer(METRICS))
    report.close()
    assert "process_open_fds" in [name for name, *_ in told["families"]]
    (thread,) = threads
    assert thread is not threading.main_thread()
