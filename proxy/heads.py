"""How large the head of a request may be: which limit its bytes exceed, be they the whole of it or only a beginning."""

from __future__ import annotations

from typing import NamedTuple

from proxy.config import Limits

_END = b"\r\n\r\n"


class Excess(NamedTuple):
    """What a head exceeds.

    status: of the answer (RFC 9110, section 15.5.15, and RFC 6585, section 5). message: one sentence, for the client.
    """

    status: int
    message: str


class HeadLimits(NamedTuple):
    """The limits.

    request_line: bytes, without the line end. header: bytes of the lines
    that hold fields, line ends included, the empty line behind them not.
    fields: how many such lines.
    """

    request_line: int
    header: int
    fields: int

    @classmethod
    def of(cls, limits: Limits) -> HeadLimits:
        """Return those of the configuration."""
        return cls(limits.request_line, limits.header, limits.fields)

    def exceeded_by(self, data: bytes) -> Excess | None:
        """Return what is exceeded by the head that ``data`` begins with; None as long as nothing is.

        Nothing is refused too early: a head that does not end here may still
        come to an end within the limits.
        """
        first = len(data) - len(data.lstrip(b"\r\n"))  # RFC 9112, section 2.2: empty lines before a request are ignored
        end = data.find(_END, first)
        line_end = data.find(b"\r\n", first)
        if line_end < 0:
            line_end = len(data) - data.endswith(b"\r")
        if line_end - first > self.request_line:
            return Excess(414, f"The request line is longer than {self.request_line} bytes.")
        is_whole = end >= 0
        size = (end if is_whole else len(data) - data.endswith(b"\r") - 2) - line_end
        if size > self.header:
            return Excess(431, f"The header fields are larger than {self.header} bytes.")
        # A line takes four bytes at the least ("a:" and its end).
        if (
            size > 4 * self.fields
            and data.count(b"\r\n", line_end + 2, end + 2 if is_whole else len(data)) > self.fields
        ):
            return Excess(431, f"There are more than {self.fields} header fields.")
        return None

    def is_below(self, head: int, fields: int) -> bool:
        """Tell whether a head of so many bytes and fields could exceed one of the limits."""
        return min(self.request_line, self.header) < head or self.fields < fields
