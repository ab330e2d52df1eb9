"""Counting WebSocket frames in a stream of bytes (RFC 6455, section 5.2) without copying or unmasking them.

The tunnel passes bytes on as they come. All that this room knows is where
a frame ends, which is what a polite goodbye needs (a close frame written
into the middle of another frame is noise), and which code a close frame
carries, which is what the log wants.
"""

from __future__ import annotations

import re

_CLOSE = 0x8
_MASKED = 0x80
_ZERO_MASK = b"\0\0\0\0"

_SIZES = tuple((n & 0x7F if n & 0x7F < 126 else 2) + (6 if n & _MASKED else 2) for n in range(256))
"""By a frame's second byte: the size of the whole frame, or of its header where the size follows in 16 bits."""


def _short_frames() -> re.Pattern[bytes]:
    """Return the expression for any number of whole short frames, close frames left out.

    A length of 7 bits says the size; it is also found where it is written in 16 or 64 bits, which RFC 6455 forbids and
    a hostile client does. Short ones come first: to pass an alternative takes 3 ns.
    """
    sizes = []
    for n in range(126):
        for bit, mask in ((_MASKED, 4), (0, 0)):
            sizes.append(re.escape(bytes((bit | n,))) + b".{%d}" % (n + mask))
            if n == 7:
                for form, length in ((126, 2), (127, 8)):
                    longer = b"|".join(re.escape(n.to_bytes(length, "big")) + b".{%d}" % (n + mask) for n in range(126))
                    sizes.append(re.escape(bytes((bit | form,))) + b"(?:%b)" % longer)
    closes = b"".join(re.escape(bytes((n | _CLOSE,))) for n in range(0, 256, 16))
    # Possessive: what it took it never gives back, so it is one pass.
    return re.compile(rb"(?s)(?:[^%b](?:%b))*+" % (closes, b"|".join(sizes)))


_SHORT_FRAMES = _short_frames()
"""Costs 20 to 300 ns for a frame. The interpreter takes 1 us, so that a client that sends nothing but empty frames
would stop everybody else's traffic (issue 9)."""


class FrameCounter:
    """Follows one direction of a WebSocket connection.

    ``close_code`` is the code of the first close frame: None before, 1005 for
    a close frame that carries none (RFC 6455, 7.1.5). ``at_boundary`` says
    whether the next byte begins a frame; behind a close frame every byte does.
    """

    __slots__ = ("_close_bytes", "_header", "_mask", "_payload", "at_boundary", "close_code")

    def __init__(self) -> None:
        self._header = b""  # an unfinished frame header
        self._payload = 0  # bytes of the current frame's payload still to come
        self._close_bytes: bytes | None = None  # the code of the close frame being read
        self._mask = _ZERO_MASK
        self.close_code: int | None = None
        self.at_boundary = True

    def feed(self, data: bytes) -> int:
        """Follow ``data``; return the offset just behind the last frame that ends in it, or -1 if none does."""
        size = len(data)
        if self.at_boundary and is_one_frame(data, size):
            return size
        last = self._follow(data, size)
        self.at_boundary = not self._payload and not self._header
        return last

    def _follow(self, data: bytes, size: int) -> int:
        position, last = 0, -1
        while position < size:
            if self.close_code is not None and not self._payload and not self._header:
                return size  # what follows a close frame is no frame (RFC 6455, section 5.5.1)
            if self._payload:
                step = min(self._payload, size - position)
                if self._close_bytes is not None:
                    self._collect(data[position : position + step])
                self._payload -= step
                position += step
            else:
                held = len(self._header)
                if not held and (run := _SHORT_FRAMES.match(data, position)) is not None and run.end() > position:
                    last = position = run.end()
                    continue
                header = (
                    self._header + data[position : position + 14 - held] if held else data[position : position + 14]
                )
                length = _header_size(header)
                if len(header) < length:
                    self._header = header
                    return last
                self._header = b""
                position += length - held
                self._begin(header, length)
            if not self._payload:
                last = position
        return last

    def _begin(self, header: bytes, length: int) -> None:
        masked = header[1] & _MASKED
        size = header[1] & 0x7F
        if size == 126:
            size = int.from_bytes(header[2:4], "big")
        elif size == 127:
            size = int.from_bytes(header[2:10], "big")
        self._payload = size
        if header[0] & 0x0F == _CLOSE and self.close_code is None:
            self._mask = header[length - 4 : length] if masked else _ZERO_MASK
            self._close_bytes = b"" if size >= 2 else None
            if size < 2:
                self.close_code = 1005

    def _collect(self, piece: bytes) -> None:
        assert self._close_bytes is not None
        self._close_bytes += piece[: 2 - len(self._close_bytes)]
        if len(self._close_bytes) == 2:
            first, second = (byte ^ mask for byte, mask in zip(self._close_bytes, self._mask, strict=False))
            self._close_bytes = None
            self.close_code = first << 8 | second


def is_one_frame(data: bytes, size: int) -> bool:
    """Tell whether ``data``, ``size`` bytes that begin a frame, are that frame and no more, and not a close frame.

    False where it takes more than a look to tell. Nearly everything that passes through a tunnel is one small frame.
    """
    if size < 4 or data[0] & 0x0F == _CLOSE:
        return False
    second = data[1]
    if second & 0x7F < 126:
        return size == _SIZES[second]
    return second & 0x7F == 126 and size == _SIZES[second] + (data[2] << 8 | data[3])


def close_frame(code: int, *, masked: bool) -> bytes:
    """Return a close frame with ``code`` and no reason.

    masked: True towards a server, as RFC 6455 5.1 demands of a client. The
    masking key is zero, which is legal: the key protects against scripts
    that choose the payload, and nobody chose this one.
    """
    body = code.to_bytes(2, "big")
    return b"\x88\x82" + _ZERO_MASK + body if masked else b"\x88\x02" + body


def _header_size(header: bytes) -> int:
    if len(header) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(header[1] & 0x7F, 0)
    return 2 + extended + (4 if header[1] & _MASKED else 0)
