"""Where a TLS ClientHello ends, read from its records without anything of TLS being made for it.

A library takes a ClientHello of up to 128 KiB, and holds what has come of it,
with all state of a connection, until the rest comes (issue 9). Read here, an
unfinished one costs what the kernel holds, and one that is too large is known
from its first nine bytes.
"""

from __future__ import annotations

MAX_HELLO = 16384
"""Bytes of a ClientHello: what one record holds (RFC 8446, section 5.1). Those of browsers have 500 to 2,000, with
post-quantum keys too. Precedents: BoringSSL 16 KiB, Go 64 KiB, OpenSSL 128 KiB."""

_MAX_RECORDS = 8
"""Records that a ClientHello may be cut into. Clients send one; some that mean to pass a censor send a few."""

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_HEADER = 5
_MAX_RECORD = 16384


class HelloError(ValueError):
    """These bytes begin no ClientHello that is taken; the message says why."""


def needed(data: bytes) -> int:
    """Return how many bytes there must be, from the first one, for the ClientHello to be whole, or to know more.

    data: the beginning of what the client sends. As long as it is shorter than what is returned, more may be
    needed; as soon as it is not, the records are here in which the ClientHello ends.

    Raises HelloError for what is no ClientHello, and for one that is too large or in too many records (RFC 8446,
    sections 4 and 5.1).
    """
    start, hello = 0, b""
    for _ in range(_MAX_RECORDS):
        header = data[start : start + _HEADER]
        if len(header) < _HEADER:
            return start + _HEADER
        size = int.from_bytes(header[3:], "big")
        if header[0] != _HANDSHAKE or header[1] != 3 or not 0 < size <= _MAX_RECORD:
            raise HelloError("TLS failed: it does not begin with the records of a ClientHello")
        end = start + _HEADER + size
        hello += data[start + _HEADER : end]
        if hello and hello[0] != _CLIENT_HELLO:
            raise HelloError("TLS failed: the handshake does not begin with a ClientHello")
        if len(hello) < 4 and len(data) < end:
            return start + _HEADER + min(size, 4 - len(hello) + max(0, len(data) - start - _HEADER))
        if len(hello) >= 4:
            whole = 4 + int.from_bytes(hello[1:4], "big")
            if whole > MAX_HELLO:
                raise HelloError(f"TLS failed: its ClientHello has {whole} bytes, more than {MAX_HELLO}")
            if len(data) < end or len(hello) >= whole:
                return end
        start = end
    raise HelloError(f"TLS failed: its ClientHello comes in more than {_MAX_RECORDS} records")
