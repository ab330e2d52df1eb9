"""Header fields: which ones are forwarded, which ones are removed, and which ones are added.

Three rules, in this order (RFC 9110, section 7.6.1):

1. Hop-by-hop fields, and those that ``Connection`` names, are not forwarded.
2. Forwarding headers (``X-Forwarded-*``, ``X-Request-ID`` and similar ones) are
   removed; ``forwarded`` writes them anew, with those of a trusted proxy.
3. Added headers come last, so that a client cannot remove them by naming them
   in ``Connection``.

Everything else keeps its spelling, its order and its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

Fields = tuple[tuple[bytes, bytes], ...]

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_ESSENTIAL = frozenset((b"host", b"content-length"))
"""Fields that ``Connection`` may not nominate away: without them the message would change its meaning."""

SINGLE = frozenset(
    (
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"etag",
        b"host",
        b"max-forwards",
        b"server",
        b"user-agent",
    )
)
"""Fields that may come once only (RFC 9110, section 5.3): of two, some read the first and some the last."""

FORWARDING_HEADERS = frozenset(
    (
        b"forwarded",
        b"front-end-https",
        b"x-original-host",
        b"x-real-ip",
        b"x-request-id",
        b"x-scheme",
        b"x-url-scheme",
    )
)
"""Forwarding headers beside ``X-Forwarded-*`` (``forwarded`` reads them)."""

_ENDS_HERE = HOP_BY_HOP | FORWARDING_HEADERS

_WSGI_VARIABLES = frozenset((b"script-name", b"path-info"))
"""With an underscore these are variables of a WSGI server, not fields. gunicorn takes ``SCRIPT_NAME`` from any peer on
loopback, and the gateway is one, and cuts it off the path: ``/login/x`` would become ``/x``, after every check."""

_LENGTH = re.compile(rb"(?=[0-9])0*+([0-9]{0,18}+)")
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}(?:%25[A-Za-z0-9._~-]{1,32})?\]|[A-Za-z0-9._~!$&'()*+,;=%-]{1,255})(?::[0-9]{0,5})?"
)


_NOT_SIMPLE = HOP_BY_HOP - {b"connection"} | {b"expect"}
"""Fields that need more than to be left out; those of a WebSocket handshake too, which all begin alike."""


class HeaderBlock:
    """The fields of a head, in their order and by name. Results that are needed more than once are computed once.

    ``index``: values by name, the names in lower case.
    """

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.index: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            self.index.setdefault(name.lower(), []).append(value)

    @cached_property
    def host(self) -> bytes:
        """The first Host field; nothing where there is none."""
        values = self.index.get(b"host")
        return values[0] if values else b""

    @property
    def repeated(self) -> frozenset[bytes]:
        """The names, in lower case, of those that are there more than once."""
        if len(self.index) == len(self.fields):
            return frozenset()
        return frozenset(name for name, values in self.index.items() if len(values) > 1)

    @cached_property
    def forwarding(self) -> Fields:
        """The forwarding headers."""
        if not any([is_forwarding_header(name) for name in self.index]):
            return ()
        return tuple(field for field in self.fields if is_forwarding_header(field[0].lower()))

    @cached_property
    def left_out(self) -> frozenset[bytes]:
        """The names, in lower case, of those that are not forwarded: hop-by-hop fields and forwarding headers."""
        ending = _nominated(self.index.get(b"connection", ()))
        return frozenset([name for name in self.index if not _travels(name, ending)])

    @cached_property
    def end_to_end(self) -> bytes:
        """The lines of those that are forwarded (RFC 9110, section 7.6.1): no hop-by-hop fields, no forwarding
        headers."""
        left_out = self.left_out
        fields = [field for field in self.fields if field[0].lower() not in left_out] if left_out else self.fields
        return b"".join([b"%b: %b\r\n" % field for field in fields])

    @cached_property
    def is_simple(self) -> bool:
        """Whether no field in it needs more of a proxy than to be left out."""
        index = self.index
        if not _NOT_SIMPLE.isdisjoint(index) or any([name.startswith(b"sec-websocket-") for name in index]):
            return False
        if self.repeated & SINGLE:
            return False
        connection = index.get(b"connection")
        if connection is not None and [value.lower() for value in connection] != [b"keep-alive"]:
            return False
        return is_valid_host(self.host)


class MessageHead:
    """The head of a message. block: its fields."""

    __slots__ = ("block",)

    def __init__(self, block: HeaderBlock) -> None:
        self.block = block

    @property
    def headers(self) -> Fields:
        """Names and values of the fields, spelling and order kept."""
        return self.block.fields

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of a field; ``name`` in lower case."""
        return self.block.index.get(name) or []


