"""A head is refused where a limit is exceeded and nowhere before, whether it comes in one piece or in many."""

from __future__ import annotations

import pytest

from proxy.http1.chunked import ProtocolError
from proxy.http1.head_limits import HeadLimits

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
