"""HTTP/1.1 messages, built as a test says them and read as they came."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
"""The Sec-WebSocket-Key of RFC 6455's own example."""


class Message:
    """One HTTP message: its start line, its fields in the order and spelling in which they came, its body."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.line, *lines = head[:-4].decode("latin-1").split("\r\n")
        self.fields = [(name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines)]
        self.body = b""

    @property
    def status(self) -> int | None:
        """An answer's status; None for a request."""
        return int(self.line.split(" ")[1]) if self.line.startswith("HTTP/") else None

    def all(self, name: str) -> list[str]:
        """Return every value of a field, whatever its spelling."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the first value of a field."""
        return next(iter(self.all(name)), default)

    @property
    def names(self) -> list[str]:
        """The names of the fields, as they are spelled."""
        return [name for name, _ in self.fields]

    def json(self) -> Any:
        """Return the body, read as JSON."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<{self.line!r} {self.fields} {len(self.body)} bytes of body>"


def message(first: str | bytes, *fields: str | bytes, body: bytes = b"") -> bytes:
    """Return the bytes of a message, exactly as its lines are given."""
    lines = (line.encode("latin-1") if isinstance(line, str) else line for line in (first, *fields, b"", b""))
    return b"\r\n".join(lines) + body


def request(line: str, *fields: str, host: str = "example.com", body: bytes = b"") -> bytes:
    """Return the bytes of a request. ``Host`` comes first; nothing else is added: ``fields`` are whole lines."""
    return message(f"{line} HTTP/1.1", f"Host: {host}", *fields, body=body)


def answer(status: str, *fields: str, body: bytes | None = b"") -> bytes:
    """Return the bytes of an answer, with the Content-Length of ``body``; None leaves both to ``fields``."""
    length = () if body is None else (f"Content-Length: {len(body)}",)
    return message(f"HTTP/1.1 {status}", *fields, *length, body=body or b"")


def chunks(*pieces: bytes) -> bytes:
    """Return a whole chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def handshake(target: str = "/live", *fields: str, host: str = "example.com", key: bytes = KEY) -> bytes:
    """Return the bytes of a WebSocket handshake."""
    upgrade = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key.decode()}")
    return request(f"GET {target}", *upgrade, "Sec-WebSocket-Version: 13", *fields, host=host)


def switching(*fields: str, key: bytes = KEY) -> bytes:
    """Return the bytes of the 101 that accepts a handshake."""
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}"
    return answer("101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", accept, *fields, body=None)
