"""The query of a status, its rows of topics, and one answer made of those of several workers."""

from __future__ import annotations

from typing import Any

import pytest

from ws_service.hub.registry import Seen
from ws_service.metrics.status import BadQuery, Query, merged, read_query, topic_rows

SEEN = [Seen("a", 1, 0, None), Seen("b", 3, 7, 90.0), Seen("c", 2, 1, 99.5)]


def part(worker: int, seen: list[Seen] = SEEN, most: int = 500) -> dict[str, Any]:
    return {
        "worker": {"worker": worker, "pid": 100 + worker, "uptime": 5.0, "sockets": 2},
        "hub": {
            "broker": "redis",
            "is_connected": worker != 2,
            "clients": 4,
            "users": 1,
            "subscriptions": 6,
            "event_streams": 1,
        },
        "topics": {"total": len(seen), "rows": topic_rows(seen[:most], 100.0)},
        "sockets": {"total": 2, "rows": [{"age": 1.0 * worker, "worker": worker}]},
    }


def test_a_query_says_how_many_rows_and_in_which_order() -> None:
    assert read_query("") == Query(100, 100, "oldest")
    assert read_query("sockets=0&topics=500&sort=sent&unknown=1") == Query(0, 500, "sent")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("sockets=501", "a number from 0 to 500"),
        ("topics=-1", "topics is"),
        ("sockets=1e2", "sockets is"),
        ("sockets=٣", "sockets is"),
        ("sockets=" + "9" * 5000, "sockets is"),
        ("sort=age", "oldest, newest, sent"),
        ("&".join(f"a{number}=1" for number in range(99)), "fields"),
    ],
)
def test_a_query_with_a_mistake_is_refused_with_what_it_may_be(query: str, why: str) -> None:
    with pytest.raises(BadQuery, match=why):
        read_query(query)


def test_a_topic_that_nothing_was_published_to_has_no_last_time() -> None:
    assert topic_rows(SEEN[1:], 100.0) == [
        {"topic": "b", "subscribers": 3, "publications": 7, "idle": 10.0},
        {"topic": "c", "subscribers": 2, "publications": 1, "idle": 0.5},
    ]
    assert topic_rows(SEEN[:1], 100.0)[0]["idle"] is None


def test_workers_add_clients_and_subscribers_and_each_gets_every_publication() -> None:
    more = [Seen("b", 2, 9, 95.0), Seen("d", 1, 1, 1.0)]
    answer = merged([part(1, more), part(0)], [2], "1.0", Query(10, 2))
    assert [worker["pid"] for worker in answer["workers"]] == [100, 101] and answer["missing"] == [2]
    assert (answer["hub"]["clients"], answer["hub"]["subscriptions"], answer["hub"]["is_connected"]) == (8, 12, True)
    assert answer["topics"]["rows"][0] == {"topic": "b", "subscribers": 5, "publications": 9, "idle": 5.0}
    assert (answer["topics"]["total"], answer["topics"]["is_exact"], len(answer["topics"]["rows"])) == (4, True, 2)
    assert answer["sockets"]["total"] == 4 and [row["worker"] for row in answer["sockets"]["rows"]] == [1, 0]


def test_a_worker_without_a_connection_to_the_broker_shows() -> None:
    assert not merged([part(0), part(2)], [], "", Query())["hub"]["is_connected"]


def test_a_total_of_topics_that_may_be_the_same_ones_says_that_it_is_at_least_so_many() -> None:
    topics = merged([part(0, most=1), part(1, most=1)], [], "", Query())["topics"]
    assert (topics["total"], topics["is_exact"]) == (3, False)
    assert merged([part(0, most=1)], [], "", Query())["topics"]["is_exact"]


def test_without_a_hub_there_is_none() -> None:
    alone = {**part(0), "hub": None}
    assert merged([alone], [], "", Query())["hub"] is None
