"""The lines of a head that has not come whole, of requests and responses alike.

The end of a head that is malformed may never come, so it is refused at its
first wrong line. The cost grows with the bytes, however small the pieces are
in which they come.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from proxy.http1.chunked import STRAY, TOKEN, ProtocolError

FIELD_LINE = rb"%b++:[\t\x20-\x7e\x80-\xff]*+\r\n" % TOKEN
"""A field (RFC 9112, section 5): no line folded, no white space before the colon, no control character."""

FIELD_LINES = re.compile(rb"(?:%b)*+" % FIELD_LINE)


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
