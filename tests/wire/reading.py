"""A reading of HTTP/1.1 requests to the letter of RFC 9112, byte by byte, and what RFC 9110 and 6455 say about them.

It is the judge of the gateway, so it shares nothing with the gateway's code:
no expression, no helper, no parser. It reads two kinds of streams:

- what a client sends (``public``): whatever the RFCs allow a client;
- what a gateway sends to an origin (``at_origin``): much less, because a
  gateway writes each request anew.

Whatever one server could read in another way than the next is a *fault*.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = frozenset(b"0123456789")
HEX = frozenset(b"0123456789abcdefABCDEF")
VISIBLE = frozenset(range(0x21, 0x7F))
TEXT = VISIBLE | {0x20, 0x09} | frozenset(range(0x80, 0x100))
HOST = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=%")

_IN_A_LINE = bytes(sorted(TEXT))

CONNECTIONS_OWN = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade http2-settings".split()
)
"""Fields for one hop (RFC 9110, section 7.6.1; RFC 7540, section 3.2.1; the two of old proxies)."""

PROXYS_OWN = frozenset(
    b"forwarded x-real-ip x-request-id front-end-https x-original-host x-scheme x-url-scheme".split()
)

ONCE = frozenset(
    b"content-length content-location content-range content-type etag host max-forwards server user-agent".split()
)
"""Of two, some read the first and some the last (RFC 9110, section 5.3)."""

ADDED_BY_THE_GATEWAY = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port", b"x-request-id")
HANDSHAKES_OWN = (b"sec-websocket-key", b"sec-websocket-version")


@dataclass
class Request:
    """One request as it was read. ``is_whole``: its last byte is here. ``size``: bytes of the stream that it took."""

    method: bytes = b""
    target: bytes = b""
    version: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    raw: bytes = b""
    faults: list[str] = field(default_factory=list)
    is_whole: bool = False
    size: int = 0

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]

    def members(self, name: bytes) -> list[bytes]:
        """The members of a list field, lower case."""
        return [
            part for value in self.all(name) for part in (m.strip(b" \t").lower() for m in value.split(b",")) if part
        ]

    @property
    def is_handshake(self) -> bool:
        """Whether it asks for a WebSocket; whether it may, its faults tell.

        Any other Upgrade is an offer, and nothing (RFC 9110, section 7.8).
        """
        has_more = bool(self.all(b"sec-websocket-key") or self.all(b"sec-websocket-version"))
        return has_more and b"websocket" in self.members(b"upgrade")

    @property
    def is_last(self) -> bool:
        """Whether its connection must end after it: it says so (RFC 9112, 9.3)."""
        options = self.members(b"connection")
        return b"close" in options or (self.version == b"HTTP/1.0" and b"keep-alive" not in options)

    def __repr__(self) -> str:
        what = f"{self.method!r} {self.target!r} {len(self.body)} bytes of body"
        return f"<{what}{'' if self.is_whole else ', cut'}{f' FAULTS {self.faults}' if self.faults else ''}>"


class _Wrong(Exception):
    pass


class _More(Exception):
    """The stream does not reach that far yet."""


def read_public(stream: bytes, start: int = 0) -> Request | None:
    """Read one request that a client sends; None where there is nothing more.

    With a fault, or cut off, it is the last that can be read of the stream.
    """
    request = _read(stream, start, at_origin=False)
    if request is not None and not request.faults and request.version:
        request.faults += _public_faults(request)
    return request


def read_at_origin(stream: bytes, start: int = 0) -> Request | None:
    """Read one request that a gateway sends to an origin."""
    request = _read(stream, start, at_origin=True)
    if request is not None and not request.faults and request.version:
        request.faults += _origin_faults(request)
    return request


def read_all_public(stream: bytes) -> list[Request]:
    """Read a client's stream up to its end, its first fault, or the last request that its connection can carry.

    What follows a handshake are requests as long as nobody says 101.
    """
    requests: list[Request] = []
    position = 0
    while True:
        request = read_public(stream, position)
        if request is None:
            return requests
        requests.append(request)
        if request.faults or not request.is_whole or request.is_last:
            return requests
        position += request.size


# -- the grammar


def _read(stream: bytes, start: int, *, at_origin: bool) -> Request | None:
    request = Request()
    position = start
    try:
        while not at_origin and stream[position : position + 2] == b"\r\n":
            position += 2
        if position == len(stream):
            return None
        position = _read_head(request, stream, position)
        position = _read_body(request, stream, position, at_origin=at_origin)
        request.is_whole = True
    except _Wrong as wrong:
        request.faults.append(str(wrong))
        position = len(stream)
    except _More:
        position = len(stream)
    request.raw = stream[start:position]
    request.size = position - start
    return request


def _read_line(stream: bytes, position: int) -> tuple[bytes, int]:
    """Read up to CRLF; no other control character may be in the line."""
    end = stream.find(b"\n", position)
    line = stream[position:] if end < 0 else stream[position:end]
    inside = line[:-1] if line[-1:] == b"\r" else line
    strange = inside.translate(None, _IN_A_LINE)
    if strange:
        raise _Wrong("a bare CR" if strange[:1] == b"\r" else f"the control character {strange[0]:#04x}")
    if end < 0:
        raise _More
    if inside is line:
        raise _Wrong("a bare LF")
    return inside, end + 1


def _read_head(request: Request, stream: bytes, position: int) -> int:
    line, position = _read_line(stream, position)
    parts = line.split(b" ")
    if len(parts) != 3 or not all(parts):
        raise _Wrong("the request line is not method, target and version with one space between")
    method, target, version = parts
    if not TOKEN.issuperset(method):
        raise _Wrong("the method is no token")
    if not VISIBLE.issuperset(target):
        raise _Wrong("the target holds what a URL may not")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise _Wrong("the version is not HTTP/1.1")
    fields: list[tuple[bytes, bytes]] = []
    while True:
        line, position = _read_line(stream, position)
        if not line:
            break
        fields.append(_field(line))
    request.method, request.target, request.version, request.fields = method, target, version, fields
    return position


def _field(line: bytes) -> tuple[bytes, bytes]:
    if line[:1] in (b" ", b"\t"):
        raise _Wrong("a folded line, or white space before the first field")
    name, colon, value = line.partition(b":")
    if not colon or not name:
        raise _Wrong("a line without a name and a colon")
    if not TOKEN.issuperset(name):
        raise _Wrong("a name that is no token")
    return name, value.strip(b" \t")


def _read_body(request: Request, stream: bytes, position: int, *, at_origin: bool) -> int:
    lengths, codings = request.all(b"content-length"), request.all(b"transfer-encoding")
    if lengths and codings:
        raise _Wrong("Content-Length and Transfer-Encoding")
    if len(lengths) > 1 or len(codings) > 1:
        raise _Wrong("two lengths")
    if lengths:
        value = lengths[0]
        if not value or not DIGITS.issuperset(value) or len(value.lstrip(b"0")) > 18:
            raise _Wrong("Content-Length is no number")
        if at_origin and value != plain(value):
            raise _Wrong("Content-Length is no plain number")
        end = position + int(value)
        request.body = stream[position:end]
        if end > len(stream):
            raise _More
        return end
    if codings:
        if codings[0].lower() != b"chunked":
            raise _Wrong("a transfer coding other than chunked")
        if request.version != b"HTTP/1.1":
            raise _Wrong("Transfer-Encoding in HTTP/1.0")
        return _read_chunks(request, stream, position, at_origin=at_origin)
    return position


def plain(length: bytes) -> bytes:
    """Return a length as a gateway writes it: 1*DIGIT (RFC 9110, section 8.6), without zeros in front."""
    return length.lstrip(b"0") or b"0"


def _read_chunks(request: Request, stream: bytes, position: int, *, at_origin: bool) -> int:
    while True:
        line, position = _read_line(stream, position)
        size = _chunk_size(line, at_origin=at_origin)
        if not size:
            break
        request.body += stream[position : position + size]
        position += size
        end = stream[position : position + 2]
        if not b"\r\n".startswith(end):
            raise _Wrong("a chunk does not end where its size says")
        if len(end) < 2:
            raise _More
        position += 2
    while True:
        line, position = _read_line(stream, position)
        if not line:
            return position
        if at_origin:
            raise _Wrong("a trailer")
        name = _field(line)[0].lower()
        if name in (b"content-length", b"host") or name in CONNECTIONS_OWN:
            raise _Wrong(f"{name.decode()} as a trailer")


def _chunk_size(line: bytes, *, at_origin: bool) -> int:
    digits, semicolon, extension = line.partition(b";")
    if semicolon:
        if at_origin:
            raise _Wrong("a chunk extension")
        digits = digits.rstrip(b" \t")
        _check_extension(extension)
    if not digits or not HEX.issuperset(digits) or len(digits.lstrip(b"0")) > 15:
        raise _Wrong("the size of a chunk is no hexadecimal number")
    if at_origin and digits != plain(digits):
        raise _Wrong("the size of a chunk has zeros in front")
    return int(digits, 16)


def _check_extension(rest: bytes) -> None:
    """RFC 9112, section 7.1.1. White space may be before and after each ";" and "=", and nowhere else."""
    while True:
        name, rest = _token(rest.lstrip(b" \t"))
        if not name:
            raise _Wrong("a chunk extension without a name")
        if rest.lstrip(b" \t")[:1] == b"=":
            rest = rest.lstrip(b" \t")[1:].lstrip(b" \t")
            rest = _quoted(rest) if rest[:1] == b'"' else _value(rest)
        if not rest:
            return
        if rest.lstrip(b" \t")[:1] != b";":
            raise _Wrong("a malformed chunk extension")
        rest = rest.lstrip(b" \t")[1:]


def _token(data: bytes) -> tuple[bytes, bytes]:
    end = next((index for index, byte in enumerate(data) if byte not in TOKEN), len(data))
    return data[:end], data[end:]


def _value(data: bytes) -> bytes:
    value, rest = _token(data)
    if not value:
        raise _Wrong("a chunk extension without a value")
    return rest


def _quoted(data: bytes) -> bytes:
    index = 1
    while index < len(data):
        if data[index] == 0x22:
            return data[index + 1 :]
        index += 2 if data[index] == 0x5C else 1
    raise _Wrong("a quoted chunk extension that does not end")


# -- what the fields say


def _public_faults(request: Request) -> list[str]:
    """What a server must refuse, or must not pass on (RFC 9110, 9112 and 6455)."""
    faults = _host_faults(request, is_needed=request.version == b"HTTP/1.1")
    target, host = request.target, (request.all(b"host") or [b""])[0]
    if request.method.upper() == b"CONNECT":
        faults.append("CONNECT to what is no proxy")
    elif request.method.upper() == b"HEAD" != request.method:
        faults.append("a method that is HEAD to some")
    if target == b"*":
        if request.method != b"OPTIONS":
            faults.append("an asterisk outside OPTIONS")
    elif b"#" in target:
        faults.append("a fragment")
    elif not target.startswith(b"/"):
        scheme, colon, _ = target.partition(b"://")
        named = authority(target)
        if not colon or scheme.lower() not in (b"http", b"https"):
            faults.append("a target that is no path")
        elif not request.all(b"host"):
            if not _is_host(named):
                faults.append("an absolute target of no host")
        elif _place(named, scheme) != _place(host, scheme):
            faults.append("an absolute target of another host")
    if b"\\" in origin_form(request).partition(b"?")[0]:
        faults.append("a backslash in the path")
    if request.is_handshake:
        faults += _handshake_faults(request)
    return faults


def authority(target: bytes) -> bytes:
    """Return the host and port that an absolute target names; nothing for any other."""
    rest = target.partition(b"://")[2]
    return b"" if target[:1] == b"/" else rest.partition(b"/")[0].partition(b"?")[0]


def _place(value: bytes, scheme: bytes) -> tuple[bytes, bytes]:
    """Return a name and a port, the scheme's own where none is written."""
    name, colon, port = value.lower().rpartition(b":")
    if not colon or b"]" in port:
        name, port = value.lower(), b""
    return name, port or (b"443" if scheme.lower() == b"https" else b"80")


