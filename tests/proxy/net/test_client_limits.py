"""What each client may have: never more than the limit, never less than nothing, and nothing is kept for ever."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_network

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from proxy.config import Limits, Settings
from proxy.net.client_limits import Admitted, ClientCounter, ClientLimits, Lease, Rejected, Slot, client_key

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
    client_limits = ClientLimits()
    first, *_ = [admitted(client_limits.connection("203.0.113.7", 3, 0.0)) for _ in range(3)]
    refused = rejected(client_limits.connection("203.0.113.7", 3, 0.0))
    assert (refused.error.status, dict(refused.error.headers)[b"Retry-After"]) == (429, b"5")
    assert (refused.error.limit, client_limits.hits) == ("connections_per_client", {"connections_per_client": 1})
    admitted(client_limits.connection("203.0.113.8", 3, 0.0))
    first.slot.release()
    first.slot.release()
    assert client_limits.connections.of("203.0.113.7") == 2, "the second release counts nothing"
    admitted(client_limits.connection("203.0.113.7", 3, 0.0))
    rejected(client_limits.connection("203.0.113.7", 3, 0.0))


def test_without_a_limit_clients_are_counted_all_the_same() -> None:
    """A reload may bring one."""
    client_limits = ClientLimits()
    for _ in range(5):
        admitted(client_limits.connection("203.0.113.7", None, 0.0))
        admitted(client_limits.websocket("203.0.113.7", NO_LIMITS, 0.0))
    rejected(client_limits.connection("203.0.113.7", 5, 0.0))
    refused = rejected(client_limits.websocket("203.0.113.7", limits(websockets_per_client=5), 0.0))
    assert (refused.error.status, refused.error.limit) == (429, "websockets_per_client")
    assert "websockets_per_client" not in client_limits.hits, "it is in the record of the exchange"
    assert (
        refused.error.detail
        == "203.0.113.7 has 5 WebSockets, the most that gateway.limits.websockets_per_client allows"
    )


def test_a_handshake_that_is_refused_for_its_number_is_not_charged() -> None:
    client_limits, few = ClientLimits(), limits(websockets_per_client=1, handshakes_per_second=1)
    slot = admitted(client_limits.websocket("203.0.113.7", few, 0.0)).slot
    for _ in range(100):
        rejected(client_limits.websocket("203.0.113.7", few, 0.5))
    slot.release()
    assert admitted(client_limits.websocket("203.0.113.7", few, 1.0)).delay == 0


def test_bytes_that_wait_are_counted_for_their_client_until_they_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    client_limits = ClientLimits()
    trusted = (ip_network("203.0.113.9"),)
    update = {"limits": limits(buffered_per_client=100), "trusted_proxies": trusted}
    narrow = Settings().model_copy(update=update)

    def lease(address: str, size: int, now: float = 0.0) -> Lease | None:
        return client_limits.lease_buffer(address, size, narrow, now)

    leases = [lease("203.0.113.7", 60)]
    assert client_limits.buffered.of("203.0.113.7") == 60
    assert lease("203.0.113.7", 41) is None
    assert "60 bytes wait" in caplog.text
    assert "gateway.limits.buffered_per_client (100)" in caplog.text
    assert lease("203.0.113.7", 41, 1.0) is None
    assert len(caplog.records) == 1, "once a minute"
    assert client_limits.hits == {"buffered_per_client": 2}
    leases.append(lease("203.0.113.7", 40))
    leases.append(lease("203.0.113.8", 100))
    leases.append(lease("203.0.113.9", 1000))
    leases += [lease("203.0.113.10", 0) for _ in range(2)]
    for each in (*leases[-2:], *leases):  # the first one must not take the client away from the second
        assert each is not None
        each.release()
    assert (client_limits.buffered.total, client_limits.buffered.clients) == (0, 0)


def test_more_than_there_are_cannot_leave() -> None:
    counter = ClientCounter()
    counter.enter("a")
    with pytest.raises(KeyError):
        counter.leave("b")
    with pytest.raises(KeyError):
        counter.leave("a", 2)
    assert (counter.of("a"), counter.total) == (1, 1)


def test_a_lease_that_is_handed_over_is_released_by_its_new_owner() -> None:
    counter = ClientCounter()
    slot = Slot(counter, "a")
    assert slot.hand_over() == "a"
    slot.release()
    assert counter.total == 1
    counter.leave("a")
    assert (counter.total, counter.clients) == (0, 0)


def test_a_waiter_is_woken_by_each_release() -> None:
    counter, told = ClientCounter(), []
    counter.on_leave = lambda: told.append(counter.total)
    one, two = Slot(counter, "a"), Slot(counter, "b")
    one.release()
    two.release()
    assert told == [1, 0]


CLIENTS = st.sampled_from(["203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8::2", "unix"])


class Counts(RuleBasedStateMachine):
    """Clients come and go, limits change; the counts are compared with a list of what is there."""

    slots = Bundle("slots")

    def __init__(self) -> None:
        super().__init__()
        self.client_limits = ClientLimits()
        self.there: Counter[tuple[str, str]] = Counter()
        self.handed: list[tuple[ClientCounter, str, str]] = []
        self.now = 0.0

    @rule(target=slots, client=CLIENTS, most=st.none() | st.integers(1, 4))
    def connects(self, client: str, most: int | None) -> object:
        key = client_key(client)
        verdict = self.client_limits.connection(client, most, self.now)
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
        verdict = self.client_limits.websocket(
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
            self.handed.append((getattr(self.client_limits, kind), kind, key))

    @precondition(lambda self: bool(self.handed))
    @rule()
    def the_last_that_was_handed_over_ends(self) -> None:
        counter, kind, key = self.handed.pop()
        counter.leave(key)
        self.there[kind, key] -= 1

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_counts_are_right(self) -> None:
        there = +self.there
        assert min(self.there.values(), default=0) >= 0
        for kind in ("connections", "websockets"):
            counter: ClientCounter = getattr(self.client_limits, kind)
            mine = {key: count for (one, key), count in there.items() if one == kind}
            assert {key: counter.of(key) for key in mine} == mine
            assert (counter.total, counter.clients) == (sum(mine.values()), len(mine)), (
                "a client that has nothing is forgotten"
            )


TestCounts = Counts.TestCase
TestCounts.settings = settings(max_examples=60, stateful_step_count=40)


# -- the rate


def test_a_seconds_worth_passes_at_once_as_many_again_wait_and_more_are_refused() -> None:
    client_limits, rate = ClientLimits(), limits(handshakes_per_second=100)
    delays = [admitted(client_limits.websocket("203.0.113.7", rate, 0.0)).delay for _ in range(200)]
    assert delays[:100] == [0] * 100
    assert delays[100:] == pytest.approx([(number + 1) / 100 for number in range(100)])
    refused = rejected(client_limits.websocket("203.0.113.7", rate, 0.0))
    assert (refused.error.status, dict(refused.error.headers)[b"Retry-After"]) == (429, b"1")
    assert refused.error.limit == "handshakes_per_second"
    assert admitted(client_limits.websocket("203.0.113.8", rate, 0.0)).delay == 0, "others are as before"
    assert admitted(client_limits.websocket("203.0.113.7", rate, 0.01)).delay == pytest.approx(1.0)
    assert admitted(client_limits.websocket("203.0.113.7", rate, 5.0)).delay == 0


# -- what the log says


def test_the_log_says_the_same_of_a_client_once_a_minute() -> None:
    client_limits = ClientLimits()
    admitted(client_limits.connection("203.0.113.7", 1, 0.0))
    notices = [rejected(client_limits.connection("203.0.113.7", 1, now)).notice for now in (0.0, 1.0, 59.0, 60.0, 61.0)]
    assert notices == [notices[0], "", "", notices[0], ""]
    assert notices[0] == (
        "203.0.113.7 has 1 connections, the most that gateway.limits.connections_per_client allows, and gets no more; "
        "if it is a proxy, name it in gateway.trusted_proxies"
    )


def test_each_limit_has_its_own_line() -> None:
    client_limits, few = ClientLimits(), limits(websockets_per_client=3, handshakes_per_second=1)
    for _ in range(2):
        client_limits.websocket("203.0.113.7", few, 0.0)
    fast = rejected(client_limits.websocket("203.0.113.7", few, 0.0)).notice
    assert fast.startswith(
        "203.0.113.7 opens more than the 1 per second that gateway.limits.handshakes_per_second allows"
    )
    admitted(client_limits.websocket("203.0.113.7", few, 5.0))
    many = rejected(client_limits.websocket("203.0.113.7", few, 9.0)).notice
    assert many.startswith("203.0.113.7 has 3 WebSockets, the most that gateway.limits.websockets_per_client allows")


def test_a_flood_of_addresses_writes_a_hundred_lines_a_minute() -> None:
    client_limits = ClientLimits()
    addresses = [f"10.0.{number >> 8}.{number & 255}" for number in range(1000)]
    for address in addresses:
        admitted(client_limits.connection(address, 1, 0.0))
    lines = [rejected(client_limits.connection(address, 1, 0.0)).notice for address in addresses]
    assert len([line for line in lines if line]) == 100
    assert rejected(client_limits.connection(addresses[-1], 1, 60.0)).notice


def test_the_clients_that_have_the_most_come_first() -> None:
    counter = ClientCounter()
    for number in range(50):
        counter.enter(f"192.0.2.{number}", number)
    assert counter.largest(2) == [("192.0.2.49", 49), ("192.0.2.48", 48)]
    assert ClientCounter().largest(2) == []
