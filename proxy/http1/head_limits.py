"""The limits of a request's head, complete or not."""

from __future__ import annotations

from typing import NamedTuple

from proxy.config import Limits


class Excess(NamedTuple):
    """What a head exceeds.

    status: of the answer (RFC 9110, section 15.5.15, and RFC 6585, section 5). message: one sentence, for the client.
    """

    status: int
    message: str


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

    def exceeded_by(self, head: bytes | bytearray, before: int = 0) -> Excess | None:
        """Return what a head, or the beginning of one, exceeds; None as long as that is nothing.

        head: from its first byte, and no further than its end. before: how much of it was checked before.
        A beginning is not refused as long as it may come to an end within the limits.
        """
        line_end = head.find(b"\r\n")
        if line_end < 0:
            line_end = len(head) - head.endswith(b"\r")
        if line_end > self.request_line:
            return Excess(414, f"The request line is longer than {self.request_line} bytes.")
        is_whole = head.endswith(b"\r\n\r\n")
        size = len(head) - line_end - (4 if is_whole else 2 + head.endswith(b"\r"))
        if size > self.header:
            return Excess(431, f"The header fields are larger than {self.header} bytes.")
        # A line takes at least four bytes ("a:" and its end). A client that sends single bytes must not make this count
        # all lines each time.
        if size > 4 * self.fields and head.find(b"\n", before) >= 0:
            lines = head.count(b"\n") - (2 if is_whole else 1)
            if lines > self.fields:
                return Excess(431, f"There are more than {self.fields} header fields.")
        return None

    def is_below(self, head: int, fields: int) -> bool:
        """Tell whether a head of so many bytes and fields could exceed one of the limits."""
        return min(self.request_line, self.header) < head or self.fields < fields
