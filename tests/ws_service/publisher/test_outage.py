"""When the hub is asked, and when an outage is logged."""

from __future__ import annotations

from ws_service.publisher.outage import PAUSE, PERIOD, SLOW, Outage


def test_a_hub_that_refuses_at_once_is_asked_each_time() -> None:
    outage = Outage()
    for now in range(10):
        assert outage.may_ask(now, 1)
        outage.failed(now, 0.001)


def test_after_a_timeout_the_hub_is_not_asked_for_a_while_and_then_by_one_caller() -> None:
    outage = Outage()
    assert outage.may_ask(10, 1)
    outage.failed(11, 1.0)
    assert not outage.may_ask(11, 1)
    assert not outage.may_ask(11 + PAUSE - 0.01, 1)
    assert outage.may_ask(11 + PAUSE, 1)
    assert not outage.may_ask(11 + PAUSE, 1)  # another thread
    outage.answered()
    assert outage.may_ask(11 + PAUSE + 0.1, 1)


def test_a_caller_that_never_comes_back_blocks_the_others_for_its_timeout_only() -> None:
    outage = Outage()
    outage.failed(0, SLOW)
    assert outage.may_ask(PAUSE, 1)
    assert not outage.may_ask(PAUSE + 0.9, 1)
    assert outage.may_ask(PAUSE + 1, 1)


def test_an_outage_is_logged_once_a_minute_with_the_number_of_messages() -> None:
    outage = Outage()
    assert outage.line(100) == 1
    assert [outage.line(100 + n / 100) for n in range(99)] == [None] * 99
    assert outage.line(100 + PERIOD) == 100


def test_the_end_of_an_outage_is_told_when_its_begin_was() -> None:
    outage = Outage()
    outage.failed(0, 0)
    assert outage.answered() is None
    outage.line(0)
    outage.line(1)
    assert outage.answered() == 1
    assert outage.answered() is None
    assert outage.line(2) == 1
