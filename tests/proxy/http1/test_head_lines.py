"""The lines of a head that has not come whole: refused at the first wrong one, and at a cost that does not grow."""

from __future__ import annotations

import re
import time

import pytest

from proxy.http1.chunked import ProtocolError
from proxy.http1.head_lines import FIELD_LINE, check_lines, malformed_field

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