def _host_faults(request: Request, *, is_needed: bool) -> list[str]:
    names = [name.lower() for name, _ in request.fields]
    twice = [f"two {name.decode()}" for name in ONCE if names.count(name) > 1]
    if b"sec-websocket-key1" in names:
        twice.append("the handshake of a draft, with bytes after its head")
    return twice + _one_host_faults(request, is_needed=is_needed)


def _one_host_faults(request: Request, *, is_needed: bool) -> list[str]:
    hosts = request.all(b"host")
    if len(hosts) > 1 or (is_needed and not hosts):
        return ["not exactly one Host"]
    return [] if not hosts or _is_host(hosts[0]) else ["Host is no host"]


def _is_host(value: bytes) -> bool:
    if value[:1] == b"[":
        address, bracket, port = value[1:].partition(b"]")
        name_is_good = (
            bool(bracket) and b":" in address and (HEX | frozenset(b":.%")).issuperset(address.partition(b"%")[0])
        )
        if port and port[:1] != b":":
            return False
        port = port[1:]
    else:
        name, _, port = value.partition(b":")
        name_is_good = bool(name) and HOST.issuperset(name)
    return name_is_good and DIGITS.issuperset(port) and len(port) <= 5


def _handshake_faults(request: Request) -> list[str]:
    """RFC 6455, section 4.2.1."""
    faults = []
    if request.method != b"GET" or request.version != b"HTTP/1.1":
        faults.append("a handshake that is no GET of HTTP/1.1")
    if request.all(b"transfer-encoding") or request.all(b"content-length") not in ([], [b"0"]):
        faults.append("a handshake with a body")
    if request.members(b"upgrade") != [b"websocket"] or b"upgrade" not in request.members(b"connection"):
        faults.append("a handshake whose Upgrade and Connection do not say it alone")
    if request.all(b"sec-websocket-version") != [b"13"]:
        faults.append("a handshake of another version")
    keys = request.all(b"sec-websocket-key")
    try:
        sizes = [len(base64.b64decode(key, validate=True)) for key in keys]
    except binascii.Error:
        sizes = []
    if sizes != [16] or len(keys[0]) != 24:
        faults.append("a handshake without one key of 16 bytes")
    return faults


