"""What a subscription delivers, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ws_service.hub.stand_ins import StandInClient
from ws_service.hub.access import Grant
from ws_service.hub.codes import INSUFFICIENT_STATE
from ws_service.hub.encoded import Encoded
from ws_service.hub.limits import Limits
from ws_service.hub.subscription import Subscription
from ws_service.hub.topics import DEFAULT, SlowPolicy


def make(limits: Limits = Limits()) -> Subscription:  # noqa: B008 - frozen
    return Subscription("prices", DEFAULT, Grant(), limits)


def message(offset: int, push: bytes = b"{}", epoch: str = "") -> Encoded:
    return Encoded("prices", push, b"{}", offset, SlowPolicy.LATEST, epoch)


def test_what_comes_before_the_position_is_known_waits() -> None:
    subscription, early = make(), message(0)
    assert not subscription.receive(early)
    assert subscription.go_live(0) == [early]
    assert subscription.is_live and subscription.receive(message(0))


def test_what_the_client_has_already_is_for_nothing() -> None:
    subscription = make()
    waiting = [message(offset) for offset in (3, 4, 5)]
    assert not any(subscription.receive(each) for each in waiting)
    assert subscription.go_live(4) == waiting[2:]
    assert not subscription.receive(message(5)) and subscription.receive(message(6))


@pytest.mark.parametrize("waits", [True, False])
def test_it_is_made_anew_where_the_history_has_begun_anew_between_its_reading_and_a_publication(waits: bool) -> None:
    """A client at offset 18 of an epoch in which there were 2 would recover nothing of the 16 that come next."""
    subscription = make()
    if waits:
        subscription.receive(message(18, epoch="before"))
    subscription.know_epoch("now")
    if not waits:
        subscription.receive(message(18, epoch="before"))
    assert subscription.has_overflowed


def test_a_publication_of_another_epoch_ends_it() -> None:
    subscription, client = make(), StandInClient("c1")
    subscription.client = client  # type: ignore[assignment]
    subscription.know_epoch("now")
    subscription.receive(message(3, epoch="now"))
    assert [each.offset for each in subscription.go_live(2)] == [3]
    assert subscription.receive(message(0)), "it has no place in the history"
    assert not client.told
    assert not subscription.receive(message(18, epoch="before"))
    assert client.told == [("prices", INSUFFICIENT_STATE)]


def test_an_ended_one_takes_nothing() -> None:
    subscription = make()
    subscription.end()
    subscription.end()
    assert subscription.is_ended and not subscription.receive(message(1))


def test_more_than_may_wait_is_not_kept() -> None:
    for limits, count in ((Limits(buffered=2), 3), (Limits(buffered_bytes=5), 3)):
        subscription = make(limits)
        for offset in range(count):
            assert not subscription.has_overflowed
            subscription.receive(message(offset))
        assert subscription.has_overflowed and not subscription.receive(message(9))


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_each_offset_after_the_answer_is_delivered_once(early: int, position: int, last: int) -> None:
    """Publications 1 to last; those up to early come before the position is known."""
    subscription = make()
    for offset in range(1, early + 1):
        subscription.receive(message(offset))
    delivered = [each.offset for each in subscription.go_live(position)]
    delivered += [offset for offset in range(1, last + 1) if subscription.receive(message(offset))]
    assert delivered == list(range(position + 1, max(early, last) + 1))