class Head(MessageHead):
    """The head of a request as it was received.

    target: the request target, byte for byte (latin-1 decoded).
    version: for example (1, 1).
    fields: names and values, spelling and order kept. block: the same, where it is known already.
    has_body: whether the client announced a body, even an empty chunked one.
    is_simple: whether the request is HTTP/1.1, can be forwarded unchanged, and needs nothing of a proxy.
    """

    __slots__ = ("has_body", "is_simple", "method", "target", "version")

    def __init__(
        self,
        method: str,
        target: str,
        version: tuple[int, int],
        fields: Fields = (),
        has_body: bool = False,
        is_simple: bool = False,
        block: HeaderBlock | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.block = block or HeaderBlock(fields)
        self.has_body = has_body
        self.is_simple = is_simple

    @property
    def host(self) -> bytes:
        """The first Host field; nothing where there is none."""
        return self.block.host

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of a field, None where there is none; ``name`` in lower case."""
        values = self.block.index.get(name)
        return values[0] if values else None

    def with_fields(self, fields: Fields) -> Head:
        """Return the same head with other fields."""
        return Head(self.method, self.target, self.version, fields, self.has_body)


def tokens(values: Iterable[bytes]) -> list[bytes]:
    """Split comma-separated field values into their members, lower case, empty ones left out."""
    return [member for value in values for part in value.split(b",") if (member := part.strip().lower())]


def plain_length(value: bytes) -> bytes | None:
    """Return a Content-Length without leading zeros; None where it is not a number, or above 10**18."""
    found = _LENGTH.fullmatch(value)
    return None if found is None else found[1] or b"0"


def rewritten(fields: Fields, name: bytes, value: bytes) -> Fields:
    """Return fields with another value for those of one name (lower case)."""
    return tuple((key, value if key.lower() == name else old) for key, old in fields)


def is_valid_host(value: bytes) -> bool:
    """Tell whether a Host value is ``uri-host [":" port]`` (RFC 9110, section 7.2)."""
    return _HOST.fullmatch(value) is not None


def request_head(head: Head, target: str, added: Fields, *, body: bytes = b"", upgrade: bool = False) -> bytes:
    """Serialise the head that goes to the upstream.

    target: the request target to send, latin-1.
    added: the forwarding headers (``forwarded``), and the identity headers (``auth``).
    body: the framing field of the body, ``Transfer-Encoding: chunked`` or
        empty: a Content-Length is forwarded as the client wrote it.
    upgrade: True for a WebSocket handshake, whose Connection and Upgrade are meant for the upstream.
    """
    line = f"{head.method} {target} HTTP/1.1\r\n".encode("latin-1")
    fields = _handshake_lines(head) if upgrade else head.block.end_to_end
    lines = [name + b": " + value for name, value in added]
    if body:
        lines.append(body)
    lines.append(b"\r\n")
    return line + fields + b"\r\n".join(lines)


def _handshake_lines(head: Head) -> bytes:
    """Return the forwarded lines of a WebSocket handshake: Connection and Upgrade are meant for the upstream too."""
    left_out = head.block.left_out
    wanted = {b"upgrade": b"websocket", b"connection": b"Upgrade"}
    lines = []
    for name, value in head.headers:
        key = name.lower()
        if key not in left_out:
            lines.append(b"%b: %b\r\n" % (name, value))
        elif key in wanted and wanted[key].lower() in tokens([value]):
            alone = wanted.pop(key)
            lines.append(b"%b: %b\r\n" % (name, value if value.lower() == alone.lower() else alone))
    return b"".join(lines)


def response_head(
    status: int,
    reason: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    added: Fields = (),
) -> bytes:
    """Serialise the head that goes to the client.

    headers: the upstream's fields; hop-by-hop ones are left out.
    added: Connection and the body's framing, as this hop needs them.
    """
    headers = tuple(headers)
    ending = _nominated([value for name, value in headers if name.lower() == b"connection"])
    lines = [b"HTTP/1.1 %d %b" % (status, reason)]
    for name, value in headers:
        key = name.lower()
        if key == b"content-length" and value != b"0" and (status < 200 or status == 204):
            continue  # there is no body (RFC 9110, section 8.6), and some clients would wait for it
        if key not in HOP_BY_HOP and key not in ending:
            lines.append(name + b": " + value)
    lines += [name + b": " + value for name, value in added]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def upgrade_response_head(status: int, reason: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Serialise a 101 exactly as the upstream sent it: every field, spelling and order kept."""
    lines = [b"HTTP/1.1 %d %b" % (status, reason)]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _nominated(values: list[bytes] | tuple[()]) -> frozenset[bytes]:
    """Return the fields that values of Connection name."""
    return frozenset(tokens(values)) - _ESSENTIAL if values else frozenset()


def _travels(key: bytes, ending: frozenset[bytes]) -> bool:
    """Tell whether a field of a request, in lower case, goes to the upstream. ending: those that Connection names."""
    return not (key in _ENDS_HERE or key in ending or key.startswith(b"x-forwarded-") or _is_an_alias(key))


def is_forwarding_header(key: bytes) -> bool:
    """Tell whether a field, in lower case, is a forwarding header."""
    return key.startswith(b"x-forwarded-") or key in FORWARDING_HEADERS


_ONE_NAME = bytes.maketrans(b"_.", b"--")


def folded(name: bytes) -> bytes:
    """Return the name that ``X-User``, ``x_user`` and ``X.User`` have in common: CGI and its successors fold them."""
    return name.lower().translate(_ONE_NAME)


def _is_an_alias(key: bytes) -> bool:
    """Tell whether some server would read this name as one of the fields that are removed here.

    A WSGI server gives ``X_Forwarded_For`` and ``X-Forwarded-For`` to the
    application under one name (PEP 3333), and CGI did so with
    ``X.Forwarded.For``; that must not bypass the rules above.
    """
    plain = key.translate(_ONE_NAME)
    if plain == key:
        return False
    return is_forwarding_header(plain) or plain in HOP_BY_HOP or plain in _ESSENTIAL or plain in _WSGI_VARIABLES
