"""Whether what arrives continues what has arrived before."""

from __future__ import annotations

from ws_service.hub.broker import Event, Joined, Lost, Published
from ws_service.hub.brokers.continuity import MAX_WAITING, Continuity
from ws_service.hub.publication import ClientInfo, History, Position, Publication

TOPIC = "prices"
LOST = Lost(TOPIC)


def pub(offset: int, epoch: str = "e") -> Published:
    return Published(TOPIC, Publication(b"%d" % offset, offset), epoch)


def read(first: int, last: int, epoch: str = "e") -> History:
    return History(Position(epoch, last), tuple(Publication(b"%d" % n, n) for n in range(first, last + 1)))


def reached(*offsets: int, epoch: str = "e") -> Continuity:
    continuity = Continuity(TOPIC)
    for offset in offsets:
        continuity.receive(pub(offset, epoch))
    return continuity


def told(continuity: Continuity, *events: Event) -> list[Event]:
    return [one for event in events for one in continuity.receive(event)]


def test_what_follows_is_passed_on() -> None:
    assert told(Continuity(TOPIC), pub(7), pub(8), pub(9)) == [pub(7), pub(8), pub(9)]


def test_what_came_before_is_not_passed_on_again() -> None:
    assert told(reached(7, 8), pub(8), pub(7), pub(9)) == [pub(9)]


def test_a_new_epoch_is_told_before_its_publications() -> None:
    assert told(reached(7), pub(1, "f"), pub(2, "f")) == [LOST, pub(1, "f"), pub(2, "f")]


def test_events_without_a_place_pass_at_once() -> None:
    joined = Joined(TOPIC, ClientInfo("1"))
    bare = Published(TOPIC, Publication(b"1"))
    assert told(reached(7), joined, bare, pub(8)) == [joined, bare, pub(8)]


def test_a_gap_is_filled_from_the_history_in_order() -> None:
    continuity = reached(7)
    assert told(continuity, pub(10), pub(11)) == []
    assert continuity.is_refilling
    assert continuity.refill(read(8, 10)) == [pub(8), pub(9), pub(10), pub(11)]
    assert not continuity.is_refilling


def test_a_gap_that_the_history_does_not_fill_is_told() -> None:
    continuity = reached(7)
    continuity.receive(pub(10))
    assert continuity.refill(read(9, 10)) == [LOST]
    assert told(continuity, pub(11)) == [pub(11)]


def test_a_history_of_another_epoch_is_told() -> None:
    continuity = reached(7)
    continuity.interrupt()
    assert continuity.refill(read(8, 9, "f")) == [LOST]
    assert told(continuity, pub(10, "f")) == [pub(10, "f")]


def test_a_history_that_went_back_is_told() -> None:
    continuity = reached(7)
    continuity.interrupt()
    assert continuity.refill(History(Position("e", 6))) == [LOST]


def test_an_unknown_history_is_told() -> None:
    continuity = reached(7)
    continuity.interrupt()
    assert told(continuity, pub(8)) == []
    assert continuity.refill(None) == [LOST, pub(8)]


def test_an_interruption_in_which_nothing_came_is_not_told() -> None:
    continuity = reached(7)
    continuity.interrupt()
    assert continuity.refill(History(Position("e", 7))) == []


def test_an_interruption_of_a_topic_without_a_place_is_told() -> None:
    continuity = Continuity(TOPIC)
    continuity.interrupt()
    assert continuity.refill(None) == [LOST]


def test_another_gap_during_a_refill_begins_another_refill() -> None:
    continuity = reached(7)
    assert told(continuity, pub(9), pub(12)) == []
    assert continuity.refill(read(8, 10)) == [pub(8), pub(9), pub(10)]
    assert continuity.is_refilling
    assert continuity.refill(read(11, 12)) == [pub(11), pub(12)]


def test_what_waits_is_bounded_and_told_as_lost() -> None:
    continuity = reached(7)
    told(continuity, *(pub(offset) for offset in range(9, 11 + MAX_WAITING)))
    assert continuity.refill(read(8, 20)) == [LOST]
    assert told(continuity, pub(5000)) == [pub(5000)]


def test_a_position_of_a_subscriber_makes_a_gap_visible() -> None:
    continuity = Continuity(TOPIC)
    continuity.expect(Position("e", 7))
    assert told(continuity, pub(9)) == []
    assert continuity.refill(read(8, 9)) == [pub(8), pub(9)]


def test_positions_that_are_answered_in_another_order_lose_nothing() -> None:
    continuity = Continuity(TOPIC)
    continuity.expect(Position("e", 10))
    continuity.expect(Position("e", 8))
    assert told(continuity, pub(9), pub(10), pub(11)) == [pub(9), pub(10), pub(11)]


def test_a_publication_older_than_a_position_that_was_given_is_passed_on_at_first() -> None:
    """Another subscriber's answer with a lower position may still be on its way."""
    continuity = Continuity(TOPIC)
    continuity.expect(Position("e", 10))
    assert told(continuity, pub(9), pub(10), pub(11)) == [pub(9), pub(10), pub(11)]


def test_a_position_after_the_first_publication_changes_nothing() -> None:
    continuity = reached(7)
    continuity.expect(Position("e", 3))
    continuity.expect(Position("f", 9))
    assert continuity.position == Position("e", 7)