def origin_form(request: Request) -> bytes:
    """Return the target as a gateway sends it on (RFC 9112, section 3.2.1)."""
    target = request.target
    if target[:1] == b"/" or target == b"*":
        return target
    rest = target.partition(b"://")[2]
    cut = min((rest.index(mark) for mark in (b"/", b"?") if mark in rest), default=len(rest))
    path = rest[cut:]
    if not path and request.method == b"OPTIONS":
        return b"*"
    return path if path[:1] == b"/" else b"/" + path


def _origin_faults(request: Request) -> list[str]:
    """What a gateway must never send, however it was asked."""
    faults = _host_faults(request, is_needed=True)
    if request.version != b"HTTP/1.1":
        faults.append("another version than 1.1")
    if request.method.upper() == b"CONNECT" or request.method.upper() == b"HEAD" != request.method:
        faults.append("CONNECT, or what is HEAD to some")
    if request.target[:1] != b"/" and (request.target, request.method) != (b"*", b"OPTIONS"):
        faults.append("a target that is not in origin form")
    if b"#" in request.target or b"\\" in request.target.partition(b"?")[0]:
        faults.append("a fragment, or a backslash in the path")
    names = [name.lower() for name, _ in request.fields]
    is_handshake = b"upgrade" in names
    if is_handshake:
        faults += _handshake_faults(request)
        said = [value.lower() for value in request.all(b"upgrade")]
        if request.members(b"connection") != [b"upgrade"] or said != [b"websocket"]:
            faults.append("a handshake that names more than the upgrade")
    meant = {b"upgrade", b"connection"} if is_handshake else set()
    if request.all(b"transfer-encoding"):
        meant.add(b"transfer-encoding")
    faults += [f"{name.decode()} belongs to one connection" for name in names if name in CONNECTIONS_OWN - meant]
    for name in names:
        if is_an_alias(name):
            faults.append(f"{name.decode()} is an alias")
    faults += [f"not exactly one {name.decode()}" for name in ADDED_BY_THE_GATEWAY if names.count(name) != 1]
    if names.count(b"x-forwarded-host") > 1:
        faults.append("two x-forwarded-host")
    if not set(request.all(b"x-forwarded-proto")) <= {b"http", b"https"}:
        faults.append("X-Forwarded-Proto is no scheme")
    return faults


