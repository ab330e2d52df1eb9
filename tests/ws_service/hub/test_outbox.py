from __future__ import annotations

from collections import Counter

from ws_service.hub.outbox import COST, MOST, Outbox
from ws_service.hub.topics import SlowPolicy

LATEST, DROP, DISCONNECT = SlowPolicy.LATEST, SlowPolicy.DROP_OLDEST, SlowPolicy.DISCONNECT


def taken(outbox: Outbox) -> list[bytes]:
    found = outbox.take(1000)
    assert outbox.size == 0 and len(outbox) == 0
    return found


class Box(Outbox):
    """An outbox with room for so many messages of two bytes, which writes down what is dropped."""

    def __init__(self, messages: int = 1000) -> None:
        self.dropped: Counter[tuple[str, SlowPolicy]] = Counter()
        super().__init__(messages * (2 + COST), self._note)

    def _note(self, topic: str, policy: SlowPolicy) -> None:
        self.dropped[topic, policy] += 1


def test_messages_leave_in_their_order_and_some_at_a_time() -> None:
    outbox = Outbox()
    for number in range(MOST + 2):
        assert outbox.add(b"%d" % number)
    assert outbox.take() == [b"%d" % number for number in range(MOST)]
    assert outbox.take() == [b"%d" % number for number in range(MOST, MOST + 2)]
    assert outbox.take() == []


def test_what_must_not_be_left_out_and_does_not_fit_says_that_the_client_is_too_slow() -> None:
    outbox = Box(2)
    assert outbox.add(b"r1")
    assert outbox.publish("a", b"p1", DISCONNECT)
    assert not outbox.add(b"r2")
    assert not outbox.publish("a", b"p2", DISCONNECT)
    assert taken(outbox) == [b"r1", b"p1"]


def test_of_a_topic_that_conflates_only_the_newest_waits() -> None:
    outbox = Box(3)
    for number in range(5):
        assert outbox.publish("a", b"a%d" % number, LATEST)
        assert outbox.publish("b", b"b%d" % number, LATEST)
    assert outbox.dropped == {("a", LATEST): 4, ("b", LATEST): 4}
    assert taken(outbox) == [b"a4", b"b4"]


def test_the_newest_comes_after_a_reply_that_was_queued_meanwhile() -> None:
    outbox = Outbox()
    outbox.publish("a", b"a1", LATEST)
    outbox.add(b"the reply of a new subscription")
    outbox.publish("a", b"a2", LATEST)
    assert taken(outbox) == [b"the reply of a new subscription", b"a2"]


def test_what_has_left_is_not_replaced() -> None:
    outbox = Box()
    outbox.publish("a", b"a1", LATEST)
    assert outbox.take() == [b"a1"]
    outbox.publish("a", b"a2", LATEST)
    assert taken(outbox) == [b"a2"]
    assert not outbox.dropped


def test_the_oldest_publications_make_room_and_replies_stay() -> None:
    outbox = Box(3)
    outbox.add(b"r1")
    for number in range(5):
        assert outbox.publish("a", b"a%d" % number, DROP)
    assert outbox.dropped == {("a", DROP): 3}
    assert outbox.add(b"r2")
    assert taken(outbox) == [b"r1", b"a4", b"r2"]


def test_a_publication_larger_than_the_queue_is_left_out() -> None:
    outbox = Box(2)
    outbox.publish("a", b"a1", DROP)
    assert outbox.publish("b", b"x" * 1000, DROP)
    assert taken(outbox) == []
    assert outbox.dropped == {("a", DROP): 1, ("b", DROP): 1}


def test_a_topic_that_conflates_makes_room_too_but_is_never_left_out_in_silence() -> None:
    outbox = Box(2)
    outbox.publish("a", b"a1", DROP)
    outbox.publish("b", b"b1", LATEST)
    assert outbox.publish("c", b"c1", LATEST)
    assert not outbox.publish("d", b"d1", LATEST)
    assert taken(outbox) == [b"b1", b"c1"]


def test_empty_messages_are_bounded_too() -> None:
    outbox = Outbox(1000)
    assert sum(outbox.add(b"") for _ in range(100)) == 1000 // COST


def test_what_is_cleared_leaves_nothing() -> None:
    outbox = Outbox()
    outbox.publish("a", b"a1", LATEST)
    outbox.publish("b", b"b1", DROP)
    outbox.clear()
    assert taken(outbox) == []
    outbox.publish("a", b"a2", LATEST)
    assert taken(outbox) == [b"a2"]
