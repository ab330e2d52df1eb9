"""The strict reading of responses: each head, the body, how its end is known, and whether another response may follow.

Bytes in; heads, pieces of the body and errors out. What counts is RFC 9112 to
the letter, with the liberties that cannot be read in two ways: what is sent
on is written anew. A length may have zeros in front, a reason may be missing,
chunk extensions and trailers end here.

The reading of a head is remembered: a server sends the same ones again and
again (docs/decisions/003-fast-path.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import cached_property, lru_cache

from proxy.http1.chunked import ChunkLimits, ChunkReader, ProtocolError
from proxy.http1.head_checks import FIELD_LINE, check_lines, malformed_field
from proxy.http1.headers import HOP_BY_HOP, HeaderBlock, MessageHead, plain_length, rewritten, tokens

MAX_HEAD = 65536
"""Bytes of a response's head and the interim responses before it. Precedents: nginx 4-8 KiB (a known trap for large
cookies), HAProxy 16 KiB, Go 1 MiB, which counts the same."""

MAX_FIELDS = 512
"""Fields of a response and of the interim responses before it: forty responses of 64 KiB of the shortest fields would
delay all other connections (issue 9). Precedents: HAProxy 101, Python's http.client 100."""

MAX_SIMPLE_HEAD = 8192
"""Bytes of a head that is remembered, and may be passed on as bytes."""

MAX_SIMPLE_FIELDS = 64
"""Fields of a head that may be passed on as bytes."""

_REMEMBERED = 256
"""Heads whose reading is kept: at most 9 MiB, three times ``MAX_SIMPLE_HEAD`` for each and an object for each field.
HTTP/2 rests on the same habit (RFC 7541)."""

_CHUNKS = ChunkLimits(line=MAX_HEAD, framing=None, trailers=MAX_HEAD, fields=MAX_FIELDS)
"""Of a response. Small chunks are no fault: streams of tokens have a few bytes in each. Trailers are dropped, whatever
they are."""

_HEAD_END = b"\r\n\r\n"
_BEGINNING = b"HTTP/1."
_KEEP_ALIVE = b"\nconnection: keep-alive\r\n"
_NO_BODY = frozenset((204, 304))

# Possessive quantifiers: a hostile head costs one pass.
_STATUS_LINE = rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?+\r\n"
_HEAD = re.compile(rb"%b(?:%b)*+" % (_STATUS_LINE, FIELD_LINE))
_HOP_FIELDS = re.compile(
    rb"\n(content-length|%b):[\t ]*+([^\r\n]*+)" % b"|".join(re.escape(name) for name in sorted(HOP_BY_HOP))
)
"""Of a head in lower case: the fields that say how a message ends, and all that are about one hop."""


class BadResponse(ProtocolError):
    """A response that is none, or could be read in two ways; the message goes on after "The upstream ..."."""


