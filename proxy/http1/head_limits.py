"""The limits of a request's head, complete or not."""

from __future__ import annotations

from typing import NamedTuple

from proxy.config import Limits
from proxy.http1.chunked import ProtocolError


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
