"""The strict reading of what a client sends, in front of the parser: where each request ends, and that it can be read
in one way only.

aiohttp's parser (llhttp) is nearly as strict, and nearly is how requests are
smuggled: it takes two spaces in a request line, ``HTTP/2.0`` and
``RTSP/1.0``, and it keeps the last trailer of a chunked body for the head of
the next request. And it refuses what is legal: a method that it does not
know, a tab after ``chunked``. So the head is read here and nowhere else. The
parser gets one request at a time, with a head of ours that says how the body
is framed and nothing else, and the next one when that one is answered.

What counts is RFC 9112 to the letter, with every liberty that it grants and
that nobody can read in two ways: what is sent on is written anew. Empty lines
before a request are nothing (section 2.2), a length may have zeros in front,
chunk extensions and trailers end here.
"""

from __future__ import annotations

import re

from proxy.http1.chunked import STRAY, TOKEN, ChunkLimits, ChunkReader, ProtocolError
from proxy.http1.head_limits import HeadLimits
from proxy.http1.headers import Head, plain_length, rewritten

_MAX_CHUNK_LINE = 1024
"""Bytes of a chunk's size and its extensions. Precedents: llhttp and Go bound them together with the body."""

_MAX_FRAMING = 16384
"""Bytes by which the framing of a chunked body may exceed what is in the body: 4,096 chunks of one byte each, and any
number of chunks of five bytes. Reading a chunk costs more than reading its bytes (issue 9). Precedent: Go 16 KiB
(net/http/internal/chunked.go), with 16 bytes of each chunk's framing free."""

_NO_TRAILER = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"trailer", b"connection", b"upgrade", b"te")
)
"""Fields that would change the message, or who gets it, if somebody read them as part of the head. No client may send
them as trailers (RFC 9110, 6.5.1)."""

_LINE = rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/1\.[01]\r\n" % TOKEN
_FIELD = rb"%b++:[\t\x20-\x7e\x80-\xff]*+\r\n" % TOKEN

