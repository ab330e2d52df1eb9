"""The numbers of a hub: their labels are bounded, whatever clients and the API name."""

from __future__ import annotations

from ws_service.hub.codes import SHUTDOWN, SLOW
from ws_service.hub.counts import BOUNDS, DEFAULT, OTHER, Counts
from ws_service.hub.topics import SlowPolicy


def test_topics_are_counted_under_the_namespaces_of_the_config_alone() -> None:
    counts = Counts(["prices"])
    for topic in ("prices:AAPL", "prices:MSFT", "news", "user:#ada", *(f"made-up-{n}:x" for n in range(1000))):
        counts.of(topic).published += 1
    assert {name: each.published for name, each in counts.namespaces.items()} == {DEFAULT: 1002, "prices": 2}


def test_a_close_code_that_is_none_of_the_hubs_is_another() -> None:
    counts = Counts()
    for code in (SHUTDOWN.code, SLOW.code, *range(4000, 5000)):
        counts.disconnect(code)
    assert counts.disconnects == {"3001": 1, "3008": 1, OTHER: 1000}


def test_what_is_dropped_is_counted_by_policy() -> None:
    counts = Counts(["prices"])
    counts.drop("prices:AAPL", SlowPolicy.LATEST)
    counts.drop("prices:AAPL", SlowPolicy.LATEST)
    counts.drop("news", SlowPolicy.DISCONNECT)
    assert counts.of("prices:x").dropped == {SlowPolicy.LATEST: 2}
    assert counts.of("x").dropped == {SlowPolicy.DISCONNECT: 1}


def test_the_bounds_of_a_broadcast_ascend() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
