"""The strict reader of requests: the head of each, its framing, its end; what can be read in two ways is refused.

Every request is read here, and nowhere else. It must follow RFC 9112 exactly.
Variants that the RFC allows, and that all programs read in one way, are
accepted, because the request is written anew: empty lines before a request
(section 2.2), leading zeros of a length. Chunk extensions and trailers are not
forwarded (docs/decisions/006-strict-request-reader.md).

The result for a block of fields is remembered: a browser sends the same ones
again and again (docs/decisions/003-fast-path.md).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from proxy.http1.chunked import TOKEN, ChunkLimits, ChunkReader, ProtocolError
from proxy.http1.head_checks import FIELD_LINE, FIELD_LINES, HeadLimits, check_lines, malformed_field
from proxy.http1.headers import Head, HeaderBlock, plain_length, rewritten

_MAX_CHUNK_LINE = 1024
"""Bytes of a chunk's size and its extensions. Precedents: llhttp and Go bound them together with the body."""

_MAX_FRAMING = 16384
"""Bytes by which the framing of a chunked body may exceed what is in the body: 4,096 chunks of one byte each, and any
number of chunks of five bytes. Reading a chunk costs more than reading its bytes (issue 9). Precedent: Go 16 KiB
(net/http/internal/chunked.go), with 16 bytes of each chunk's framing free."""

_NO_TRAILER = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"trailer", b"connection", b"upgrade", b"te")
)
"""Fields that would change the message, or its destination, if a program read them as part of the head. No client may
send them as trailers (RFC 9110, 6.5.1)."""

_REMEMBERED = 256
"""Blocks of fields whose result is kept: at most 8 MiB, ``_MAX_REMEMBERED`` four times for each. HTTP/2 uses the same
property (HPACK, RFC 7541)."""

_MAX_REMEMBERED = 8192
"""Bytes of a block of fields that is remembered."""

_MAX_REMEMBERED_FIELDS = 64
"""Fields of such a block."""

_LINE = rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/1\.[01]\r\n" % TOKEN

# Possessive quantifiers: a hostile head costs one pass.
_REQUEST_LINE = re.compile(rb"(%b++) ([\x21-\x7e\x80-\xff]++) HTTP/1\.([01])\r\n" % TOKEN)
_SIMPLE_LINE = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)"
    rb" (/(?!/)[!\x22\x24-\x3e@-\x5b\x5d-\x7e]*+(?:\?[!\x22\x24-\x7e]*+)?+) HTTP/1\.1\r\n"
)
"""A request line whose target every program reads in the same way: a path without ``//`` in front and backslashes."""
_FIRST_LINES = re.compile(rb"%b(?:%b)*+" % (_LINE, FIELD_LINE))
_EMPTY_LINES = re.compile(rb"(?:\r\n)++")
_OTHER_VERSION = re.compile(rb"%b++ [\x21-\x7e\x80-\xff]++ HTTP/[0-9]\.[0-9]\r\n" % TOKEN)
_CODINGS = re.compile(rb"(?:(?:x-)?(?:gzip|compress)|deflate)(?:,[\t ]*(?:(?:x-)?(?:gzip|compress)|deflate|chunked))*")

_CHUNKED = b"chunked"
_HEAD_END = b"\r\n\r\n"


class _Block(NamedTuple):
    """A block of fields. length: of the body, in bytes. coding: its transfer coding, lower case; None: it has none."""

    header: HeaderBlock
    length: int
    coding: bytes | None


