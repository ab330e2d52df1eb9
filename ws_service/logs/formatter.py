"""Log lines in which the text of a client is escaped: it can neither make a line nor command a terminal.

A path, a field or a message may hold line ends, escape codes (ECMA-48) and characters that change the direction of what
follows (CWE-117, CVE-2021-42574). They are logged by the gateway, the service, uvicorn and the user's endpoints, in
messages and in the texts of exceptions. Every line goes through this module, which escapes it and bounds its length.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterator

LINES = {"has_lines": True}
"""For ``extra`` of a record whose line ends are kept: a traceback that is a text already."""

_MARK = "has_lines"

_UNPRINTABLE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 with line ends and escape, DEL, C1 with its one-byte CSI
    "\u2028\u2029"  # line ends to Unicode
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction (UAX 9)
    "\ufeff\ufff9-\ufffb"  # invisible
    "\ud800-\udfff"  # halves of pairs, which no encoding can write
    "\U000e0000-\U000e007f"  # tags: text that is not shown
    "]"
)

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_LONGEST = 8192
"""Characters of a line before it is escaped. Precedents: rsyslog 8KiB, systemd-journald 48KiB."""

_MAX_CHAIN = 16
"""Exceptions of one chain, or of one group, that are written."""


def escaped(text: str) -> str:
    """Return ``text`` with everything escaped that is no visible character; visible characters stay as they are."""
    if text.isascii() and text.isprintable():
        return text
    return _UNPRINTABLE.sub(_escape, text)


def shortened(text: str, most: int) -> str:
    """Return at most ``most`` characters of a text, and after them how many there were, if there were more."""
    return text if len(text) <= most else f"{text[:most]}...({len(text)} characters)"


def shown(value: object, most: int = 60) -> str:
    """Return a value as Python writes it, shortened. most: characters."""
    return shortened(repr(value), most)


def one_line(text: str, most: int = _LONGEST) -> str:
    """Return a text shortened and escaped. most: characters, before it is escaped."""
    return escaped(shortened(text, most))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


class LineFormatter(logging.Formatter):
    """A formatter whose records are one line each, and the lines of their tracebacks.

    Line ends of a message are kept with ``extra=LINES``, and in what uvicorn logs of the app's lifespan, where no text
    of a client occurs.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record, without the last line end."""
        message = record.getMessage().strip("\r\n")
        if getattr(record, _MARK, False) or (record.name == "uvicorn.error" and record.module == "on"):
            record.message = "\n".join(map(one_line, message.split("\n")))
        else:
            record.message = one_line(message)
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        lines = [self.formatMessage(record)]
        if record.exc_info and record.exc_info[1] is not None:
            lines += trace(record.exc_info[1])
        if record.stack_info:
            lines += map(one_line, record.stack_info.split("\n"))
        return "\n".join(lines)


def trace(error: BaseException) -> Iterator[str]:
    """Yield the lines of an exception's traceback, with those of its causes before it, as Python prints them.

    What the exceptions say is escaped; a line end in there makes no line.
    """
    chain: list[tuple[BaseException, str]] = []
    link = ""
    current: BaseException | None = error
    while current is not None and len(chain) < _MAX_CHAIN and all(current is not known for known, _ in chain):
        chain.append((current, link))
        if current.__cause__ is not None:
            link = "The above exception was the direct cause of the following exception:"
            current = current.__cause__
        elif current.__context__ is not None and not current.__suppress_context__:
            link = "During handling of the above exception, another exception occurred:"
            current = current.__context__
        else:
            current = None
    for one, link in reversed(chain):
        yield from _lines(one)
        if link:
            yield from ("", link, "")


def _lines(error: BaseException) -> Iterator[str]:
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        for entry in traceback.format_tb(error.__traceback__):
            yield from map(one_line, entry.rstrip("\n").split("\n"))
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        text = str(error)
    except Exception as failure:
        text = f"<its text cannot be made: {type(failure).__name__}>"
    yield one_line(f"{name}: {text}" if text else name)
    for note in getattr(error, "__notes__", ()):
        yield one_line(str(note))
    if isinstance(error, BaseExceptionGroup):
        for number, part in enumerate(error.exceptions[:_MAX_CHAIN], 1):
            yield f"  +- {number} of {len(error.exceptions)}"
            for line in _lines(part):
                yield f"  | {line}"
