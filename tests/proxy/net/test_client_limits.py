"""Who may take how much: never more than the limit, never less than nothing, and nothing is remembered for ever."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from proxy.config import Limits, Settings
from proxy.net.client_limits import (
    Admitted,
    ClientCounter,
    ClientLimits,
    ConnectionLimiter,
    RateLimit,
    Rejected,
    Slot,
    capacity,
    capacity_notice,
    client_key,
)

NO_LIMITS = Limits(connections_per_client=None, websockets_per_client=None, handshakes_per_second=None)


def limits(**values: int | None) -> Limits:
    return NO_LIMITS.model_copy(update=values)


def admitted(verdict: Admitted | Rejected) -> Admitted:
    assert isinstance(verdict, Admitted), verdict
    return verdict


def rejected(verdict: Admitted | Rejected) -> Rejected:
    assert isinstance(verdict, Rejected), verdict
    return verdict


# -- counting


def test_the_limit_th_passes_one_more_does_not_and_after_one_has_left_it_does() -> None:
    admission = ClientLimits()
    first, *_ = [admitted(admission.connection("203.0.113.7", 3, 0.0)) for _ in range(3)]
    refused = rejected(admission.connection("203.0.113.7", 3, 0.0))
    assert (refused.error.status, dict(refused.error.headers)[b"Retry-After"]) == (429, b"5")
    admitted(admission.connection("203.0.113.8", 3, 0.0))
    first.slot.release()
    first.slot.release()
    assert admission.connections.of("203.0.113.7") == 2, "the second release counts nothing"
    admitted(admission.connection("203.0.113.7", 3, 0.0))
    rejected(admission.connection("203.0.113.7", 3, 0.0))


def test_without_a_limit_clients_are_counted_all_the_same() -> None:
    """A reload may bring one."""
    admission = ClientLimits()
    for _ in range(5):
        admitted(admission.connection("203.0.113.7", None, 0.0))
        admitted(admission.websocket("203.0.113.7", NO_LIMITS, 0.0))
    rejected(admission.connection("203.0.113.7", 5, 0.0))
    refused = rejected(admission.websocket("203.0.113.7", limits(websockets_per_client=5), 0.0))
    assert refused.error.status == 429
    assert (
        refused.error.detail
        == "203.0.113.7 has 5 WebSockets, the most that gateway.limits.websockets_per_client allows"
    )


def test_a_handshake_that_is_refused_for_its_number_costs_no_pace() -> None:
    admission, few = ClientLimits(), limits(websockets_per_client=1, handshakes_per_second=1)
    slot = admitted(admission.websocket("203.0.113.7", few, 0.0)).slot
    for _ in range(100):
        rejected(admission.websocket("203.0.113.7", few, 0.5))
    slot.release()
    assert admitted(admission.websocket("203.0.113.7", few, 1.0)).delay == 0


def test_bytes_that_wait_are_counted_for_their_client_until_they_are_taken() -> None:
    admission = ClientLimits()
    first = admitted(admission.buffer("203.0.113.7", 60, 100, 0.0)).slot
    assert admission.buffered.of("203.0.113.7") == 60
    refused = rejected(admission.buffer("203.0.113.7", 41, 100, 0.0))
    assert "60 bytes wait" in refused.notice
    assert "gateway.limits.buffered_per_client (100)" in refused.notice
    assert rejected(admission.buffer("203.0.113.7", 41, 100, 1.0)).notice == "", "once a minute"
    second = admitted(admission.buffer("203.0.113.7", 40, 100, 0.0)).slot
    admitted(admission.buffer("203.0.113.8", 100, 100, 0.0)).slot.release()
    admitted(admission.buffer("203.0.113.7", 1000, None, 0.0)).slot.release()
    nothing = [admitted(admission.buffer("203.0.113.9", 0, 100, 0.0)).slot for _ in range(2)]
    for slot in nothing:
        slot.release()  # the first one must not take the client away from the second
    first.release()
    first.release()
    second.release()
    assert (admission.buffered.total, admission.buffered.clients) == (0, 0)


def test_more_than_there_are_cannot_leave() -> None:
    tally = ClientCounter()
    tally.enter("a")
    with pytest.raises(KeyError):
        tally.leave("b")
    with pytest.raises(KeyError):
        tally.leave("a", 2)
    assert (tally.of("a"), tally.total) == (1, 1)


def test_a_lease_that_is_handed_over_is_released_by_its_new_owner() -> None:
    tally = ClientCounter()
    slot = Slot(tally, "a")
    assert slot.hand_over() == "a"
    slot.release()
    assert tally.total == 1
    tally.leave("a")
    assert (tally.total, tally.clients) == (0, 0)


def test_a_waiter_is_woken_by_each_release() -> None:
    tally, told = ClientCounter(), []
    tally.on_leave = lambda: told.append(tally.total)
    one, two = Slot(tally, "a"), Slot(tally, "b")
    one.release()
    two.release()
    assert told == [1, 0]


CLIENTS = st.sampled_from(["203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8::2", "unix"])


class Books(RuleBasedStateMachine):
    """Clients come and go, limits change; the books are held against a list of who is there."""

    slots = Bundle("slots")

    def __init__(self) -> None:
        super().__init__()
        self.admission = ClientLimits()
        self.there: Counter[tuple[str, str]] = Counter()
        self.handed: list[tuple[ClientCounter, str, str]] = []
        self.now = 0.0

    @rule(target=slots, client=CLIENTS, most=st.none() | st.integers(1, 4))
    def connects(self, client: str, most: int | None) -> object:
        key = client_key(client)
        verdict = self.admission.connection(client, most, self.now)
        had = self.there["connections", key]
        assert isinstance(verdict, Admitted) == (most is None or had < most)
        if isinstance(verdict, Rejected):
            return None
        self.there["connections", key] += 1
        return "connections", key, verdict.slot

    @rule(target=slots, client=CLIENTS, most=st.none() | st.integers(1, 4), rate=st.none() | st.integers(1, 3))
    def shakes_hands(self, client: str, most: int | None, rate: int | None) -> object:
        key = client_key(client)
        had = self.there["websockets", key]
        verdict = self.admission.websocket(
            client, limits(websockets_per_client=most, handshakes_per_second=rate), self.now
        )
        if isinstance(verdict, Rejected):
            assert rate is not None or (most is not None and had >= most)
            return None
        assert most is None or had < most
        assert 0 <= verdict.delay <= 1.001
        self.there["websockets", key] += 1
        return "websockets", key, verdict.slot

    @rule(taken=consumes(slots))
    def leaves(self, taken: tuple[str, str, Slot] | None) -> None:
        if taken is not None:
            kind, key, slot = taken
            slot.release()
            slot.release()
            self.there[kind, key] -= 1

    @rule(taken=consumes(slots))
    def is_handed_over(self, taken: tuple[str, str, Slot] | None) -> None:
        if taken is not None:
            kind, key, slot = taken
            assert slot.hand_over() == key
            slot.release()
            self.handed.append((getattr(self.admission, kind), kind, key))

    @precondition(lambda self: bool(self.handed))
    @rule()
    def the_last_that_was_handed_over_ends(self) -> None:
        tally, kind, key = self.handed.pop()
        tally.leave(key)
        self.there[kind, key] -= 1

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_books_are_right(self) -> None:
        there = +self.there
        assert min(self.there.values(), default=0) >= 0
        for kind in ("connections", "websockets"):
            tally: ClientCounter = getattr(self.admission, kind)
            mine = {key: count for (one, key), count in there.items() if one == kind}
            assert {key: tally.of(key) for key in mine} == mine
            assert (tally.total, tally.clients) == (sum(mine.values()), len(mine)), "who has nothing is forgotten"


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=40)


# -- pace


def test_a_seconds_worth_passes_at_once_as_many_again_wait_and_more_are_refused() -> None:
    admission, pace = ClientLimits(), limits(handshakes_per_second=100)
    delays = [admitted(admission.websocket("203.0.113.7", pace, 0.0)).delay for _ in range(200)]
    assert delays[:100] == [0] * 100
    assert delays[100:] == pytest.approx([(number + 1) / 100 for number in range(100)])
    refused = rejected(admission.websocket("203.0.113.7", pace, 0.0))
    assert (refused.error.status, dict(refused.error.headers)[b"Retry-After"]) == (429, b"1")
    assert admitted(admission.websocket("203.0.113.8", pace, 0.0)).delay == 0, "others are as before"
    assert admitted(admission.websocket("203.0.113.7", pace, 0.01)).delay == pytest.approx(1.0)
    assert admitted(admission.websocket("203.0.113.7", pace, 5.0)).delay == 0


def test_one_handshake_per_second_is_one_per_second() -> None:
    pace = RateLimit()
    assert [pace.ask("a", 1, now) for now in (0.0, 0.0, 2.0, 4.0)] == [0, 1, 0, 0]
    assert pace.ask("a", 1, 4.0) == 1
    assert pace.ask("a", 1, 4.0) == 2, "the caller's to refuse"
    assert pace.ask("a", 1, 4.0) == 2, "and it costs nothing"


@given(
    rate=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 0.5), min_size=1, max_size=300),
)
def test_no_window_holds_more_than_the_rate_and_one_second_ahead(rate: int, pauses: list[float]) -> None:
    pace, now = RateLimit(), 1e6
    passed: list[float] = []
    for pause in pauses:
        now += pause
        wait = pace.ask("a", rate, now)
        assert wait >= 0
        if wait <= 1.0005:
            passed.append(now + wait)
    assert passed == sorted(passed), "nobody overtakes"
    for first, moment in enumerate(passed):
        for last in range(first, len(passed)):
            count, window = last - first + 1, passed[last] - moment
            assert count <= math.floor((window + 1.002) * rate) + 1


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 0.2)), max_size=300))
def test_the_table_of_paces_is_bounded_and_empties_itself(asks: list[tuple[int, float]]) -> None:
    pace, now = RateLimit(capacity=50), 0.0
    for client, pause in asks:
        now += pause
        pace.ask(f"c{client}", 10, now)
        assert len(pace) <= 50
    for _ in range(len(pace) + 1):
        now += 3
        pace.ask("another", 10, now)
    assert len(pace) == 1


def test_a_flood_of_addresses_costs_the_same_for_each_and_forgets_the_oldest() -> None:
    pace = RateLimit(capacity=1000)
    for number in range(5):
        pace.ask("patient", 1, float(number) / 10)
    for number in range(100_000):
        pace.ask(f"c{number}", 100, 1.0)
    assert len(pace) == 1000
    assert pace.ask("patient", 1, 1.0) == 0, "it was forgotten, which is to its favour"


# -- what the log says


def test_the_log_says_the_same_of_a_client_once_a_minute() -> None:
    admission = ClientLimits()
    admitted(admission.connection("203.0.113.7", 1, 0.0))
    notices = [rejected(admission.connection("203.0.113.7", 1, now)).notice for now in (0.0, 1.0, 59.0, 60.0, 61.0)]
    assert notices == [notices[0], "", "", notices[0], ""]
    assert notices[0] == (
        "203.0.113.7 has 1 connections, the most that gateway.limits.connections_per_client allows, and gets no more; "
        "if it is a proxy, name it in gateway.trusted_proxies"
    )


def test_each_limit_has_its_own_line() -> None:
    admission, few = ClientLimits(), limits(websockets_per_client=3, handshakes_per_second=1)
    for _ in range(2):
        admission.websocket("203.0.113.7", few, 0.0)
    fast = rejected(admission.websocket("203.0.113.7", few, 0.0)).notice
    assert fast.startswith(
        "203.0.113.7 opens more than the 1 per second that gateway.limits.handshakes_per_second allows"
    )
    admitted(admission.websocket("203.0.113.7", few, 5.0))
    many = rejected(admission.websocket("203.0.113.7", few, 9.0)).notice
    assert many.startswith("203.0.113.7 has 3 WebSockets, the most that gateway.limits.websockets_per_client allows")


def test_a_flood_of_addresses_writes_a_hundred_lines_a_minute() -> None:
    admission = ClientLimits()
    addresses = [f"10.0.{number >> 8}.{number & 255}" for number in range(1000)]
    for address in addresses:
        admitted(admission.connection(address, 1, 0.0))
    lines = [rejected(admission.connection(address, 1, 0.0)).notice for address in addresses]
    assert len([line for line in lines if line]) == 100
    assert rejected(admission.connection(addresses[-1], 1, 60.0)).notice


# -- connections


def test_a_trusted_proxy_has_no_limit_of_connections_and_a_reload_counts_at_once() -> None:
    admission = ClientLimits()
    settings = Settings.model_validate({"limits": {"connections_per_client": 1}, "trusted_proxies": ["10.0.0.0/8"]})
    limiter = ConnectionLimiter(admission, settings, 1024)
    for address in ("10.0.0.7", "10.0.0.7", "203.0.113.7"):
        admitted(limiter.admit(address, 0.0))
    rejected(limiter.admit("203.0.113.7", 0.0))
    limiter.reconfigure(Settings.model_validate({"limits": {"connections_per_client": 2, "connections": 4}}))
    admitted(limiter.admit("203.0.113.7", 0.0))
    rejected(limiter.admit("10.0.0.7", 0.0))
    assert limiter.capacity_notice == "room for 4 connections (gateway.limits.connections)"
    assert limiter.is_full
    assert limiter.connections.total == 4


# -- how many in all


@pytest.mark.parametrize(
    ("wished", "files", "most", "why"),
    [
        (None, 20000, 9968, "room for 9968 connections: 20000 files may be open, and each connection may take two"),
        (500, 20000, 500, "room for 500 connections (gateway.limits.connections)"),
        (9968, 20000, 9968, "room for 9968 connections (gateway.limits.connections)"),
        (5000, 1024, 5000, "room for 5000 connections (gateway.limits.connections), of which 480 may have an upstream"),
        (None, 64, 24, "room for 24 connections: 64 files may be open"),
        (None, 1, 1, "room for 1 connections"),
    ],
)
def test_how_many_connections_there_may_be_and_why(wished: int | None, files: int, most: int, why: str) -> None:
    number, sentence = capacity(wished, files), capacity_notice(wished, files)
    assert number == most
    assert sentence.startswith(why)
