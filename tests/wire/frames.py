"""WebSocket frames, built byte by byte (RFC 6455, section 5.2)."""

from __future__ import annotations

from collections.abc import Generator

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

MASK = b"\x0a\x0b\x0c\x0d"
"""The key of a client's frames, where the test does not care."""


class Frame:
    """One WebSocket frame: opcode, payload (unmasked), FIN, the three RSV bits as a number, and its own bytes."""

    def __init__(self, opcode: int, payload: bytes, fin: bool, rsv: int, raw: bytes) -> None:
        self.opcode, self.payload, self.fin, self.rsv, self.raw = opcode, payload, fin, rsv, raw

    def __repr__(self) -> str:
        return f"<frame {self.opcode:#x} fin={self.fin} rsv={self.rsv} {self.payload[:40]!r} ({len(self.payload)})>"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"") -> bytes:
    """Return the bytes of a WebSocket frame; ``mask``: the four bytes that a client's frame must have."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit, size = 0x80 if mask else 0, len(payload)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + (xor(payload, mask) if mask else payload)


def text_frame(text: str, *, mask: bytes = b"") -> bytes:
    """Return the bytes of a text message in one frame."""
    return frame(TEXT, text.encode(), mask=mask)


def close_frame(code: int, *, mask: bytes = b"") -> bytes:
    """Return the bytes of a close frame without a reason."""
    return frame(CLOSE, code.to_bytes(2, "big"), mask=mask)


def xor(data: bytes, mask: bytes) -> bytes:
    """Mask a payload, or unmask it."""
    key = mask * (len(data) // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(key[: len(data)], "big")).to_bytes(len(data), "big")


def read_parts() -> Generator[int, bytes, Frame]:
    """Read a frame without knowing how: yields how many bytes come next, is sent them, and returns the frame."""
    head = yield 2
    raw, size = head, head[1] & 0x7F
    if size >= 126:
        length = yield 2 if size == 126 else 8
        raw, size = raw + length, int.from_bytes(length, "big")
    mask = (yield 4) if head[1] & 0x80 else b""
    payload = (yield size) if size else b""
    unmasked = xor(payload, mask) if mask else payload
    return Frame(head[0] & 0x0F, unmasked, bool(head[0] & 0x80), head[0] >> 4 & 7, raw + mask + payload)