class RequestReader:
    """Reads the requests of one connection, one after the other: bytes in, heads and bodies out.

    limits: of heads. The trailers of a chunked body may be as large as the fields, and as many.

    ``feed`` until ``is_whole``, then ``next``. ``has_begun``: a byte of the
    request has come; empty lines before it are none, if they come whole.
    ``head``: what it asks, None until it is here. Its Content-Length is
    written as a plain number, however the client wrote it. ``head_size``:
    bytes that the head took. ``length``: of the body, in bytes; None: it is
    chunked.

    The cost grows with the bytes, not faster, however small the pieces are in
    which they come.
    """

    __slots__ = (
        "_chunks",
        "_held",
        "_is_narrow",
        "_left",
        "_limits",
        "_seen",
        "has_begun",
        "head",
        "head_size",
        "is_whole",
        "length",
    )

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._held = bytearray()  # of a head that is not complete yet
        self._seen = 0  # how much of it is known to be good
        self._left = 0  # bytes of the body still to come
        self._chunks: ChunkReader
        self._is_narrow = limits.is_below(_MAX_REMEMBERED, _MAX_REMEMBERED_FIELDS)
        self.length: int | None = 0
        self.next()

    def next(self) -> None:
        """Begin with the next request."""
        self.head: Head | None = None
        self.head_size = 0
        self.has_begun = self.is_whole = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what has come of the body, and what comes after the request. Nothing may follow a ProtocolError."""
        position = 0
        if self.head is None:
            end = -1 if self._held or data.startswith(b"\r") else data.find(_HEAD_END)
            if end < 0:
                position = self._read_part_of_head(data)
            else:  # a head that comes whole, as nearly all do
                self.has_begun = True
                self._take_head(data, end)
                position = end + 4
            if self.is_whole:
                return b"", data[position:]
        body: list[bytes] = []
        size = len(data)
        while position < size and not self.is_whole:
            position = self._read_body(data, position, body)
        return body[0] if len(body) == 1 else b"".join(body), data[position:]

    # -- inside: each returns the position after what it has read

    def _read_part_of_head(self, data: bytes) -> int:
        """Read the beginning of a head, or more of it, or its end."""
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
        end = held.find(_HEAD_END, max(0, before - 3))
        if end < 0:
            self._check_beginning(held, before)
            if held is not self._held:
                self._held = bytearray(held)
            return len(data)
        head, after = bytes(held[: end + 4]), len(held) - end - 4
        self._held = bytearray()
        self._seen = 0
        self._take_head(head, end)
        return len(data) - after

    def _check_beginning(self, held: bytes | bytearray, before: int) -> None:
        """Refuse a head early: the end of a line that is broken may never come."""
        seen, self._seen = self._seen, check_lines(held, before, self._seen, _FIRST_LINES, _what_is_wrong)
        # Only where it can have changed: to look at the whole for each byte would cost its square.
        if seen < self._seen or len(held) > min(self._limits.request_line, self._limits.header):
            self._limits.check(held, before)

    def _take_head(self, data: bytes, end: int) -> None:
        """Take a head apart, and find how the request's end is known (RFC 9112, section 6.3).

        data: begins with the head. end: where the empty line after it begins.
        """
        simple = _SIMPLE_LINE.match(data)
        line = simple or _REQUEST_LINE.match(data)
        block = None
        if line is not None and end < _MAX_REMEMBERED and not self._is_narrow:
            block = _read_remembered(data[line.end() : end + 2])
        if line is None or block is None:
            simple = None
            line, block = self._read_unusual(data[: end + 4])
        header, length, coding = block
        is_old = simple is None and line[3] == b"0"
        target = line[2].decode("latin-1")
        if coding is not None:
            self._expect_chunks(coding, is_old=is_old)
        else:
            self.length = self._left = length
            self.is_whole = not length
        if is_old and "://" in target and not target.startswith("/") and b"host" not in header.index:
            # RFC 9112, section 3.2.2: the target names the host.
            header = HeaderBlock(((b"Host", _authority(target)), *header.fields))
        self.head_size = end + 4
        version, is_simple = (1, 0) if is_old else (1, 1), simple is not None and header.is_simple
        self.head = Head(line[1].decode(), target, version, (), not self.is_whole, is_simple, header)

    def _read_unusual(self, head: bytes) -> tuple[re.Match[bytes], _Block]:
        """Read a head that is long, malformed, or has to be held against narrow limits."""
        if _FIRST_LINES.fullmatch(head, 0, len(head) - 2) is None:
            raise _what_is_wrong(head)
        self._limits.check(head)
        line = _REQUEST_LINE.match(head)
        assert line is not None
        block = _read_block(head[line.end() : -2])
        return line, block

    def _expect_chunks(self, coding: bytes, *, is_old: bool) -> None:
        if is_old:
            raise ProtocolError("HTTP/1.0 knows no Transfer-Encoding")  # RFC 9112, section 6.1: its framing is faulty
        if coding != _CHUNKED:
            raise ProtocolError("the transfer coding is not chunked", 501 if _CODINGS.fullmatch(coding) else 400)
        limits = self._limits
        self._chunks = ChunkReader(
            ChunkLimits(_MAX_CHUNK_LINE, _MAX_FRAMING, limits.header, limits.fields, _NO_TRAILER)
        )
        self.length = None

    def _read_body(self, data: bytes, position: int, body: list[bytes]) -> int:
        """Add what is here of the body to ``body``."""
        if self.length is None:
            position = self._chunks.feed(data, body, position)
            self.is_whole = self._chunks.is_whole
            return position
        piece = data[position : position + self._left]
        self._left -= len(piece)
        self.is_whole = not self._left
        body.append(piece)
        return position + len(piece)


def _read_block(lines: bytes) -> _Block:
    """Read a block of fields that is well-formed. Raises ProtocolError for two ways to know the length."""
    parts = [line.split(b":", 1) for line in lines.split(b"\r\n")[:-1]]
    header = HeaderBlock(tuple([(name, value.strip(b" \t")) for name, value in parts]))
    lengths, codings = header.index.get(b"content-length", ()), header.index.get(b"transfer-encoding", ())
    if len(lengths) + len(codings) > 1:
        raise ProtocolError("more than one field says how long the body is")
    if codings:
        return _Block(header, 0, codings[0].lower())
    if not lengths:
        return _Block(header, 0, None)
    length = plain_length(lengths[0])
    if length is None:
        raise ProtocolError("Content-Length is not a number")
    if length != lengths[0]:
        header = HeaderBlock(rewritten(header.fields, b"content-length", length))
    return _Block(header, int(length), None)


@lru_cache(_REMEMBERED)
def _read_remembered(lines: bytes) -> _Block | None:
    """Read a block of fields; None: it is malformed, or has too many of them to be remembered."""
    if lines.count(b"\n") > _MAX_REMEMBERED_FIELDS or FIELD_LINES.fullmatch(lines) is None:
        return None
    return _read_block(lines)


def _authority(target: str) -> bytes:
    """Return the host and port of an absolute target."""
    return re.split("[/?#]", target.partition("://")[2], maxsplit=1)[0].encode("latin-1")


def _without_empty_lines(data: bytes | bytearray) -> bytes | bytearray:
    if not data.startswith(b"\r\n"):
        return data
    lines = _EMPTY_LINES.match(data)
    return data if lines is None else data[lines.end() :]


def _what_is_wrong(lines: bytes) -> ProtocolError:
    """Say which line of a head is not HTTP/1.1; the lines are complete."""
    first = lines[: lines.index(b"\n") + 1]
    if re.fullmatch(_LINE, first) is not None:
        return malformed_field(lines)
    if _OTHER_VERSION.fullmatch(first):
        return ProtocolError("another version of HTTP than 1.0 and 1.1", 505)
    return ProtocolError("the request line is malformed")