class Framing(Enum):
    """How the end of a response's body is known (RFC 9112, section 6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class Response(MessageHead):
    """The head of a response.

    reason: as received, may be empty. block: the fields; a Content-Length is a number without zeros in front, however
    it was written. framing: how the body ends.
    """

    __slots__ = ("framing", "reason", "status")

    def __init__(self, status: int, reason: bytes, block: HeaderBlock, framing: Framing) -> None:
        super().__init__(block)
        self.status = status
        self.reason = reason
        self.framing = framing


class ResponseReader:
    """Reads the response to one request: ``feed`` until ``is_complete``, and ``end`` when the connection has ended.

    method: of the request; a response to HEAD has no body whatever it says.
    on_interim: called with each 1xx response but 101 (RFC 9110, section 15.2).
    may_switch: whether the request asks for another protocol; a 101 to any other is an error.

    ``has_begun``: a byte has come. ``head``: of the final response, None until it is here. ``status``: its status, 0
    until then; after ``read_simple`` there is a status and no head.
    ``body_size``: bytes of the body so far. ``leftover``: what came after a 101.
    ``is_reusable``: whether another response may follow on the same
    connection: this one has ended where its framing says, nothing came after
    it, and it says that the connection persists (RFC 9112, section 9.3).

    The cost grows with the bytes, not faster, however small the pieces are in which they come.
    """

    # What an exchange of the fast path never writes: a reader is made for each exchange, and each attribute takes time.
    _held: bytes | bytearray = b""  # of a head that is not complete yet
    _checked = 0  # how much of it is known to be good
    _size = _fields = 0  # bytes and fields of all heads
    _framing = Framing.LENGTH
    _chunks: ChunkReader | None = None
    _persists = False
    head: Response | None = None
    leftover = b""
    status = body_size = 0
    _left = 0  # bytes of the body still to come, where its length is known
    has_begun = is_complete = is_reusable = False

    def __init__(
        self, method: str, on_interim: Callable[[Response], None] = lambda _: None, *, may_switch: bool = False
    ) -> None:
        self._is_head = method == "HEAD"
        self._may_switch = may_switch
        self.on_interim = on_interim

    def read_simple(self, data: bytes) -> bytes | None:
        """Return the beginning of a simple response as it goes to the client; None: nothing was read, ``feed`` it.

        data: the first bytes of the response. A simple one begins with its whole head, has a known length, no byte
        after its body, and says nothing that is about this hop alone. The rest of its body comes out of ``feed``.
        """
        end = data.find(_HEAD_END, 0, MAX_SIMPLE_HEAD)
        if end < 0:
            return None
        try:
            head = _read_remembered(data[: end + 2])
        except ProtocolError:
            return None
        simple = head.simple
        length = 0 if self._is_head or head.has_no_body else head.length or 0
        size = len(data) - end - 4
        if simple is None or size > length:
            return None
        self.has_begun = True
        self.status = head.status
        self.body_size = size
        self._left = length - size
        self._persists = True
        self.is_complete = self.is_reusable = size == length
        return data if simple is head.data else simple + data[end + 2 :]

    def feed(self, data: bytes, body: list[bytes]) -> None:
        """Read more of the response.

        body: gets what of the body is in ``data``, also before something that is malformed. Raises BadResponse for
        that, and is over then.
        """
        self.has_begun = True
        try:
            if not self.status:
                data = self._read_heads(data)
            if self.is_complete and data:
                self.is_reusable = False  # a second response, or a body where there is none: nothing has asked for it
            elif data:
                self._read_body(data, body)
        except BadResponse:
            raise
        except ProtocolError as error:
            raise BadResponse(f"sent something that is not HTTP ({error})") from None

    def end(self) -> None:
        """Hear that nothing more comes: the end of a body that has no other."""
        if self._framing is Framing.UNTIL_CLOSE:
            self.is_complete = True

    # -- inside

    def _read_heads(self, data: bytes) -> bytes:
        """Read the heads that are here, as far as that of the final response; return what comes after it."""
        held: bytes | bytearray = data
        start, searched = 0, len(self._held)
        if searched:
            self._held += data
            held = self._held
        while not self.status:
            end = held.find(_HEAD_END, max(start, searched - 3))
            if self._size + (len(held) if end < 0 else end + 4) - start > MAX_HEAD:
                raise BadResponse(f"sent more than {MAX_HEAD} bytes of header")
            if end < 0:
                if start or not searched:
                    self._held, searched = bytearray(held[start:]), 0
                if searched < len(_BEGINNING) and not _BEGINNING.startswith(bytes(self._held[: len(_BEGINNING)])):
                    raise _what_is_wrong(bytes(self._held))
                self._checked = check_lines(self._held, searched, self._checked, _HEAD, _what_is_wrong)
                return b""
            self._size += end + 4 - start
            self._take_head(bytes(held[start : end + 2]))
            start = searched = end + 4
        self._held = b""
        if self.status == 101:
            self.leftover = bytes(held[start:])
            return b""
        return bytes(held[start:])

    def _take_head(self, data: bytes) -> None:
        """Decide what a whole head means: an interim response, a switch, or the final one and how its body ends."""
        self._checked = 0
        fields = data.count(b"\n") - 1
        self._fields += fields
        if self._fields > MAX_FIELDS:
            raise BadResponse(f"sent more than {MAX_FIELDS} header fields")
        is_large = fields > MAX_SIMPLE_FIELDS or len(data) > MAX_SIMPLE_HEAD
        head = _Head(data) if is_large else _read_remembered(data)
        if head.status == 101 and not self._may_switch:
            raise BadResponse("switched protocols, which nothing had asked for")
        framing = self._framing_of(head)
        response = Response(head.status, head.reason, head.block, framing)
        if head.status < 200 and head.status != 101:
            self.on_interim(response)
            return
        self.head, self.status, self._framing = response, head.status, framing
        # A response to HEAD that does not say how its body would end: that would be with the connection.
        has_end = head.has_no_body or head.is_chunked or head.length is not None
        self._persists = has_end and head.persists and head.status != 101
        if framing is Framing.LENGTH:
            self._left = head.length or 0
        elif framing is Framing.CHUNKED:
            self._chunks = ChunkReader(_CHUNKS)
        if framing is Framing.NONE or (framing is Framing.LENGTH and not self._left):
            self._complete()

    def _framing_of(self, head: _Head) -> Framing:
        if self._is_head or head.has_no_body:
            return Framing.NONE
        if head.length is not None:
            return Framing.LENGTH
        return Framing.CHUNKED if head.is_chunked else Framing.UNTIL_CLOSE

    def _read_body(self, data: bytes, body: list[bytes]) -> None:
        end = len(data)
        if self._chunks is not None:
            pieces: list[bytes] = []
            try:
                end = self._chunks.feed(data, pieces)
            finally:
                self._take_body(b"".join(pieces), body)
            is_whole = self._chunks.is_whole
        elif self._framing is Framing.LENGTH:
            end = min(end, self._left)
            self._left -= end
            self._take_body(data[:end], body)
            is_whole = not self._left
        else:
            self._take_body(data, body)
            is_whole = False
        if is_whole:
            self._complete()
            if end < len(data):
                self.is_reusable = False

    def _take_body(self, data: bytes, body: list[bytes]) -> None:
        if data:
            self.body_size += len(data)
            body.append(data)

    def _complete(self) -> None:
        self.is_complete = True
        self.is_reusable = self._persists


class _Head:
    """What a head says, whatever the request was; shared by all responses that begin with the same bytes.

    data: its lines. length: of the body; None: it does not say. has_no_body: by its status. persists: whether its
    connection does. simple: its lines for the client, if nothing in them is about this hop; else None.
    """

    def __init__(self, data: bytes) -> None:
        line = _HEAD.fullmatch(data)
        if line is None:
            raise _what_is_wrong(data)
        self.data = data
        self.status = status = int(line[2])
        self.reason = line[3] or b""
        self.has_no_body = status < 200 or status in _NO_BODY
        is_old = line[1] == b"0"
        about_hop: dict[bytes, list[bytes]] = {}
        lines = data.lower()
        for name, value in _HOP_FIELDS.findall(lines):
            about_hop.setdefault(name, []).append(value.rstrip(b" \t"))
        lengths, codings = about_hop.pop(b"content-length", []), about_hop.get(b"transfer-encoding", [])
        length = _length(status, lengths, codings, is_old=is_old)
        self.length = None if length is None else int(length)
        self._rewritten_length = length if lengths and lengths[0] != length else None
        self.is_chunked = bool(codings)
        options = tokens(about_hop[b"connection"]) if b"connection" in about_hop else []
        self.persists = b"close" not in options and (not is_old or b"keep-alive" in options)
        self.simple = None
        if not (is_old or status < 200 or self._rewritten_length):
            self.simple = self._without_keep_alive(lines, about_hop)

    def _without_keep_alive(self, lines: bytes, about_hop: dict[bytes, list[bytes]]) -> bytes | None:
        """Return the lines for the client, if no field in them is about the hop but the one that changes nothing.

        lines: in lower case. about_hop: the values of the fields that are about the hop, by name.
        """
        if (self.length is None and not self.has_no_body) or (self.status == 204 and self.length):
            return None  # some clients would wait for what a 204 announces
        if lines.count(b"\n") > MAX_SIMPLE_FIELDS + 1:
            return None
        if not about_hop:
            return self.data
        start = lines.find(_KEEP_ALIVE) + 1
        if about_hop != {b"connection": [b"keep-alive"]} or not start:
            return None
        return self.data[:start] + self.data[start + len(_KEEP_ALIVE) - 1 :]

    @cached_property
    def block(self) -> HeaderBlock:
        """The fields in parts."""
        lines = self.data.split(b"\r\n")[1:-1]
        fields = tuple([(name, value.strip(b" \t")) for name, _, value in [line.partition(b":") for line in lines]])
        length = self._rewritten_length
        return HeaderBlock(fields if length is None else rewritten(fields, b"content-length", length))


_read_remembered = lru_cache(maxsize=_REMEMBERED)(_Head)


def _length(status: int, lengths: list[bytes], codings: list[bytes], *, is_old: bool) -> bytes | None:
    """Return the length of the body, None where no field says it. Raises BadResponse unless it is said in one way."""
    length = plain_length(lengths[0]) if lengths else None
    if len(lengths) + len(codings) > 1 or (lengths and length is None):
        raise BadResponse("did not say in one way how long its body is")
    if codings and (tokens(codings) != [b"chunked"] or is_old):
        raise BadResponse("used a transfer coding other than chunked")
    if status < 200 and (codings or length not in (None, b"0")):
        raise BadResponse(f"said that a {status} has a body")
    return length


def _what_is_wrong(lines: bytes) -> ProtocolError:
    """Say which line of a head is not HTTP/1.1; the lines are complete."""
    if not lines.startswith(_BEGINNING):
        return ProtocolError("it does not begin with HTTP/1")
    if re.match(_STATUS_LINE, lines) is None:
        return BadResponse("sent a status line that is not HTTP/1.1's")
    return malformed_field(lines)
