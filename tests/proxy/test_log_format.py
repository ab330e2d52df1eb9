"""What a stranger says stays one line, obeys nobody's terminal, and has an end."""

from __future__ import annotations

import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.log_format import EscapingFormatter, escaped, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with \\ and 'quotes'", "plain, with \\ and 'quotes'"),
        ("größe 表 😀", "größe 表 😀"),
        ("a\r\nINFO forged", "a\\x0d\\x0aINFO forged"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x00\x7f\x85\x9b", "\\x00\\x7f\\x85\\x9b"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u202etxt.exe\u2066\u061c\u200f", "\\u202etxt.exe\\u2066\\u061c\\u200f"),
        ("\udc80\ud83d", "\\udc80\\ud83d"),
    ],
)
def test_what_is_unsafe_is_written_out_and_the_rest_stays(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text())
def test_nothing_is_left_that_ends_a_line_or_steers_a_terminal(text: str) -> None:
    shown = escaped(text)
    assert len(shown.splitlines()) <= 1
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs")]
    assert not [
        c
        for c in shown
        if unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    ]
    shown.encode()  # surrogates would raise


def test_what_is_long_is_cut_and_says_so() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc...(4 bytes)"


def line(message: str, *args: object) -> str:
    record = logging.LogRecord("proxy", logging.WARNING, "", 0, message, args, None)
    return EscapingFormatter("%(levelname)s %(message)s").format(record)


def test_a_record_is_one_line_of_bounded_length() -> None:
    assert line("from %s", "a\nERROR b") == "WARNING from a\\x0aERROR b"
    assert len(line("%s", "a" * 100_000)) < 10_000
    assert len(line("%s", "\n" * 100_000)) < 40_000


def test_a_stack_is_escaped_as_well() -> None:
    record = logging.LogRecord("proxy", logging.WARNING, "", 0, "here", (), None, sinfo="Stack:\n  a\x1b")
    assert EscapingFormatter().format(record) == "here\n  Stack:\n    a\\x1b"
