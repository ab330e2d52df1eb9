"""The plain exchange, recognised by its bytes: the request and the answer that most of a page's traffic is.

A plain message is HTTP/1.1, framed by Content-Length or without a body, and
says nothing that a proxy must act on. Then there is nothing to take apart:
its bytes go on as they are, with our own fields behind them. (What only a
proxy may say about a client is taken out on the way; who is believed is not
decided here.)

Whatever is not recognised here is not refused; it goes the ordinary way,
through aiohttp's parser and ``forward``. So these patterns may be as narrow
as they like, and must be: everything that they accept, the ordinary way
accepts too and sends on the same (``tests/proxy/http1/test_simple_message.py`` compares the
two on generated messages). docs/decisions/003-fast-path.md.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from proxy.http1.headers import FORWARDING_HEADERS, HOP_BY_HOP, SINGLE, Fields, Head, is_valid_host

MAX_HEAD = 8192
"""Bytes of a head that is looked at; a longer one goes the ordinary way, which has limits of its own."""

MAX_FIELDS = 64
"""Fields of such a head."""

_REMEMBERED = 256
"""Blocks of fields whose reading is kept, because a browser sends the same ones again and again: at most 4 MiB of
``MAX_HEAD`` twice. HTTP/2 rests on the same habit (RFC 7541)."""

_HEAD_END = b"\r\n\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"

# Possessive quantifiers: what they took they never give back, so a hostile head costs one pass. No underscore and no
# dot in names (WSGI and CGI would read them as hyphens), no control character in values, no line folded.
_REQUEST_LINE = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)"
    rb" (/(?!/)[!\x22\x24-\x3e@-\x5b\x5d-\x7e]*+(?:\?[!\x22\x24-\x7e]*+)?+) HTTP/1\.1\r\n"
)
_FIELDS = re.compile(rb"(?:[!#$%%&'*+^`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n){1,%d}+" % MAX_FIELDS)

_HOP_FIELDS = b"|".join(re.escape(name) for name in sorted(HOP_BY_HOP))
_REQUEST_STOPS = re.compile(rb"(?im)^(?:expect|sec-websocket-[^:]*+|%b):" % _HOP_FIELDS)
_WORDS = re.compile(
    rb"(?im)^(x-forwarded-[^:]*+|%b):[\t ]*+([^\r\n]*+)\r\n"
    % b"|".join(re.escape(name) for name in sorted(FORWARDING_HEADERS))
)
_SINGLE = re.compile(rb"(?im)^(%b):[\t ]*+([^\r\n]*+)" % b"|".join(sorted(SINGLE)))

_DIGITS = re.compile(rb"0|[1-9][0-9]{0,11}")


class SimpleRequest(NamedTuple):
    """A plain request: what routing asks of it, and its bytes for the upstream, to be joined with our fields between.

    line: the request line. fields: hop-by-hop ones and a proxy's words left out. Both with their line ends.
    words: what only a proxy may say, in parts. body: what is here of it. owed: bytes of the body still to come.
    """

    method: str
    target: str
    host: bytes
    line: bytes
    fields: bytes
    words: Fields
    body: bytes
    owed: int

    def to_head(self) -> Head:
        """Return the head in parts, for the ordinary way."""
        pairs = (line.split(b":", 1) for line in self.fields.split(b"\r\n")[:-1])
        fields = tuple((name, value.strip(b" \t")) for name, value in pairs)
        return Head(self.method, self.target, (1, 1), fields + self.words, bool(self.body))


def recognise_request(data: bytes) -> SimpleRequest | None:
    """Return the plain request that ``data`` begins with: its whole head, and no byte behind its body."""
    end = data.find(_HEAD_END, 0, MAX_HEAD)
    line = _REQUEST_LINE.match(data)
    if end < 0 or line is None:
        return None
    read = _read_request_fields(data[line.end() : end + 2])
    if read is None:
        return None
    host, length, fields, words = read
    body = data[end + 4 :]
    if len(body) > length:
        return None
    return SimpleRequest(line[1].decode(), line[2].decode(), host, line[0], fields, words, body, length - len(body))


@lru_cache(maxsize=_REMEMBERED)
def _read_request_fields(fields: bytes) -> tuple[bytes, int, bytes, Fields] | None:
    """Return the host, the length of the body, the fields that travel, and a proxy's words; None: it is not plain."""
    if _FIELDS.fullmatch(fields) is None:
        return None
    fields = _without_keep_alive(fields)
    if _REQUEST_STOPS.search(fields):
        return None
    found = _SINGLE.findall(fields)
    single = {name.lower(): value for name, value in found}
    host, length = single.get(b"host", b"").rstrip(), single.get(b"content-length", b"0")
    if len(single) != len(found) or not is_valid_host(host) or not _DIGITS.fullmatch(length):
        return None
    words = tuple((name, value.rstrip(b" \t")) for name, value in _WORDS.findall(fields))
    return host, int(length), _WORDS.sub(b"", fields) if words else fields, words


def _without_keep_alive(fields: bytes) -> bytes:
    """Leave out the one hop-by-hop field that says nothing: it is what HTTP/1.1 does anyway."""
    start = fields.find(_KEEP_ALIVE)
    if start > 0 and fields[start - 1] != 0x0A:
        return fields
    return fields if start < 0 else fields[:start] + fields[start + len(_KEEP_ALIVE) :]
