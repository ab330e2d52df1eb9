"""What a client says stays on its line, in a message and in a traceback."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws_service.logs.formatter import LINES, LineFormatter, escaped, shortened, trace


def record(message: str, *arguments: object, name: str = "ws_service", **more: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, None)
    made.__dict__.update(more)
    return made


def written(made: logging.LogRecord) -> list[str]:
    return LineFormatter("%(levelname)s %(message)s").format(made).split("\n")


@pytest.mark.parametrize(
    ("said", "is_written"),
    [
        ("a\r\nb", r"a\r\nb"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u2028b\u2029c\x85d\x0be\x0cf", r"a\u2028b\u2029c\x85d\x0be\x0cf"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("\x7f\0", r"\x7f\x00"),
        ("größe 日本 \U0001f600 \\n", "größe 日本 \U0001f600 \\n"),
    ],
)
def test_what_is_not_visible_is_written_out(said: str, is_written: str) -> None:
    assert escaped(said) == is_written


@given(st.text(st.characters()))
def test_whatever_is_said_is_one_line_that_can_be_encoded(said: str) -> None:
    assert len(escaped(said).splitlines()) <= 1
    assert "\x1b" not in escaped(said)
    escaped(said).encode()


def test_a_message_is_one_line_however_it_was_put_together() -> None:
    assert written(record("refused %s", "/a\n2026 INFO forged")) == [r"ERROR refused /a\n2026 INFO forged"]
    assert written(record("refused /a\n2026 INFO forged", name="app")) == [r"ERROR refused /a\n2026 INFO forged"]


def test_what_is_long_is_cut_and_says_so() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc...(4 characters)"
    assert len(written(record("%s", "a" * 100_000))[0]) < 10_000
    assert len(written(record("%s", "\n" * 100_000))[0]) < 40_000


def test_a_stack_is_escaped_as_well() -> None:
    assert written(record("here", stack_info="Stack:\n  a\x1b")) == ["ERROR here", "Stack:", r"  a\x1b"]


def test_an_end_of_line_at_the_end_is_none() -> None:
    assert written(record("Exception in ASGI application\n", name="uvicorn.error")) == [
        "ERROR Exception in ASGI application"
    ]


def test_lines_that_are_meant_stay_and_their_text_is_escaped() -> None:
    assert written(record("it failed\nTraceback:\n\x1b[1m", **LINES)) == ["ERROR it failed", "Traceback:", r"\x1b[1m"]
    assert written(record("a\nb", name="uvicorn.error", module="on")) == ["ERROR a", "b"]


def test_a_traceback_keeps_its_lines_and_no_exception_adds_one() -> None:
    try:
        try:
            raise KeyError("x\n2026 INFO forged")
        except KeyError:
            raise ValueError("y\r\n2026 INFO forged \x1b[2J") from None
    except ValueError as error:
        error.add_note("note\n2026 INFO forged")
        made = record("failed")
        made.exc_info = sys.exc_info()
        lines = written(made)
        assert lines[:2] == ["ERROR failed", "Traceback (most recent call last):"]
        assert lines[-2:] == [r"ValueError: y\r\n2026 INFO forged \x1b[2J", r"note\n2026 INFO forged"]
        assert not [line for line in lines if line.startswith("2026")]
        assert any("raise ValueError" in line for line in lines)


def test_causes_come_first_and_a_ring_of_them_ends() -> None:
    first, second = ValueError("first"), ValueError("second\nx")
    second.__cause__, first.__context__ = first, second
    lines = list(trace(second))
    assert lines[0] == "ValueError: first"
    assert "direct cause" in lines[2]
    assert lines[-1] == r"ValueError: second\nx"


def test_the_parts_of_a_group_are_told() -> None:
    lines = list(trace(ExceptionGroup("two\nlines", [ValueError("a\nb"), KeyError("c")])))
    assert lines[0] == r"ExceptionGroup: two\nlines (2 sub-exceptions)"
    assert r"  | ValueError: a\nb" in lines


def test_an_exception_without_a_text_is_no_fault_of_the_log() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert list(trace(Odd()))[-1].endswith("<its text cannot be made: RuntimeError>")
