"""What a WebSocket frame looks like (RFC 6455, section 5.2): its header, the close frame, and the codes in it.

The gateway reads frames too, and imports this; so it is the standard library alone, and touches no socket.
"""

from __future__ import annotations

from enum import IntEnum

FINAL = 0x80
"""In the first byte: the last frame of its message."""

COMPRESSED = 0x40
"""In the first byte: the message is compressed (RFC 7692, section 6)."""

CONTROL = 0x8
"""In the opcode: a control frame."""

CONTINUATION, TEXT, CLOSE = 0x0, 0x1, 0x8
"""Opcodes."""

MAX_REASON = 123
"""Bytes of the reason in a close frame: a control frame has 125 at most, two of them the code (section 5.5.1)."""

MASKED = 0x80
"""In the second byte: the payload is masked, and the key ends the header."""

ZERO_MASK = b"\0\0\0\0"


class CloseCode(IntEnum):
    """Status codes of close frames (RFC 6455, section 7.4.1, and the IANA registry) that these programs write or log.

    1001, 1012 and 1013 tell a page's code to come back. Dash's browser worker does not come back after 1000 and 4001,
    so no program here closes with those on its own account (docs/decisions/013-close-codes.md).
    """

    GOING_AWAY = 1001
    NO_STATUS = 1005
    """Never on the wire: the close frame carries no code."""
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


def header_size(header: bytes) -> int:
    """Return how many bytes a header takes, of which ``header`` has the first; 2 where it has less than two."""
    if len(header) < 2:
        return 2
    length = header[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if header[1] & MASKED else 0)


def payload_size(header: bytes) -> int:
    """Return how many bytes of payload a complete header announces."""
    length = header[1] & 0x7F
    if length == 126:
        return int.from_bytes(header[2:4], "big")
    if length == 127:
        return int.from_bytes(header[2:10], "big")
    return length


def text_frame(payload: bytes) -> bytes:
    """Return a whole text message as a server writes it: one frame, unmasked."""
    size = len(payload)
    if size < 126:
        header = bytes((FINAL | TEXT, size))
    elif size < 1 << 16:
        header = bytes((FINAL | TEXT, 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((FINAL | TEXT, 127)) + size.to_bytes(8, "big")
    return header + payload


def close_frame(code: int, reason: str = "", *, masked: bool) -> bytes:
    """Return a close frame. Raises ValueError when ``reason`` is longer than ``MAX_REASON`` bytes.

    masked: True towards a server, as RFC 6455, section 5.1, demands of a client. The key is zero, which is legal: it
    protects against scripts that choose the payload, and no script has chosen this one.
    """
    payload = code.to_bytes(2, "big") + reason.encode()
    if len(payload) > 2 + MAX_REASON:
        raise ValueError("a control frame has at most 125 bytes of payload")
    first = FINAL | CLOSE
    if masked:
        return bytes((first, MASKED | len(payload))) + ZERO_MASK + payload
    return bytes((first, len(payload))) + payload
