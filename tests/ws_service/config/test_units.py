"""Durations and sizes, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws_service.config.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("1.5s", 1.5), ("250ms", 0.25), ("5m", 300.0), ("1h", 3600.0), ("2d", 172800.0), (0, 0.0)],
)
def test_a_duration_is_a_number_with_its_unit(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["30", "-1s", "1 s", "s", "1e3s", "", None, True, 5, "٣s", "1" * 400 + "s"])
def test_any_other_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["1", "1MB", "1mib", "-1B", "", None, 1024, "9" * 400 + "GiB"])
def test_any_other_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.25, "250ms"), (90.0, "90s"), (300.0, "5m"), (86400.0, "1d"), (1000000.5, "1000000.5s")],
)
def test_a_duration_is_written_in_the_largest_exact_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.decimals(min_value=0, max_value=36525, places=6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_reads_back_what_was_written(number: object, unit: str) -> None:
    seconds = parse_duration(f"{number:f}{unit}")
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=1 << 39))
def test_a_size_reads_back_what_was_written(count: int) -> None:
    assert parse_size(format_size(count)) == count
