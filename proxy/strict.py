"""The strict reading of what a client sends, in front of the parser: where each request ends, and that it can be read
in one way only.

aiohttp's parser (llhttp) is nearly as strict, and nearly is how requests are
smuggled: it takes two spaces in a request line, ``HTTP/2.0``, ``RTSP/1.0``
and a length with leading zeros, and it keeps the last trailer of a chunked
body for the head of the request behind it. So it is given one request at a
time, as whole lines that are known to be good: nothing that is refused here
reaches it, and nothing behind a request until that one is answered.

What counts is RFC 9112 to the letter, but for two liberties that it grants
(section 2.2: empty lines before a request; section 7.1.2: trailers are
dropped). Chunk extensions end here as well: they are about one hop.
"""

from __future__ import annotations

import re

from proxy.heads import HeadLimits

_MAX_CHUNK_LINE = 1024
"""Bytes of a chunk's size and its extensions. Precedents: llhttp and Go bound them together with the body."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_LINE = rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/1\.[01]\r\n" % _TOKEN
_FIELD = rb"%b++:[\t\x20-\x7e\x80-\xff]*+\r\n" % _TOKEN

# Possessive quantifiers: a hostile head costs one pass.
_HEAD = re.compile(rb"%b(?:%b)*+\r\n" % (_LINE, _FIELD))
_FIRST_LINES = re.compile(rb"%b(?:%b)*+" % (_LINE, _FIELD))
_MORE_LINES = re.compile(rb"(?:%b)*+" % _FIELD)
_STRAY = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)")
_OTHER_VERSION = re.compile(rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/[0-9]\.[0-9]\r\n" % _TOKEN)

_CONTENT_LENGTH = b"\ncontent-length:"
_TRANSFER_ENCODING = b"\ntransfer-encoding:"
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_CODINGS = re.compile(
    rb"(?i)(?:(?:x-)?(?:gzip|compress)|deflate)(?:,[\t ]*(?:(?:x-)?(?:gzip|compress)|deflate|chunked))*"
)

_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b++(?:=(?:%b++|%b))?)*+\r\n" % (_TOKEN, _TOKEN, _QUOTED))
_TRAILER = re.compile(rb"(%b++):[\t\x20-\x7e\x80-\xff]*+\r\n" % _TOKEN)
_NO_TRAILER = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"trailer", b"connection", b"upgrade", b"te")
)
"""Fields that would change the message, or who gets it, if somebody read them as part of the head (RFC 9110, 6.5.1)."""


class Unreadable(Exception):
    """What a client has sent is no request, or could be taken for another one.

    status: of the answer. The message is for the log.
    """

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class RequestReader:
    """Follows the requests of one connection; bytes in, bytes for the parser out.

    limits: of heads. The trailers of a chunked body may be as large as the fields.

    ``feed`` until ``is_whole``, then ``next``. ``has_head``: the parser has
    the request's head. ``has_begun``: a byte of it has come.
    """

    __slots__ = ("_held", "_left", "_limits", "_seen", "_step", "has_begun", "has_head", "is_whole")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self.next()

    def next(self) -> None:
        """Begin with the next request."""
        self._held = b""  # of a head or a line that is not complete yet
        self._seen = 0  # how much of it is known to be good; of trailers, how much there was
        self._left = 0  # bytes of the body, or of the chunk, still to come
        self._step = RequestReader._read_head  # not bound: a reader is no cycle for the garbage collector
        self.has_begun = self.has_head = self.is_whole = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what the parser may have, and what lies behind the request. Raises Unreadable, and is over then."""
        self.has_begun = True
        passed = []
        while data and not self.is_whole:
            good, data = self._step(self, data)
            passed.append(good)
        return passed[0] if len(passed) == 1 else b"".join(passed), data

    # -- inside: each takes data and returns what of it (and of what was held) is good, and the rest

    def _read_head(self, data: bytes) -> tuple[bytes, bytes]:
        held = self._held + data if self._held else data
        if not self._seen:
            held = _without_empty_lines(held)
        end = held.find(b"\r\n\r\n", max(0, len(held) - len(data) - 3))
        if end < 0:
            self._check_beginning(held, len(held) - len(data))
            self._held = held
            return b"", b""
        head, self._held = held[: end + 4], b""
        if _HEAD.fullmatch(head) is None:
            raise _what_is_wrong(head)
        self._check_size(head)
        self._frame(head)
        self.has_head = True
        return head, held[end + 4 :]

    def _check_beginning(self, held: bytes, before: int) -> None:
        """Refuse a head early: who waits for the end of a line that is broken would wait for ever."""
        cut = held.rfind(b"\r\n") + 2
        if cut > max(1, self._seen):
            lines = _MORE_LINES if self._seen else _FIRST_LINES
            if lines.fullmatch(held, self._seen, cut) is None:
                raise _what_is_wrong(held[:cut])
            self._seen = cut
        if _STRAY.search(held, max(self._seen, before - 1)) is not None:
            raise Unreadable("a control character, or a line end that is not CRLF")
        self._check_size(held, before)

    def _check_size(self, head: bytes, before: int = 0) -> None:
        excess = self._limits.exceeded_by(head, before)
        if excess is not None:
            raise Unreadable(excess.message, excess.status)

    def _frame(self, head: bytes) -> None:
        """Find how the request's end is known (RFC 9112, section 6.3); more than one way is none."""
        lines = head.lower()
        lengths, codings = lines.count(_CONTENT_LENGTH), lines.count(_TRANSFER_ENCODING)
        if lengths + codings > 1:
            raise Unreadable("more than one field says how long the body is")
        if lengths:
            value = _value(lines, _CONTENT_LENGTH)
            if _LENGTH.fullmatch(value) is None:
                raise Unreadable("Content-Length is not a number")
            self._left = int(value)
            self._step = RequestReader._read_body
        if codings:
            if lines.index(b" http/1.") == lines.find(b" http/1.0\r"):
                raise Unreadable("HTTP/1.0 knows no Transfer-Encoding")  # RFC 9112, section 6.1: its framing is faulty
            value = _value(lines, _TRANSFER_ENCODING)
            if value != b"chunked":
                raise Unreadable("the transfer coding is not chunked", 501 if _CODINGS.fullmatch(value) else 400)
            self._step = RequestReader._read_size
        else:
            self.is_whole = not self._left

    def _read_body(self, data: bytes) -> tuple[bytes, bytes]:
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        self.is_whole = not self._left
        return piece, rest

    def _read_size(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._line(data, _MAX_CHUNK_LINE)
        if not line:
            return b"", b""
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:
            raise Unreadable("the size of a chunk, or an extension of it, is malformed")
        self._left = int(chunk[1], 16)
        self._step = RequestReader._read_chunk if self._left else RequestReader._read_trailer
        return chunk[1] + b"\r\n", rest

    def _read_chunk(self, data: bytes) -> tuple[bytes, bytes]:
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        if not self._left:
            self._step = RequestReader._read_chunk_end
        return piece, rest

    def _read_chunk_end(self, data: bytes) -> tuple[bytes, bytes]:
        end = self._held + data[: 2 - len(self._held)]
        rest = data[2 - len(self._held) :]
        if not b"\r\n".startswith(end):
            raise Unreadable("a chunk is longer than its size")
        if len(end) < 2:
            self._held = end
            return b"", b""
        self._held = b""
        self._step = RequestReader._read_size
        return end, rest

    def _read_trailer(self, data: bytes) -> tuple[bytes, bytes]:
        line, rest = self._line(data, self._limits.header)
        if not line:
            return b"", b""
        if line == b"\r\n":
            self.is_whole = True
            return line, rest
        self._seen += len(line)
        trailer = _TRAILER.fullmatch(line)
        if trailer is None:
            raise Unreadable("a trailer is malformed")
        if trailer[1].lower() in _NO_TRAILER:
            raise Unreadable(f"{trailer[1].decode()} is no trailer")
        if self._seen > self._limits.header:
            raise Unreadable("the trailers are too large", 431)
        return b"", rest

    def _line(self, data: bytes, limit: int) -> tuple[bytes, bytes]:
        """Return a whole line, or nothing as long as it is not here, and the rest."""
        before, end = len(self._held), data.find(b"\n") + 1
        self._held += data[:end] if end else data
        if len(self._held) > limit:
            raise Unreadable("a line of a chunked body is too long")
        if end:
            line, self._held = self._held, b""
            return line, data[end:]
        if _STRAY.search(self._held, max(0, before - 1)) is not None:
            raise Unreadable("a control character in a chunked body's own lines")
        return b"", b""


def _value(lines: bytes, name: bytes) -> bytes:
    """Return the value of a field that is there; ``name`` with the line end before it and the colon behind it."""
    start = lines.index(name) + len(name)
    return lines[start : lines.index(b"\r", start)].strip(b" \t")


def _without_empty_lines(data: bytes) -> bytes:
    start = 0
    while data.startswith(b"\r\n", start):
        start += 2
    return data[start:] if start else data


def _what_is_wrong(lines: bytes) -> Unreadable:
    """Say which line of a head is not HTTP/1.1; the lines are complete."""
    first, *fields = re.split(rb"(?<=\r\n)", lines)
    if re.fullmatch(_LINE, first) is None:
        if _OTHER_VERSION.fullmatch(first):
            return Unreadable("another version of HTTP than 1.0 and 1.1", 505)
        return Unreadable("the request line is malformed")
    for number, line in enumerate(fields, 2):
        if line not in (b"\r\n", b"") and re.fullmatch(_FIELD, line) is None:
            return Unreadable(f"line {number} of the head is malformed")
    return Unreadable("the head is malformed")
