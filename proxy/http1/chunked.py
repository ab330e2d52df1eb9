"""The chunked transfer coding (RFC 9112, section 7.1), for requests and responses.

The reader returns the content of the chunks, joined. Sizes, extensions and
trailers are not forwarded: they belong to one hop, and the body is forwarded in
new chunks. So everything that the grammar allows is read (leading zeros of a
size, white space around an extension's ``;`` and ``=``), and nothing else: what
two programs could read in two ways is refused.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
"""One character of a token (RFC 9110, section 5.6.2)."""

_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'

# Possessive quantifiers: a hostile line costs one pass. White space that no ";" or "=" follows is looked at twice.
_EXTENSION = rb"[\t ]*+;[\t ]*+%b++(?:[\t ]*+=[\t ]*+(?:%b++|%b))?+" % (TOKEN, TOKEN, _QUOTED)
_CHUNK = re.compile(rb"(?=[0-9A-Fa-f])0*+([0-9A-Fa-f]{0,15}+)(?:%b)*+\r\n" % _EXTENSION)
_HEX = b"0123456789abcdefABCDEF"
_TRAILER = re.compile(rb"(%b++):[\t\x20-\x7e\x80-\xff]*+\r\n" % TOKEN)
STRAY = re.compile(rb"[\x00-\x08\x0a-\x0c\x0e-\x1f\x7f]|\r(?!\n|\Z)")
"""What no line may hold that is not complete yet: control characters, and line ends that are not CRLF."""


LAST_CHUNK = b"0\r\n\r\n"
"""What ends a chunked body that has no trailers."""


class ProtocolError(Exception):
    """What has come is no HTTP message, or could be taken for another one.

    status: of the response, where it was a request. The message is for the log.
    """

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class ChunkLimits(NamedTuple):
    """How much of a chunked body may be no body.

    line: bytes of a chunk's size and its extensions. framing: bytes by which all sizes, extensions and line ends may
    exceed what is in the body; None: any number. trailers: bytes. fields: of the trailers. refused: names, lower case,
    that end the body as unreadable when they are trailers.
    """

    line: int
    framing: int | None
    trailers: int
    fields: int
    refused: frozenset[bytes] = frozenset()


class ChunkReader:
    """Reads one chunked body: ``feed`` until ``is_whole``.

    The cost grows with the bytes, not faster, however small the pieces are in
    which they come.
    """

    __slots__ = ("_excess", "_held", "_left", "_limits", "_lines", "_seen", "_step", "is_whole")

    def __init__(self, limits: ChunkLimits) -> None:
        self._limits = limits
        self._held = bytearray()  # of a line that is not complete yet
        self._left = 0  # bytes of the chunk still to come
        self._excess = 0  # bytes by which the framing exceeds the body
        self._seen = self._lines = 0  # bytes and number of the trailers
        self._step = ChunkReader._read_chunks  # not bound: a reader is no cycle for the garbage collector
        self.is_whole = False

    def feed(self, data: bytes, body: list[bytes], position: int = 0) -> int:
        """Read ``data`` from a position on; return the position after what was read.

        body: gets what is in the chunks, also of those before one that is malformed. Raises ProtocolError for that
        one, and is over then.
        """
        size = len(data)
        while position < size and not self.is_whole:
            position = self._step(self, data, position, body)
        return position

    # -- inside: each reads data from a position on, adds what is in the body, and returns the position after it

    def _read_chunks(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        """Read all chunks that are here from their first byte to their last. One that is not, or is wrong, ends it."""
        line_limit, most = self._limits.line, self._limits.framing
        excess = self._excess
        while (line := _CHUNK.match(data, position)) is not None:
            begin = line.end()
            end = begin + int(line[1] or b"0", 16)
            if end == begin or begin - position > line_limit or not data.startswith(b"\r\n", end):
                break
            pieces.append(data[begin:end])
            excess = max(0, excess + begin - position + 2 - (end - begin))
            if most is not None and excess > most:
                break
            position = end + 2
        self._count(excess - self._excess)
        self._step = ChunkReader._read_size
        return position

    def _count(self, excess: int) -> None:
        self._excess = max(0, self._excess + excess)
        if self._limits.framing is not None and self._excess > self._limits.framing:
            raise ProtocolError("a chunked body whose chunks are mostly framing; larger chunks are needed")

    def _read_size(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        line, position = self._line(data, position, self._limits.line)
        if not line and self._held[:1] in _HEX:
            return position
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:  # also a line that has begun wrongly: its end may never come
            raise ProtocolError("the size of a chunk, or an extension of it, is malformed")
        self._left = int(chunk[1] or b"0", 16)
        if self._left:
            self._count(len(line) + 2 - self._left)
        self._step = ChunkReader._read_chunk if self._left else ChunkReader._read_trailer
        return position

    def _read_chunk(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        piece = data[position : position + self._left]
        self._left -= len(piece)
        if not self._left:
            self._step = ChunkReader._read_chunk_end
        pieces.append(piece)
        return position + len(piece)

    def _read_chunk_end(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        after = position + 2 - len(self._held)
        self._held += data[position:after]
        if not b"\r\n".startswith(self._held):
            raise ProtocolError("a chunk is longer than its size")
        if len(self._held) == 2:
            self._held.clear()
            self._step = ChunkReader._read_chunks
        return min(after, len(data))

    def _read_trailer(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        limits = self._limits
        line, position = self._line(data, position, limits.trailers)
        if not line:
            return position
        if line == b"\r\n":
            self.is_whole = True
            return position
        self._seen += len(line)
        self._lines += 1
        trailer = _TRAILER.fullmatch(line)
        if trailer is None:
            raise ProtocolError("a trailer is malformed")
        if trailer[1].lower() in limits.refused:
            raise ProtocolError(f"{trailer[1].decode()} is no trailer")
        if self._seen > limits.trailers or self._lines > limits.fields:
            raise ProtocolError("the trailers are too large", 431)
        return position

    def _line(self, data: bytes, position: int, limit: int) -> tuple[bytes, int]:
        """Return a whole line, or nothing as long as it is not here, and the position after it."""
        before, end = len(self._held), data.find(b"\n", position) + 1
        if not end:
            end = len(data)
        self._held += data[position:end]
        if len(self._held) > limit:
            raise ProtocolError("a line of a chunked body is too long")
        if self._held.endswith(b"\n"):
            line = bytes(self._held)
            self._held.clear()
            return line, end
        if STRAY.search(self._held, max(0, before - 1)) is not None:
            raise ProtocolError("a control character in a chunked body's own lines")
        return b"", end


def chunk(data: bytes, *, is_last: bool = False) -> bytes:
    """Return bytes of a body as a chunk; nothing for no bytes, because that would be the last one.

    is_last: the end of the body follows them.
    """
    framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
    return framed + LAST_CHUNK if is_last else framed
