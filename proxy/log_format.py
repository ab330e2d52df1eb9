"""What a log may hold of what somebody else has said: no line of its own, no command to a terminal, and not too much.

One place escapes, for every logger of the process and for tracebacks too
(CWE-117, issue 9).
"""

from __future__ import annotations

import logging
import re
from types import TracebackType

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: line ends, and what terminals obey
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what makes a line read from right to left (CVE-2021-42574)
    "\u2028\u2029"  # line ends to JavaScript, and to viewers
    "\ud800-\udfff]"  # half of a character: bytes that were no UTF-8
)

_LONGEST = 8192
"""Characters of a line. Precedents: rsyslog 8KiB, systemd-journald 48KiB."""

_CONTINUED = "  "
"""What every line of a traceback begins with. The text of an exception may hold line ends; a line that is made so does
not look like one that begins a record."""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def escaped(text: str) -> str:
    r"""Return a text with what is unsafe written as ``\x1b``, ``\u2028`` or ``\udc80``; the rest stays as it is."""
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_as_escape, text)


def shortened(text: str, most: int) -> str:
    """Return a text of so many characters at most, and behind it how many there were, if there were more."""
    return text if len(text) <= most else f"{text[:most]}...({len(text)} bytes)"


class EscapingFormatter(logging.Formatter):
    """Writes a record in one line, and the lines of a traceback below it, indented; all of them escaped and bounded."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the line."""
        return _line(super().formatMessage(record))

    def formatException(self, ei: _ExcInfo) -> str:
        """Write the traceback."""
        return _lines(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """Write a stack."""
        return _lines(super().formatStack(stack_info))


def _line(text: str) -> str:
    return escaped(shortened(text, _LONGEST))


def _lines(text: str) -> str:
    return "\n".join(_CONTINUED + _line(line) for line in text.split("\n"))


def _as_escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
