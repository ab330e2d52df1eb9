"""The answer of a service about itself, read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.status.query import Query
from proxy.status.service_answer import ServiceAnswer, handed_off, topics


def row(**values: Any) -> dict[str, Any]:
    made = {"id": "a1", "client": "192.0.2.1", "path": "/live", "endpoint": "app", "way": "handoff", "user": "ada"}
    return made | {"topics": None, "age": 12.345, "received": 10, "sent": 20, "idle": 1.26} | values


def answer(*rows: dict[str, Any], **values: Any) -> ServiceAnswer:
    text = {
        "version": "0.1.0",
        "workers": [{"worker": 0, "pid": 7, "uptime": 3.5, "sockets": 1, "new": "field"}],
        "missing": [],
        "hub": None,
        "topics": {"total": 0, "is_exact": True, "rows": []},
        "sockets": {"total": len(rows), "rows": rows},
    }
    return ServiceAnswer.model_validate_json(json.dumps(text | values))


def topic(name: str, subscribers: int, publications: int = 0, idle: float | None = None) -> dict[str, Any]:
    return {"topic": name, "subscribers": subscribers, "publications": publications, "idle": idle}


def some(*rows: dict[str, Any], total: int) -> ServiceAnswer:
    return answer(topics={"total": total, "is_exact": True, "rows": rows})


def test_a_socket_that_was_handed_over_is_one_of_the_list() -> None:
    (one,) = handed_off([answer(row())], Query())
    assert (one.kind, one.path, one.client, one.age, one.idle) == ("handoff", "/live", "192.0.2.1", 12.3, 1.3)


def test_one_that_came_through_a_tunnel_is_told_by_the_gateway_and_not_twice() -> None:
    assert handed_off([answer(row(way="listener"))], Query()) == []


def test_what_the_system_does_not_tell_is_none() -> None:
    (one,) = handed_off([answer(row(received=None, sent=None, idle=None, id=None))], Query())
    assert (one.id, one.received, one.sent, one.idle) == ("", None, None, None)


def test_text_is_looked_for_in_the_client_and_the_path() -> None:
    two = [answer(row(), row(path="/other", client="198.51.100.7"))]
    assert [one.path for one in handed_off(two, Query(find="live"))] == ["/live"]
    assert [one.path for one in handed_off(two, Query(find="100.7"))] == ["/other"]


def test_a_long_path_is_cut() -> None:
    (one,) = handed_off([answer(row(path="/" + "x" * 4000))], Query())
    assert one.path == "/" + "x" * 199 + "…"


def test_topics_of_two_services_are_put_together() -> None:
    two = [some(topic("a", 2, 7, 3.0), topic("b", 5), total=2), some(topic("a", 4, 6, 1.0), total=1)]
    found = topics(two, 10)
    assert found == {"total": 2, "is_exact": False, "shown": [topic("a", 6, 7, 1.0), topic("b", 5)]}


def test_only_those_with_most_subscribers_are_shown_and_names_are_cut() -> None:
    found = topics([some(*(topic("n" * 300, n) for n in range(1)), topic("big", 9), total=2)], 1)
    assert [row["topic"] for row in found["shown"]] == ["big"]
    assert len(topics([some(topic("n" * 300, 1), total=1)], 1)["shown"][0]["topic"]) == 200


def test_nothing_is_known_without_an_answer() -> None:
    assert topics([], 5) == {"total": 0, "is_exact": False, "shown": []}


def test_several_that_are_shown_the_same_answers_see_the_same() -> None:
    two = [some(topic("a", 10), total=1), some(topic("a", 5), total=1)]
    assert [topics(two, 1)["shown"][0]["subscribers"] for _ in range(3)] == [15, 15, 15]


@pytest.mark.parametrize("path", ["/live;jsessionid=s3cret", "/live%3Ftoken=s3cret", "/live%253btoken=s3cret"])
def test_parameters_in_a_path_are_neither_shown_nor_searched(path: str) -> None:
    (one,) = handed_off([answer(row(path=path))], Query())
    assert one.path == "/live"
    assert handed_off([answer(row(path=path))], Query(find="s3cret")) == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_the_page_could_not_read_is_refused(number: str) -> None:
    text = json.dumps({"topics": {"total": 0, "rows": []}, "sockets": {"total": 1, "rows": [row(age=4711)]}})
    with pytest.raises(ValidationError):
        ServiceAnswer.model_validate_json(text.replace("4711", number))


@pytest.mark.parametrize("total", [-1, 1 << 54, 10**4000], ids=["negative", "large", "long"])
def test_a_count_that_is_none_is_refused(total: int) -> None:
    with pytest.raises(ValidationError):
        some(total=total)


def test_more_rows_than_are_asked_for_are_refused_and_not_described_one_by_one() -> None:
    with pytest.raises(ValidationError) as refused:
        answer(*([{}] * 100_000))
    assert refused.value.error_count() < 600


def test_long_texts_are_cut() -> None:
    (one,) = handed_off([answer(row(client="x" * 4000, id="x" * 4000, endpoint="x" * 4000))], Query())
    assert {len(one.client), len(one.id), len(one.route)} == {200}


def test_an_answer_of_another_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        answer(row(age="long"))
