"""The PROXY header: a proxy in front sends the client's address before the client's first byte.

Both versions of the protocol's text (haproxy.org, proxy-protocol.txt,
sections 2.1 and 2.2). Bytes in, an announcement out; which peers may send
one is decided elsewhere. Strict: a header that could be read in two ways is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from proxy.net.peer import UNKNOWN_ADDRESS

MAX_HEADER = 536
"""Bytes of a header with everything in it: what the smallest segment of TCP over IPv4 must be able to carry, so that
it always comes whole (section 2). Precedents: HAProxy a buffer, nginx 4096."""

_MAX_LINE = 107
"""Bytes of a line of version 1 (section 2.1)."""

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [ -~]*)?|(?P<family>TCP[46]) (?P<source>[0-9A-Fa-f:.]+) (?P<target>[0-9A-Fa-f:.]+)"
    rb" (?P<ports>(?:0|[1-9][0-9]{0,4}) (?:0|[1-9][0-9]{0,4})))\r\n"
)
_ADDRESS = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}

_LOCAL, _PROXY = 0x20, 0x21
_INET, _INET6, _UNIX = 1, 2, 3
_SIZES = {_INET: 12, _INET6: 36, _UNIX: 216}
_TLV_SSL, _CLIENT_HAS_TLS = 0x20, 0x01


class HeaderError(ValueError):
    """The bytes are no PROXY header; the message says why, for the log."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a PROXY header says.

    size: bytes of the header. address: of the client; None: the proxy speaks for itself (a health check).
    scheme: ``https`` where the proxy says that its client came over TLS, and that it ended it.
    """

    size: int
    address: str | None
    scheme: str = "http"


def parse(data: bytes) -> Announcement | None:
    """Read the header that ``data`` begins with; None where more bytes must come first. Raises HeaderError.

    When it returns None, all of ``data`` belongs to the header.
    """
    if data.startswith(_SIGNATURE[: len(data)]):
        return _binary(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _line(data)
    raise HeaderError("it does not begin with a PROXY header")


def _line(data: bytes) -> Announcement | None:
    line, end, _ = data[:_MAX_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= _MAX_LINE:
            raise HeaderError(f"its PROXY line is longer than {_MAX_LINE} bytes")
        if b"\r" in line[:-1] or b"\n" in line:
            raise HeaderError("its PROXY line ends with half of a line end")
        return None
    match = _LINE.fullmatch(line + end)
    if match is None:
        raise HeaderError("its PROXY line cannot be read")
    size = len(line) + len(end)
    if not match["family"]:
        return Announcement(size, UNKNOWN_ADDRESS)
    kind = _ADDRESS[match["family"]]
    try:
        source, _ = (kind(match[part].decode()) for part in ("source", "target"))
    except AddressValueError as error:
        raise HeaderError(f"its PROXY line holds no address: {error}") from None
    if any(int(port) > 65535 for port in match["ports"].split()):
        raise HeaderError("its PROXY line holds a port that is none")
    return Announcement(size, str(source))


def _binary(data: bytes) -> Announcement | None:
    if len(data) < 16:
        return None
    command, family = data[12], data[13] >> 4
    size = 16 + int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise HeaderError(f"its PROXY header has the version and command {command:#x}")
    if data[13] & 15 > 2 or family > _UNIX:
        raise HeaderError(f"its PROXY header has the family and protocol {data[13]:#x}")
    if size > MAX_HEADER:
        raise HeaderError(f"its PROXY header is longer than {MAX_HEADER} bytes")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return Announcement(size, None)
    addresses = _SIZES.get(family, 0)
    if size < 16 + addresses:
        raise HeaderError("its PROXY header is too short for its addresses")
    scheme = "https" if any(_has_tls(kind, value) for kind, value in _tlvs(data[16 + addresses : size])) else "http"
    if family == _INET:
        return Announcement(size, str(IPv4Address(data[16:20])), scheme)
    if family == _INET6:
        return Announcement(size, str(IPv6Address(data[16:32])), scheme)
    return Announcement(size, UNKNOWN_ADDRESS, scheme)


def _tlvs(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split what follows the addresses (section 2.2.1). Its checksum is not checked: TCP has one."""
    while data:
        size = int.from_bytes(data[1:3], "big")
        if len(data) < 3 + size:
            raise HeaderError("its PROXY header ends inside a field")
        yield data[0], data[3 : 3 + size]
        data = data[3 + size :]


def _has_tls(kind: int, value: bytes) -> bool:
    return kind == _TLV_SSL and len(value) >= 5 and bool(value[0] & _CLIENT_HAS_TLS)
