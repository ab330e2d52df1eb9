"""What the demo's other processes publish."""

from __future__ import annotations

from typing import Any

import pytest

from dash_app import publishers
from ws_service import PublishError


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    monkeypatch.setattr(publishers, "publish", lambda topic, data, **_: told.append((topic, data)))
    monkeypatch.setattr(publishers.time, "sleep", lambda _: None)
    return told


def test_a_job_tells_each_percent_and_which_process_it_is(published: list[tuple[str, Any]]) -> None:
    publishers.job()
    assert [data["percent"] for _, data in published] == [str(number) for number in range(101)]
    assert {topic for topic, _ in published} == {"job"}


def test_an_answer_begins_anew_and_its_words_are_its_text(published: list[tuple[str, Any]]) -> None:
    publishers.answer()
    assert published[0] == ("stream:answer", {"reset": True, "text": ""})
    assert "".join(data for _, data in published[1:]).strip() == publishers.ANSWER


def test_a_trade_publishes_the_three_rows_that_it_changes(published: list[tuple[str, Any]]) -> None:
    table = publishers.rows()
    publishers.trade(table)
    ((topic, data),) = published
    assert topic == "table"
    assert len({row["id"] for row in data["update"]}) == 3
    assert all(row in table for row in data["update"])


def test_a_number_that_could_not_be_published_is_published_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PublishError("no hub")

    with monkeypatch.context() as away:
        away.setattr(publishers, "publish", refuse)
        assert publishers.tick(7) == 7
    monkeypatch.setattr(publishers, "publish", lambda *_, **__: None)
    assert publishers.tick(7) == 8


def test_work_of_one_kind_runs_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int | None] = []

    class Work:
        def __init__(self, argv: list[str]) -> None:
            assert argv[1:] == ["-m", "dash_app.publishers", "job"]
            self.number = len(codes)
            codes.append(None)

        def poll(self) -> int | None:
            return codes[self.number]

    monkeypatch.setattr(publishers.subprocess, "Popen", Work)
    monkeypatch.setattr(publishers, "running", {})
    publishers.start("job")
    publishers.start("job")
    assert len(codes) == 1
    codes[0] = 0
    publishers.start("job")
    assert len(codes) == 2
