"""The bytes that clients and the origin exchange: requests as a browser writes them, and WebSocket frames."""

from __future__ import annotations

import base64
import hashlib
import os

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TEXT, BINARY, CLOSE = 1, 2, 8

SMALL = bytes(range(97, 123)) * 40
"""The body of the small answer, 1,040 bytes."""

LAST_CHUNK = b"0\r\n\r\n"

EVENTS = [b"id: %d\ndata: %b\n\n" % (number, SMALL[:200]) for number in range(4)]
"""An event stream: what the origin sends one by one."""

PATTERN = bytes(range(256)) * 1024
"""What large bodies consist of, over and over: 256 KiB."""

_PATTERNS = PATTERN * 8  # a read of up to 1.75 MiB may begin anywhere in the first of them


def is_pattern(data: bytes, at: int) -> bool:
    """Tell whether ``data`` is what large bodies hold from byte ``at`` on. Costs a comparison, and no copy."""
    return _PATTERNS.startswith(data, at % len(PATTERN))


CALLBACK = {
    "output": "greeting.children",
    "outputs": {"id": "greeting", "property": "children"},
    "inputs": [{"id": "name", "property": "value", "value": "Ada"}],
    "changedPropIds": ["name.value"],
    "parsedChangedPropsIds": ["name.value"],
}
"""What Dash's browser side sends when the input of ``dash_page`` changes (4.4.1)."""

_BROWSER = b"""\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r
Accept-Encoding: gzip, deflate, br, zstd\r
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r
Cache-Control: no-cache\r
Pragma: no-cache\r
Cookie: _ga=GA1.1.1839264412.1761924000; theme=dark; session=.eJwlzjEOwzAIQNG7MHcwBGzIZSLAWOmaNFPVuzdS5z-893vQ4\
4rzgPV9XPGA_RmwQtMsxUmLzOiTiRVHVQptWMi8sbVhE9kZ2Wq1Ptlp2Rxb9cHUM1Vk5tBOJvuJXxWzW0dwYm; csrftoken=q8ZkP1xV7cY2nT4mB6wR\r
"""
"""What a browser adds to a request of a page with a login: about 600 bytes."""


def request(target: str, *, host: str, body: bytes | None = None, length: int | None = None) -> bytes:
    """Return a browser's request.

    body: None is a GET. length: bytes of a body that follows; None: those of ``body``.
    """
    if body is None and length is None:
        fetch = b"Accept: */*\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n"
        return _head("GET", target, host, fetch)
    sends = f"Content-Type: application/json\r\nContent-Length: {len(body or b'') if length is None else length}\r\n"
    return _head("POST", target, host, b"Accept: application/json\r\n" + sends.encode()) + (body or b"")


def chunked_request(target: str, *, host: str, body: bytes) -> bytes:
    """Return a browser's POST whose body comes in two chunks (RFC 9112, 7.1)."""
    half = len(body) // 2
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]))
    sends = b"Accept: application/json\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    return _head("POST", target, host, sends) + pieces + LAST_CHUNK


def expecting_request(target: str, *, host: str, length: int) -> bytes:
    """Return the head of a POST whose client waits for 100 (RFC 9110, 10.1.1) before it sends its body."""
    sends = f"Accept: application/json\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n"
    return _head("POST", target, host, sends.encode())


def unchunked(data: bytes) -> bytes:
    """Return what is in a whole chunked body without extensions or trailers. Raises ValueError for bad framing."""
    pieces = []
    while data != LAST_CHUNK:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        if data[size : size + 2] != b"\r\n":
            raise ValueError("a chunk does not end where it should")
        pieces.append(data[:size])
        data = data[size + 2 :]
    return b"".join(pieces)


def new_key() -> bytes:
    """Return a Sec-WebSocket-Key. Each handshake has another (RFC 6455, 4.1), so none is the same as one before."""
    return base64.b64encode(os.urandom(16))


def handshake(target: str, *, host: str, key: bytes) -> bytes:
    """Return a browser's WebSocket handshake. Without extensions: compression would measure zlib."""
    upgrade = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n"
    head = _head("GET", target, host, b"Origin: http://" + host.encode() + b"\r\n" + upgrade)
    return head.replace(b"Connection: keep-alive", b"Connection: Upgrade")


def _head(method: str, target: str, host: str, fields: bytes) -> bytes:
    line = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive\r\n".encode()
    return line + _BROWSER + fields + b"\r\n"


def accept(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that answers a key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())


def frame_head(opcode: int, size: int, *, masked: bool) -> bytes:
    """Return the head of an unfragmented frame.

    The mask of a client's frame is four zeros, so that the origin can echo
    a payload without touching it, and be cheaper than what is measured.
    """
    bit = 0x80 if masked else 0
    first = 0x80 | opcode
    mask = bytes(4) if masked else b""
    if size < 126:
        return bytes((first, bit | size)) + mask
    if size < 1 << 16:
        return bytes((first, bit | 126)) + size.to_bytes(2, "big") + mask
    return bytes((first, bit | 127)) + size.to_bytes(8, "big") + mask


def frame(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    """Return a whole frame."""
    return frame_head(opcode, len(payload), masked=masked) + payload
