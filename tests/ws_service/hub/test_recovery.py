"""What a client that comes back gets, against a model: a plain list of all that was published."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.ws_service.hub.session_play import found
from ws_service.hub.broker import Keep
from ws_service.hub.publication import History, Position, Publication
from ws_service.hub.recovery import Look, Recovered, fitting, look, recover
from ws_service.hub.topics import DEFAULT, Recovery

CACHE = DEFAULT
STREAM = replace(DEFAULT, recovery=Recovery.STREAM)
NONE = replace(DEFAULT, keep=Keep(0))
MOST = 300
BYTES = 1 << 20


def offsets(recovered: Recovered) -> list[int]:
    return [each.offset for each in recovered.publications]


def test_the_broker_is_asked_for_no_more_than_is_needed() -> None:
    since = Position("e", 3)
    assert look(NONE, since, MOST) is None
    assert look(STREAM, None, MOST) == Look(None, 0)
    assert look(STREAM, since, MOST) == Look(since, 301)
    assert look(CACHE, None, MOST) == look(CACHE, since, MOST) == Look(None, 1, is_reversed=True)


def test_a_first_subscription_to_a_stream_gets_its_position() -> None:
    assert recover(STREAM, None, found("e", 7), MOST, BYTES) == Recovered(Position("e", 7), 7)


def test_all_that_was_missed_and_the_position_it_was_missed_from() -> None:
    recovered = recover(STREAM, Position("e", 5), found("e", 7, 6, 7), MOST, BYTES)
    assert offsets(recovered) == [6, 7]
    assert recovered.position == Position("e", 5) and recovered.newest == 7
    assert recovered.was_recovering and recovered.is_recovered


def test_a_client_that_knows_no_epoch_goes_by_the_offset() -> None:
    """As Centrifugo has it; a page whose state comes from elsewhere begins with everything."""
    recovered = recover(STREAM, Position("", 0), found("e", 2, 1, 2), MOST, BYTES)
    assert offsets(recovered) == [1, 2]
    assert recovered.is_recovered and recovered.position == Position("e", 0)


def test_nothing_was_missed() -> None:
    recovered = recover(STREAM, Position("e", 7), found("e", 7), MOST, BYTES)
    assert recovered.is_recovered and not recovered.publications and recovered.position == Position("e", 7)


def test_all_or_nothing() -> None:
    gone = found("e", 7, 6, 7)
    for since in (Position("e", 4), Position("other", 6), Position("", 4), Position("e", 9)):
        recovered = recover(STREAM, since, gone, MOST, BYTES)
        assert recovered == Recovered(Position("e", 7), 7, was_recovering=True), since


def test_too_much_is_not_recovered() -> None:
    whole = found("e", 301, *range(1, 302))
    assert not recover(STREAM, Position("e", 0), whole, MOST, BYTES).is_recovered
    assert recover(STREAM, Position("e", 1), History(whole.position, whole.publications[1:]), MOST, BYTES).is_recovered


def test_too_many_bytes_are_not_recovered() -> None:
    history = found("e", 3, 1, 2, 3)  # of one byte each
    since = Position("e", 0)
    assert recover(STREAM, since, history, MOST, 3).is_recovered
    assert not recover(STREAM, since, history, MOST, 2).is_recovered


def test_what_fits_into_an_answer_is_one_at_least() -> None:
    three = found("e", 3, 1, 2, 3).publications
    assert [len(fitting(three, most)) for most in (0, 1, 2, 3, 4)] == [1, 1, 2, 3, 3]
    assert fitting((), 1) == ()


def test_the_newest_value_also_without_asking() -> None:
    for since in (None, Position("e", 5), Position("other", 7)):
        recovered = recover(CACHE, since, found("e", 7, 7), MOST, BYTES)
        assert offsets(recovered) == [7] and recovered.newest == 7 and recovered.position == Position("e", 6)
        assert recovered.was_recovering and recovered.is_recovered


def test_the_newest_value_is_not_sent_again() -> None:
    for history in (found("e", 7, 7), found("e", 7)):
        recovered = recover(CACHE, Position("e", 7), history, MOST, BYTES)
        assert recovered.is_recovered and not recovered.publications


def test_no_value_is_told_to_a_client_that_has_asked_alone() -> None:
    assert recover(CACHE, None, found(), MOST, BYTES) == Recovered(Position("e", 0), 0)
    asked = recover(CACHE, Position("", 0), found(), MOST, BYTES)
    assert asked.was_recovering and not asked.is_recovered


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(1, 12), st.booleans())
def test_a_stream_is_whole_or_says_that_it_is_not(
    published: int, seen: int, kept: int, most: int, is_same_epoch: bool
) -> None:
    """Published: offsets 1 to n; the newest ``kept`` are still there; the client has seen those up to ``seen``."""
    everything = [Publication(b"%d" % each, each) for each in range(1, published + 1)]
    since = Position("e" if is_same_epoch else "before", seen)
    asked = look(STREAM, since, most)
    assert asked is not None
    there = everything[-kept:] if kept else []
    answer = tuple(each for each in there if each.offset > seen)[: asked.limit]
    recovered = recover(STREAM, since, History(Position("e", published), answer), most, BYTES)
    missed = list(range(seen + 1, published + 1))
    can_be = is_same_epoch and seen <= published and len(missed) <= min(most, kept)
    assert recovered.is_recovered == can_be
    assert offsets(recovered) == (missed if can_be else [])
    assert recovered.newest == published
