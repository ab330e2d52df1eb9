"""Whether the configuration was last read with success, and when."""

from __future__ import annotations

from proxy.metrics.last_reload import LastReload


def test_the_start_is_the_first_and_a_refused_one_keeps_the_time_of_the_last_success() -> None:
    times = iter((100.0, 200.0))
    last = LastReload(lambda: next(times))
    assert (last.is_successful, last.succeeded_at) == (True, 100.0)
    last.failed()
    assert (last.is_successful, last.succeeded_at) == (False, 100.0)
    last.succeeded()
    assert (last.is_successful, last.succeeded_at) == (True, 200.0)