# Possessive quantifiers: a hostile head costs one pass.
_HEAD = re.compile(rb"%b(?:%b)*+\r\n" % (_LINE, _FIELD))
_FIRST_LINES = re.compile(rb"%b(?:%b)*+" % (_LINE, _FIELD))
_MORE_LINES = re.compile(rb"(?:%b)*+" % _FIELD)
_EMPTY_LINES = re.compile(rb"(?:\r\n)++")
_OTHER_VERSION = re.compile(rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/[0-9]\.[0-9]\r\n" % TOKEN)

_CONTENT_LENGTH = b"\ncontent-length:"
_TRANSFER_ENCODING = b"\ntransfer-encoding:"
_CODINGS = re.compile(
    rb"(?i)(?:(?:x-)?(?:gzip|compress)|deflate)(?:,[\t ]*(?:(?:x-)?(?:gzip|compress)|deflate|chunked))*"
)


class RequestReader:
    """Follows the requests of one connection; bytes in, bytes for the parser out.

    limits: of heads. The trailers of a chunked body may be as large as the fields, and as many.

    ``feed`` until ``is_whole``, then ``next``. ``has_begun``: a byte of the
    request has come; empty lines before it are none, if they come whole.
    ``head``: what it asks, None until it is here. Its Content-Length is
    written as a plain number, however the client wrote it. ``head_size``:
    bytes that the head took. The parser gets how the body is framed, the
    body, and nothing else.

    The cost grows with the bytes, not faster, however small the pieces are in
    which they come. Chunks are passed on joined, because a parser takes
    longer for each chunk than for what is in it (issue 9).
    """

    __slots__ = (
        "_chunks",
        "_held",
        "_left",
        "_limits",
        "_seen",
        "_step",
        "has_begun",
        "head",
        "head_size",
        "is_whole",
        "length",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self.next()

    def next(self) -> None:
        """Begin with the next request."""
        self._held = bytearray()  # of a head that is not complete yet
        self._seen = 0  # how much of it is known to be good
        self._left = 0  # bytes of the body still to come
        self._chunks: ChunkReader
        self._step = RequestReader._read_head  # not bound: a reader is no cycle for the garbage collector
        self.head: Head | None = None
        self.head_size = 0
        self.length: int | None = 0
        self.has_begun = self.is_whole = False

    @property
    def has_head(self) -> bool:
        """Whether the parser has the request's head."""
        return self.head is not None

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what has come of the body, and what comes after the request. Nothing may follow a ProtocolError."""
        body: list[bytes] = []
        position, size = 0, len(data)
        while position < size and not self.is_whole:
            position = self._step(self, data, position, body)
        return body[0] if len(body) == 1 else b"".join(body), data[position:]

    # -- inside: each reads data from a position on, adds what of it (and of what was held) is body, and returns the
    # position behind what it has read

    def _read_head(self, data: bytes, position: int, body: list[bytes]) -> int:
        before = len(self._held)
        held: bytes | bytearray = data
        if before:
            self._held += data
            held = self._held
        if not self._seen:
            held = _without_empty_lines(held)
            before = max(0, before - (before + len(data) - len(held)))
        # Half a line end may be the request's first byte. If it is none, its time goes on: else a client could begin
        # again and again, and have no deadline.
        self.has_begun = self.has_begun or bool(held)
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
        self.head_size = len(head)
        self._frame(head)
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
        if STRAY.search(held, max(self._seen, before - 1)) is not None:
            raise ProtocolError("a control character, or a line end that is not CRLF")
        # Only where it can have changed: to look at the whole for each byte would cost its square.
        if has_new_lines or len(held) > min(self._limits.request_line, self._limits.header):
            self._check_size(held, before)

    def _check_size(self, head: bytes | bytearray, before: int = 0) -> None:
        excess = self._limits.exceeded_by(head, before)
        if excess is not None:
            raise ProtocolError(excess.message, excess.status)

    def _frame(self, data: bytes) -> None:
        """Take a head apart, and find how the request's end is known (RFC 9112, section 6.3).

        More than one way to know it is none.
        """
        first, *rest = data[:-4].split(b"\r\n")
        method, target, protocol = first.decode("latin-1").split(" ")
        is_old = protocol == "HTTP/1.0"
        fields = tuple((name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in rest))
        lines = data.lower()
        lengths, codings = lines.count(_CONTENT_LENGTH), lines.count(_TRANSFER_ENCODING)
        if lengths + codings > 1:
            raise ProtocolError("more than one field says how long the body is")
        if lengths:
            said = _value(lines, _CONTENT_LENGTH)
            length = plain_length(said)
            if length is None:
                raise ProtocolError("Content-Length is not a number")
            self._left = self.length = int(length)
            self._step = RequestReader._read_body
            if said != length:
                fields = rewritten(fields, b"content-length", length)
        if codings:
            if is_old:
                raise ProtocolError(
                    "HTTP/1.0 knows no Transfer-Encoding"
                )  # RFC 9112, section 6.1: its framing is faulty
            value = _value(lines, _TRANSFER_ENCODING)
            if value != b"chunked":
                raise ProtocolError("the transfer coding is not chunked", 501 if _CODINGS.fullmatch(value) else 400)
            most = self._limits
            limits = ChunkLimits(_MAX_CHUNK_LINE, _MAX_FRAMING, most.header, most.fields, _NO_TRAILER)
            self._chunks = ChunkReader(limits)
            self._step = RequestReader._read_chunks
            self.length = None
        else:
            self.is_whole = not self._left
        if is_old and "://" in target and not target.startswith("/") and b"\nhost:" not in lines:
            fields = ((b"Host", _authority(target)), *fields)  # RFC 9112, section 3.2.2: the target names the host
        self.head = Head(method, target, (1, 0 if is_old else 1), fields, bool(codings or self._left))

    def _read_body(self, data: bytes, position: int, body: list[bytes]) -> int:
        piece = data[position : position + self._left]
        self._left -= len(piece)
        self.is_whole = not self._left
        body.append(piece)
        return position + len(piece)

    def _read_chunks(self, data: bytes, position: int, body: list[bytes]) -> int:
        position = self._chunks.feed(data, body, position)
        self.is_whole = self._chunks.is_whole
        return position


def _authority(target: str) -> bytes:
    """Return the host and port of an absolute target."""
    return re.split("[/?#]", target.partition("://")[2], maxsplit=1)[0].encode("latin-1")


def _value(lines: bytes, name: bytes) -> bytes:
    """Return the value of a field that is there; ``name`` with the line end before it and the colon after it."""
    start = lines.index(name) + len(name)
    return lines[start : lines.index(b"\r", start)].strip(b" \t")


def _without_empty_lines(data: bytes | bytearray) -> bytes | bytearray:
    if not data.startswith(b"\r\n"):
        return data
    lines = _EMPTY_LINES.match(data)
    return data if lines is None else data[lines.end() :]


def _what_is_wrong(lines: bytes) -> ProtocolError:
    """Say which line of a head is not HTTP/1.1; the lines are complete."""
    first, *fields = re.split(rb"(?<=\r\n)", lines)
    if re.fullmatch(_LINE, first) is None:
        if _OTHER_VERSION.fullmatch(first):
            return ProtocolError("another version of HTTP than 1.0 and 1.1", 505)
        return ProtocolError("the request line is malformed")
    for number, line in enumerate(fields, 2):
        if line not in (b"\r\n", b"") and re.fullmatch(_FIELD, line) is None:
            return ProtocolError(f"line {number} of the head is malformed")
    return ProtocolError("the head is malformed")
