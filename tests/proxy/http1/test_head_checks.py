"""A head is refused where a limit is exceeded and nowhere before, whether it comes in one piece or in many."""

from __future__ import annotations

import re
import time

import pytest

from proxy.http1.chunked import ProtocolError
from proxy.http1.head_checks import FIELD_LINE, HeadLimits, check_lines, malformed_field

LIMITS = HeadLimits(request_line=40, header=120, fields=5)

LONG_LINE = (414, "The request line is longer than 40 bytes.")
LARGE = (431, "The header fields are larger than 120 bytes.")
MANY = (431, "There are more than 5 header fields.")


def exceeded_by(head: bytes, before: int = 0) -> tuple[int, str] | None:
    try:
        LIMITS.check(head, before)
    except ProtocolError as error:
        return error.status, str(error)
    return None


def head(line: int = 20, header: int = 60, fields: int = 3) -> bytes:
    """A head of these sizes."""
    target = b"/" + b"x" * (line - len(b"GET / HTTP/1.1"))
    lines = [b"a:\r\n"] * (fields - 1)
    lines.append(b"a:" + b"x" * (header - 4 * fields) + b"\r\n")
    made = b"GET %b HTTP/1.1\r\n%b\r\n" % (target, b"".join(lines))
    assert made.index(b"\r\n") == line
    assert len(b"".join(lines)) == header
    return made


@pytest.mark.parametrize(
    ("data", "excess"),
    [
        (head(line=40), None),
        (head(line=41), LONG_LINE),
        (head(header=120), None),
        (head(header=121), LARGE),
        (head(fields=5), None),
        (head(fields=6), MANY),
        (head(line=40, header=120, fields=5), None),
        (b"GET / HTTP/1.1\r\n\r\n", None),
        (b"", None),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_a_limit_is_the_largest_that_passes(data: bytes, excess: tuple[int, str] | None) -> None:
    assert exceeded_by(data) == excess


def test_no_beginning_of_a_head_within_the_limits_is_refused() -> None:
    whole = head(line=40, header=120, fields=5)
    assert [exceeded_by(whole[:size]) for size in range(len(whole) + 1)] == [None] * (len(whole) + 1)


@pytest.mark.parametrize(
    ("endless", "status", "at_most"),
    [
        (b"GET /" + b"x" * 200, 414, 41),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100, 431, 16 + 6 * 6),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 200, 431, 16 + 123),
    ],
)
def test_a_head_without_end_is_refused_at_the_limit(endless: bytes, status: int, at_most: int) -> None:
    sizes = [size for size in range(len(endless)) if exceeded_by(endless[:size])]
    assert sizes[0] <= at_most
    found = exceeded_by(endless[: sizes[0]])
    assert found is not None and found[0] == status


def test_lines_are_counted_when_one_has_ended() -> None:
    many = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 6
    assert exceeded_by(many + b"a", len(many)) is None, "it was looked at before"
    assert exceeded_by(many + b"a", len(many) - 1) == MANY


def test_limits_that_are_wide_enough_need_not_be_looked_at() -> None:
    assert not LIMITS.is_below(40, 5)
    assert LIMITS.is_below(41, 5)
    assert LIMITS.is_below(40, 6)


# -- the lines of a head that has not come whole

FIRST_LINES = re.compile(rb"GO\r\n(?:%b)*+" % FIELD_LINE)


def check(*pieces: bytes) -> int:
    """Return what is good of a head that comes in pieces."""
    head, good = bytearray(), 0
    for piece in pieces:
        before = len(head)
        head += piece
        good = check_lines(head, before, good, FIRST_LINES, malformed_field)
    return good


@pytest.mark.parametrize(
    ("pieces", "good"),
    [
        ([b"G"], 0),
        ([b"GO"], 0),
        ([b"GO\r"], 0),
        ([b"GO\r", b"\n"], 4),
        ([b"GO\r\nA: b"], 4),
        ([b"GO\r\nA: b\r\n"], 10),
        ([b"GO\r\nA: b\r\nC:", b" \xff\t\r", b"\nD"], 17),
    ],
)
def test_whole_lines_are_good_and_the_rest_may_become_so(pieces: list[bytes], good: int) -> None:
    assert check(*pieces) == good


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([b"GO\r\nA b\r\n"], "line 2 of the head is malformed"),
        ([b"GO\r\nA: b\r\n", b" c\r\n"], "line 3 of the head is malformed"),
        ([b"GO\r\nA : b\r\n"], "line 2"),
        ([b"GO\r\n: b\r\n"], "line 2"),
        ([b"GO\n"], "control character, or a line end that is not CRLF"),
        ([b"GO\r\nA: b\0"], "control character"),
        ([b"GO\r\nA: b\r", b"c"], "line end that is not CRLF"),
    ],
)
def test_what_is_malformed_is_refused_before_the_head_is_whole(pieces: list[bytes], why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        check(*pieces)


def test_a_head_byte_by_byte_costs_no_more_than_its_bytes() -> None:
    head = b"GO\r\n" + b"A: b\r\n" * 2000 + b"C: " + b"d" * 20_000
    began = time.process_time()
    check(*(head[at : at + 1] for at in range(len(head))))
    assert time.process_time() - began < 2
