"""The token bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ws_service.hub.token_bucket import TokenBucket


def test_a_burst_then_the_rate() -> None:
    bucket = TokenBucket()
    assert [bucket.take(1, 2, 3, 0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(1, 2, 3, 0.4) and bucket.take(1, 2, 3, 0.5) and not bucket.take(1, 2, 3, 0.5)


def test_what_is_refused_takes_nothing() -> None:
    bucket = TokenBucket()
    assert not bucket.take(4, 1, 3, 0) and bucket.take(3, 1, 3, 0)


def test_a_rate_of_nothing_allows_nothing() -> None:
    assert not TokenBucket().take(1, 0, 5, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(1, 2, 3, now)
    assert taken <= 3 + 2 * now + 1e-6
