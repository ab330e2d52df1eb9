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

_MAX_FRAMING = 16384
"""Bytes by which the framing of a chunked body may exceed what is in the body: 4,096 chunks of one byte each, and any
number of chunks of five bytes. Reading a chunk costs more than reading its bytes (issue 9). Precedent: Go 16 KiB
(net/http/internal/chunked.go), with 16 bytes of each chunk's framing free."""

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_LINE = rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/1\.[01]\r\n" % _TOKEN
_FIELD = rb"%b++:[\t\x20-\x7e\x80-\xff]*+\r\n" % _TOKEN

# Possessive quantifiers: a hostile head costs one pass.
_HEAD = re.compile(rb"%b(?:%b)*+\r\n" % (_LINE, _FIELD))
_FIRST_LINES = re.compile(rb"%b(?:%b)*+" % (_LINE, _FIELD))
_MORE_LINES = re.compile(rb"(?:%b)*+" % _FIELD)
_STRAY = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)")
_EMPTY_LINES = re.compile(rb"(?:\r\n)++")
_OTHER_VERSION = re.compile(rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/[0-9]\.[0-9]\r\n" % _TOKEN)

_LAST_CHUNK = b"0\r\n\r\n"
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

    limits: of heads. The trailers of a chunked body may be as large as the fields, and as many.

    ``feed`` until ``is_whole``, then ``next``. ``has_head``: the parser has
    the request's head. ``has_begun``: a byte of it has come.

    The cost grows with the bytes, not faster, however small the pieces are in
    which they come. Chunks are passed on joined, because a parser takes
    longer for each chunk than for what is in it (issue 9).
    """

    __slots__ = (
        "_excess",
        "_held",
        "_left",
        "_limits",
        "_lines",
        "_seen",
        "_step",
        "has_begun",
        "has_head",
        "is_whole",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self.next()

    def next(self) -> None:
        """Begin with the next request."""
        self._held = bytearray()  # of a head or a line that is not complete yet
        self._seen = 0  # how much of a head is known to be good; of trailers, how many bytes there were
        self._lines = 0  # of trailers
        self._left = 0  # bytes of the body, or of the chunk, still to come
        self._excess = 0  # bytes by which a chunked body's framing exceeds what is in it
        self._step = RequestReader._read_head  # not bound: a reader is no cycle for the garbage collector
        self.has_begun = self.has_head = self.is_whole = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what the parser may have, and what lies behind the request. Raises Unreadable, and is over then."""
        self.has_begun = True
        good: list[bytes] = []
        position, size = 0, len(data)
        while position < size and not self.is_whole:
            position = self._step(self, data, position, good)
        return good[0] if len(good) == 1 else b"".join(good), data[position:]

    # -- inside: each reads data from a position on, adds what of it (and of what was held) is good, and returns the
    # position behind what it has read

    def _read_head(self, data: bytes, position: int, good: list[bytes]) -> int:
        before = len(self._held)
        held: bytes | bytearray = data
        if before:
            self._held += data
            held = self._held
        if not self._seen:
            held = _without_empty_lines(held)
            before = max(0, before - (before + len(data) - len(held)))
        end = held.find(b"\r\n\r\n", max(0, before - 3))
        if end < 0:
            self._check_beginning(held, before)
            if held is not self._held:
                self._held = bytearray(held)
            return len(data)
        head, behind = bytes(held[: end + 4]), len(held) - end - 4
        self._held = bytearray()
        if _HEAD.fullmatch(head) is None:
            raise _what_is_wrong(head)
        self._check_size(head)
        self._frame(head)
        self.has_head = True
        good.append(head)
        return len(data) - behind

    def _check_beginning(self, held: bytes | bytearray, before: int) -> None:
        """Refuse a head early: who waits for the end of a line that is broken would wait for ever."""
        cut = held.rfind(b"\r\n", max(0, before - 1)) + 2
        has_new_lines = cut > max(1, self._seen)
        if has_new_lines:
            lines = _MORE_LINES if self._seen else _FIRST_LINES
            if lines.fullmatch(held, self._seen, cut) is None:
                raise _what_is_wrong(bytes(held[:cut]))
            self._seen = cut
        if _STRAY.search(held, max(self._seen, before - 1)) is not None:
            raise Unreadable("a control character, or a line end that is not CRLF")
        # Only where it can have changed: to look at the whole for each byte would cost its square.
        if has_new_lines or len(held) > min(self._limits.request_line, self._limits.header):
            self._check_size(held, before)

    def _check_size(self, head: bytes | bytearray, before: int = 0) -> None:
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
            self._step = RequestReader._read_chunks
        else:
            self.is_whole = not self._left

    def _read_body(self, data: bytes, position: int, good: list[bytes]) -> int:
        piece = data[position : position + self._left]
        self._left -= len(piece)
        self.is_whole = not self._left
        good.append(piece)
        return position + len(piece)

    def _read_chunks(self, data: bytes, position: int, good: list[bytes]) -> int:
        """Read all chunks that are here from their first byte to their last. One that is not, or is wrong, ends it."""
        pieces: list[bytes] = []
        excess = self._excess
        while (line := _CHUNK.match(data, position)) is not None:
            begin = line.end()
            end = begin + int(line[1], 16)
            if end == begin or begin - position > _MAX_CHUNK_LINE or not data.startswith(b"\r\n", end):
                break
            pieces.append(data[begin:end])
            excess = max(0, excess + begin - position + 2 - (end - begin))
            if excess > _MAX_FRAMING:
                break
            position = end + 2
        self._count(excess - self._excess)
        if pieces:
            good.append(_chunk(b"".join(pieces)))
        self._step = RequestReader._read_size
        return position

    def _count(self, excess: int) -> None:
        self._excess = max(0, self._excess + excess)
        if self._excess > _MAX_FRAMING:
            raise Unreadable("a chunked body whose chunks are mostly framing; larger chunks are needed")

    def _read_size(self, data: bytes, position: int, good: list[bytes]) -> int:
        line, position = self._line(data, position, _MAX_CHUNK_LINE)
        if not line:
            return position
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:
            raise Unreadable("the size of a chunk, or an extension of it, is malformed")
        self._left = int(chunk[1], 16)
        if self._left:
            self._count(len(line) + 2 - self._left)
        self._step = RequestReader._read_chunk if self._left else RequestReader._read_trailer
        return position

    def _read_chunk(self, data: bytes, position: int, good: list[bytes]) -> int:
        piece = data[position : position + self._left]
        self._left -= len(piece)
        if not self._left:
            self._step = RequestReader._read_chunk_end
        good.append(_chunk(piece))
        return position + len(piece)

    def _read_chunk_end(self, data: bytes, position: int, good: list[bytes]) -> int:
        behind = position + 2 - len(self._held)
        self._held += data[position:behind]
        if not b"\r\n".startswith(self._held):
            raise Unreadable("a chunk is longer than its size")
        if len(self._held) == 2:
            self._held.clear()
            self._step = RequestReader._read_chunks
        return behind

    def _read_trailer(self, data: bytes, position: int, good: list[bytes]) -> int:
        line, position = self._line(data, position, self._limits.header)
        if not line:
            return position
        if line == b"\r\n":
            self.is_whole = True
            good.append(_LAST_CHUNK)
            return position
        self._seen += len(line)
        self._lines += 1
        trailer = _TRAILER.fullmatch(line)
        if trailer is None:
            raise Unreadable("a trailer is malformed")
        if trailer[1].lower() in _NO_TRAILER:
            raise Unreadable(f"{trailer[1].decode()} is no trailer")
        if self._seen > self._limits.header or self._lines > self._limits.fields:
            raise Unreadable("the trailers are too large", 431)
        return position

    def _line(self, data: bytes, position: int, limit: int) -> tuple[bytes, int]:
        """Return a whole line, or nothing as long as it is not here, and the position behind it."""
        before, end = len(self._held), data.find(b"\n", position) + 1
        if not end:
            end = len(data)
        self._held += data[position:end]
        if len(self._held) > limit:
            raise Unreadable("a line of a chunked body is too long")
        if self._held.endswith(b"\n"):
            line = bytes(self._held)
            self._held.clear()
            return line, end
        if _STRAY.search(self._held, max(0, before - 1)) is not None:
            raise Unreadable("a control character in a chunked body's own lines")
        return b"", end


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _value(lines: bytes, name: bytes) -> bytes:
    """Return the value of a field that is there; ``name`` with the line end before it and the colon behind it."""
    start = lines.index(name) + len(name)
    return lines[start : lines.index(b"\r", start)].strip(b" \t")


def _without_empty_lines(data: bytes | bytearray) -> bytes | bytearray:
    if not data.startswith(b"\r\n"):
        return data
    lines = _EMPTY_LINES.match(data)
    return data if lines is None else data[lines.end() :]


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
