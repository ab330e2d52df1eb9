"""Histories in memory: what they keep, and for how long, within a bound of bytes."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from ws_service.hub.broker import Keep
from ws_service.hub.history import TOPIC_BYTES, Histories, TopicHistory, is_continued, size_of
from ws_service.hub.publication import ClientInfo, History, Position, Publication

KEEP = Keep(3, 60.0)
ONE = Publication(b"1")


def histories(max_bytes: int = 1_000_000) -> Histories:
    epochs = count(1)
    return Histories(lambda: f"e{next(epochs)}", max_bytes)


def test_the_newest_are_kept_for_ttl_seconds_since_the_newest_one() -> None:
    history = TopicHistory("e")
    history.add(ONE, KEEP, 0.0)
    history.add(ONE, KEEP, 50.0)
    kept = history.read(109.0, None, -1, is_reversed=False)
    assert [one.offset for one in kept.publications] == [1, 2]
    assert history.read(110.0, None, -1, is_reversed=False) == History(Position("e", 2))


def test_publications_that_have_expired_do_not_come_back_with_a_new_one() -> None:
    history = TopicHistory("e")
    history.add(ONE, KEEP, 0.0)
    history.add(ONE, KEEP, 61.0)
    assert [one.offset for one in history.read(61.0, None, -1, is_reversed=False).publications] == [2]


def test_what_goes_gives_its_bytes_back() -> None:
    all_topics = histories()
    for number in range(10):
        all_topics.add("a", ONE, KEEP, float(number))
    assert all_topics.size == TOPIC_BYTES + 3 * size_of(ONE.with_offset(1))
    all_topics.read("a", 1000.0)
    assert all_topics.size == TOPIC_BYTES


def test_the_topic_that_was_used_least_lately_is_forgotten_first() -> None:
    all_topics = histories(3 * TOPIC_BYTES)
    for topic in ("a", "b", "c"):
        all_topics.read(topic, 0.0)
    all_topics.read("a", 0.0)
    all_topics.read("d", 0.0)
    assert all_topics.read("a", 0.0).position.epoch == "e1"
    assert all_topics.read("b", 0.0).position.epoch == "e5"
    assert all_topics.size <= 3 * TOPIC_BYTES


def test_one_topic_alone_loses_its_oldest_publications() -> None:
    all_topics = histories(TOPIC_BYTES + 2000)
    for _ in range(5):
        all_topics.add("a", Publication(b"x" * 400), Keep(100, 60.0), 0.0)
    assert all_topics.size <= TOPIC_BYTES + 2000
    kept = all_topics.read("a", 0.0, limit=-1)
    assert [one.offset for one in kept.publications] == [4, 5]
    assert kept.position == Position("e1", 5)


def test_the_size_of_a_publication_counts_its_texts() -> None:
    info = ClientInfo("1234", "ada", b"[1]", b"[2]")
    assert size_of(Publication(b"12345", 1, info, {"ab": "cde"})) == size_of(Publication(b"")) + 5 + 4 + 3 + 3 + 3 + 5


@pytest.mark.parametrize(
    ("since", "position", "offsets", "expected"),
    [
        (Position("e", 3), Position("e", 5), [4, 5], True),
        (Position("e", 5), Position("e", 5), [], True),
        (Position("e", 0), Position("e", 0), [], True),
        (Position("e", 3), Position("e", 5), [5], False),
        (Position("e", 3), Position("e", 5), [], False),
        (Position("e", 3), Position("e", 5), [4], False),
        (Position("f", 3), Position("e", 5), [4, 5], False),
        (Position("e", 6), Position("e", 5), [], False),
    ],
)
def test_a_history_continues_a_place_where_each_publication_after_it_is_there(
    since: Position, position: Position, offsets: list[int], expected: bool
) -> None:
    history = History(position, tuple(Publication(b"1", offset) for offset in offsets))
    assert is_continued(since, history) is expected


@pytest.mark.parametrize(
    ("since", "limit", "is_reversed", "offsets"),
    [
        (None, -1, False, [3, 4, 5]),
        (Position("e", 0), -1, False, [3, 4, 5]),
        (Position("e", 3), 1, False, [4]),
        (Position("e", 5), -1, False, []),
        (Position("e", 9), -1, False, []),
        (None, 2, True, [5, 4]),
        (Position("e", 5), -1, True, [4, 3]),
        (Position("e", 9), 1, True, [5]),
        (Position("e", 3), -1, True, []),
        (Position("e", 1), -1, True, []),
    ],
)
def test_a_part_begins_after_a_position(since: Any, limit: int, is_reversed: bool, offsets: list[int]) -> None:
    history = TopicHistory("e")
    assert not history.read(0.0, since, limit, is_reversed=is_reversed).publications
    for _ in range(5):
        history.add(ONE, KEEP, 0.0)
    part = history.read(0.0, since, limit, is_reversed=is_reversed)
    assert [one.offset for one in part.publications] == offsets


def test_names_that_nothing_is_published_to_push_out_no_history() -> None:
    all_topics = histories(10 * TOPIC_BYTES)
    all_topics.read("a", 0.0)
    all_topics.add("a", ONE, KEEP, 0.0)
    for number in range(100):
        all_topics.read(f"of a client's making {number}", 0.0)
    assert all_topics.size <= 10 * TOPIC_BYTES
    assert all_topics.read("a", 0.0, limit=-1).position == Position("e1", 1)
    for number in range(20):
        all_topics.add(f"b{number}", ONE, KEEP, 0.0)
    assert all_topics.size <= 10 * TOPIC_BYTES and len(all_topics._topics) + len(all_topics._unused) <= 10
