"""The plain exchange, recognised by its bytes: the request and the answer that nearly all of a page's traffic is.

A plain message has arrived whole, is framed by Content-Length or has no
body, and says nothing that a proxy must act on. Then there is nothing to
take apart: its bytes go on as they are, with our own fields behind them.

Whatever is not recognised here is not refused; it goes the ordinary way,
through aiohttp's parser and ``forward``. So these patterns may be as narrow
as they like, and must be: everything that they accept, the ordinary way
accepts too and sends on the same (``tests/proxy/test_plain.py`` compares the
two on generated requests). docs/decisions/003-plain-exchanges.md.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.headers import A_PROXYS_WORD, HOP_BY_HOP, Head, is_valid_host

MAX_HEAD = 16384
"""Bytes of a head that is looked at; a longer one goes the ordinary way, which has limits of its own."""

_HEAD_END = b"\r\n\r\n"
_KEEP_ALIVE = b"\r\nConnection: keep-alive\r\n"

# Possessive quantifiers: what they took they never give back, so a hostile head costs one pass. No underscore in
# names (WSGI would read it as a hyphen), no control character in values, no line folded.
_FIELDS = rb"(?:[!#$%&'*+.^`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n){1,64}+"
_REQUEST = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (/(?:[!\x22\x24-\x2e\x30-\x7e][!\x22\x24-\x7e]*+)?) HTTP/1\.1\r\n"
    + _FIELDS
)
_ANSWER = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t\x20-\x7e\x80-\xff]*+\r\n" + _FIELDS)

_STOPS = b"|".join(re.escape(name) for name in sorted(HOP_BY_HOP))
_REQUEST_STOPS = re.compile(
    rb"(?i)\r\n(?:expect|x-forwarded-[^:]*+|sec-websocket-[^:]*+|"
    + _STOPS
    + b"|"
    + b"|".join(re.escape(name) for name in sorted(A_PROXYS_WORD))
    + rb"):"
)
_ANSWER_STOPS = re.compile(rb"(?i)\r\n(?:" + _STOPS + rb"):")
_SINGLE = re.compile(
    rb"(?i)\r\n(content-length|content-location|content-range|content-type|etag|host|max-forwards|server|user-agent)"
    rb":[\t ]*+([^\r\n]*+)"
)
"""Fields that may come once only: two of them are two readings of one request."""

_LENGTH = re.compile(rb"(?i)\r\ncontent-length:[\t ]*+([^\r\n]*+)")
_DIGITS = re.compile(rb"[0-9]{1,12}")


class Request(NamedTuple):
    """A plain request: what routing asks of it, and its bytes for the upstream, to be joined with our fields between.

    head: request line and fields, each with its line end, hop-by-hop ones left out. body: whole, may be nothing.
    """

    method: str
    target: str
    host: bytes
    head: bytes
    body: bytes

    def to_head(self) -> Head:
        """Return the head in parts, for the ordinary way."""
        pairs = (line.split(b":", 1) for line in self.head.split(b"\r\n")[1:-1])
        fields = tuple((name, value.strip(b" \t")) for name, value in pairs)
        return Head(self.method, self.target, (1, 1), fields, bool(self.body))


class Answer(NamedTuple):
    """A plain answer: its status, its bytes for the client, and how many of them are its body."""

    status: int
    message: bytes
    body_size: int


def recognise_request(data: bytes) -> Request | None:
    """Return the one plain request that ``data`` is, whole and without a byte behind it; None for anything else."""
    end = data.find(_HEAD_END, 0, MAX_HEAD)
    if end < 0:
        return None
    head, body = data[: end + 2], data[end + 4 :]
    match = _REQUEST.fullmatch(head)
    if match is None:
        return None
    head = head.replace(_KEEP_ALIVE, b"\r\n", 1)
    if _REQUEST_STOPS.search(head):
        return None
    single: dict[bytes, bytes] = {}
    for name, value in _SINGLE.findall(head):
        if single.setdefault(name.lower(), value) is not value:
            return None
    host = single.get(b"host", b"").rstrip()
    length = single.get(b"content-length")
    if not is_valid_host(host) or (body if length is None else not _is_length(length, len(body))):
        return None
    return Request(match[1].decode(), match[2].decode("ascii"), host, head, body)


def recognise_answer(data: bytes, method: str) -> Answer | None:
    """Return the one plain answer to ``method`` that ``data`` is, whole and without a byte behind it."""
    end = data.find(_HEAD_END, 0, MAX_HEAD)
    if end < 0 or method == "HEAD":
        return None
    head = data[: end + 2]
    match = _ANSWER.fullmatch(head)
    if match is None or match[1] in (b"204", b"304"):
        return None
    lengths = _LENGTH.findall(head)
    size = len(data) - end - 4
    if len(lengths) != 1 or not _is_length(lengths[0], size):
        return None
    if _KEEP_ALIVE in head:
        head = head.replace(_KEEP_ALIVE, b"\r\n", 1)
        data = head + data[end + 2 :]
    if _ANSWER_STOPS.search(head):
        return None
    return Answer(int(match[1]), data, size)


def bytes_owed(data: bytes) -> int | None:
    """Return how many bytes are still to come of the one request that ``data`` begins with.

    None where Content-Length alone does not tell: a head that is not whole, another framing, a request behind the
    first. 0 means that the next byte begins a request.
    """
    end = data.find(_HEAD_END, 0, MAX_HEAD)
    if end < 0:
        return None
    head = data[: end + 2].replace(_KEEP_ALIVE, b"\r\n", 1)
    lengths = _LENGTH.findall(head)
    if _REQUEST.fullmatch(head) is None or _REQUEST_STOPS.search(head) or len(lengths) > 1:
        return None
    if lengths and not _DIGITS.fullmatch(lengths[0]):
        return None
    owed = (int(lengths[0]) if lengths else 0) - (len(data) - end - 4)
    return owed if owed >= 0 else None


def _is_length(value: bytes, size: int) -> bool:
    return _DIGITS.fullmatch(value) is not None and int(value) == size