def is_guarded(name: bytes) -> bool:
    """Tell whether a field says where a message ends, who gets it, or who sent it."""
    return (
        name in CONNECTIONS_OWN
        or name in (b"host", b"content-length")
        or name in PROXYS_OWN
        or name.startswith(b"x-forwarded-")
    )


def is_an_alias(name: bytes) -> bool:
    """Tell whether WSGI, which folds underscores, or CGI, which folds dots, would take a field for a guarded one."""
    folded = name.replace(b"_", b"-").replace(b".", b"-")
    return folded != name and is_guarded(folded)


def end_to_end(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the fields of a client's request that reach the origin, as they were written, and in their order.

    Only a length is written anew; and an old client may name its host in the target (RFC 9112, section 3.2.2).
    What a proxy alone may say is left out: the client is nobody's proxy. A
    handshake's Upgrade and Connection are left out too.
    """
    nominated = set(request.members(b"connection")) - {b"host", b"content-length"}
    named = authority(request.target)
    fields = [] if request.all(b"host") or not named else [(b"Host", named)]
    for name, value in request.fields:
        key = name.lower()
        if key in CONNECTIONS_OWN or key in nominated or key in PROXYS_OWN or key.startswith(b"x-forwarded-"):
            continue
        if is_an_alias(key):
            continue
        fields.append((name, plain(value) if key == b"content-length" else value))
    return fields


def arrived(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the fields of a request at the origin that are the client's own."""
    return [
        (name, value)
        for name, value in request.fields
        if name.lower() not in CONNECTIONS_OWN
        and name.lower() not in PROXYS_OWN
        and not name.lower().startswith(b"x-forwarded-")
    ]
