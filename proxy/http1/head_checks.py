"""Checks of a head, complete or not: its limits, and the lines of requests and responses alike.

The end of a head that is malformed may never come, so it is refused at its first wrong line. The cost grows with the
bytes, however small the pieces are in which they come.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from proxy.config import Limits
from proxy.http1.chunked import STRAY, TOKEN, ProtocolError

FIELD_LINE = rb"%b++:[\t\x20-\x7e\x80-\xff]*+\r\n" % TOKEN
"""A field (RFC 9112, section 5): no line folded, no white space before the colon, no control character."""

FIELD_LINES = re.compile(rb"(?:%b)*+" % FIELD_LINE)


class HeadLimits(NamedTuple):
    """The limits.

    request_line: bytes, without the line end. header: bytes of the lines
    that hold fields, with line ends, without the empty line after them.
    fields: how many such lines.
    """

    request_line: int
    header: int
    fields: int

    @classmethod
    def of(cls, limits: Limits) -> HeadLimits:
        """Return those of the configuration."""
        return cls(limits.request_line, limits.header, limits.fields)

    def check(self, head: bytes | bytearray, before: int = 0) -> None:
        """Raise ProtocolError for a head, or its beginning, that exceeds a limit, with a sentence for the client.

        head: from its first byte, and no further than its end. before: how much of it was checked before.
        A beginning is not refused as long as it may come to an end within the limits. The status is that of RFC 9110,
        section 15.5.15, or RFC 6585, section 5.
        """
        line_end = head.find(b"\r\n")
        if line_end < 0:
            line_end = len(head) - head.endswith(b"\r")
        if line_end > self.request_line:
            raise ProtocolError(f"The request line is longer than {self.request_line} bytes.", 414)
        is_whole = head.endswith(b"\r\n\r\n")
        size = len(head) - line_end - (4 if is_whole else 2 + head.endswith(b"\r"))
        if size > self.header:
            raise ProtocolError(f"The header fields are larger than {self.header} bytes.", 431)
        # A line takes at least four bytes ("a:" and its end). A client that sends single bytes must not make this count
        # all lines each time.
        if size > 4 * self.fields and head.find(b"\n", before) >= 0:
            lines = head.count(b"\n") - (2 if is_whole else 1)
            if lines > self.fields:
                raise ProtocolError(f"There are more than {self.fields} header fields.", 431)

    def is_below(self, head: int, fields: int) -> bool:
        """Tell whether a head of so many bytes and fields could exceed one of the limits."""
        return min(self.request_line, self.header) < head or self.fields < fields


def check_lines(
    head: bytes | bytearray,
    before: int,
    good: int,
    first_lines: re.Pattern[bytes],
    what_is_wrong: Callable[[bytes], ProtocolError],
) -> int:
    """Return how many bytes of a head are well-formed whole lines, as far as it has come.

    before: bytes of it that were checked before. good: what this has returned for them; 0: nothing yet.
    first_lines: the first line, and any number of fields after it. what_is_wrong: called with lines of which one is
    malformed. Raises what that returns, and ProtocolError for what no line may hold.
    """
    cut = head.rfind(b"\r\n", max(0, before - 1)) + 2
    if cut > max(1, good):
        lines = FIELD_LINES if good else first_lines
        if lines.fullmatch(head, good, cut) is None:
            raise what_is_wrong(bytes(head[:cut]))
        good = cut
    if STRAY.search(head, max(good, before - 1)) is not None:
        raise ProtocolError("a control character, or a line end that is not CRLF")
    return good


def malformed_field(lines: bytes) -> ProtocolError:
    """Say which line of a head is malformed, the first of which is not; the lines are complete."""
    for number, line in enumerate(re.split(rb"(?<=\r\n)", lines)[1:], 2):
        if line not in (b"\r\n", b"") and re.fullmatch(FIELD_LINE, line) is None:
            return ProtocolError(f"line {number} of the head is malformed")
    return ProtocolError("the head is malformed")
