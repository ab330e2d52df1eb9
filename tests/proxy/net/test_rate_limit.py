"""The rate of a client: a second's worth at once, as many again with a delay, and a bounded memory."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from proxy.net.rate_limit import RateLimit


def test_one_handshake_per_second_is_one_per_second() -> None:
    rates = RateLimit()
    assert [rates.ask("a", 1, now) for now in (0.0, 0.0, 2.0, 4.0)] == [0, 1, 0, 0]
    assert rates.ask("a", 1, 4.0) == 1
    assert rates.ask("a", 1, 4.0) == 2, "the caller's to refuse"
    assert rates.ask("a", 1, 4.0) == 2, "and it costs nothing"


@given(
    rate=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 0.5), min_size=1, max_size=300),
)
def test_no_window_holds_more_than_the_rate_and_one_second_ahead(rate: int, pauses: list[float]) -> None:
    rates, now = RateLimit(), 1e6
    passed: list[float] = []
    for pause in pauses:
        now += pause
        wait = rates.ask("a", rate, now)
        assert wait >= 0
        if wait <= 1.0005:
            passed.append(now + wait)
    assert passed == sorted(passed), "none overtakes"
    for first, moment in enumerate(passed):
        for last in range(first, len(passed)):
            count, window = last - first + 1, passed[last] - moment
            assert count <= math.floor((window + 1.002) * rate) + 1


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 0.2)), max_size=300))
def test_the_table_of_rates_is_bounded_and_empties_itself(asks: list[tuple[int, float]]) -> None:
    rates, now = RateLimit(capacity=50), 0.0
    for client, pause in asks:
        now += pause
        rates.ask(f"c{client}", 10, now)
        assert len(rates) <= 50
    for _ in range(len(rates) + 1):
        now += 3
        rates.ask("another", 10, now)
    assert len(rates) == 1


def test_a_flood_of_addresses_costs_the_same_for_each_and_forgets_the_oldest() -> None:
    rates = RateLimit(capacity=1000)
    for number in range(5):
        rates.ask("slow", 1, float(number) / 10)
    for number in range(100_000):
        rates.ask(f"c{number}", 100, 1.0)
    assert len(rates) == 1000
    assert rates.ask("slow", 1, 1.0) == 0, "it was forgotten, which is to its favour"
