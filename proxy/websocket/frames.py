"""Counting WebSocket frames in a stream of bytes (RFC 6455, section 5.2) without copying or unmasking them.

The tunnel passes bytes on as they come. It needs to know where a frame ends, because a close frame in the middle of
another frame would be part of its payload, and which code a close frame carries, for the log.
"""

from __future__ import annotations

import re

from ws_service.websocket.frame_format import CLOSE, MASKED, ZERO_MASK, header_size, payload_size
from ws_service.websocket.frame_format import CloseCode as CloseCode
from ws_service.websocket.frame_format import close_frame as close_frame

_SIZES = tuple((n & 0x7F if n & 0x7F < 126 else 2) + (6 if n & MASKED else 2) for n in range(256))
"""By a frame's second byte: the size of the whole frame, or of its header where the size follows in 16 bits."""


def _short_frames() -> re.Pattern[bytes]:
    """Return the expression for any number of whole short frames, close frames left out.

    A length of 7 bits says the size; it is also found where it is written in 16 or 64 bits, which RFC 6455 forbids and
    a hostile client does. Short ones come first: to pass an alternative takes 3 ns.
    """
    sizes = []
    for n in range(126):
        for bit, mask in ((MASKED, 4), (0, 0)):
            sizes.append(re.escape(bytes((bit | n,))) + b".{%d}" % (n + mask))
            if n == 7:
                for form, length in ((126, 2), (127, 8)):
                    longer = b"|".join(re.escape(n.to_bytes(length, "big")) + b".{%d}" % (n + mask) for n in range(126))
                    sizes.append(re.escape(bytes((bit | form,))) + b"(?:%b)" % longer)
    closes = b"".join(re.escape(bytes((n | CLOSE,))) for n in range(0, 256, 16))
    # Possessive: what it took it never gives back, so it is one pass.
    return re.compile(rb"(?s)(?:[^%b](?:%b))*+" % (closes, b"|".join(sizes)))


_SHORT_FRAMES = _short_frames()
"""Costs 20 to 300 ns for a frame. Interpreted code takes 1 us, so a client that sends nothing but empty frames would
stop all other traffic (issue 9)."""


class FrameCounter:
    """Follows one direction of a WebSocket connection.

    ``close_code`` is the code of the first close frame: None before, 1005 for
    a close frame that carries none (RFC 6455, 7.1.5). ``at_boundary`` says
    whether the next byte begins a frame; after a close frame every byte does.
    """

    __slots__ = ("_close_bytes", "_header", "_mask", "_payload", "at_boundary", "close_code")

    def __init__(self) -> None:
        self._header = b""  # an unfinished frame header
        self._payload = 0  # bytes of the current frame's payload still to come
        self._close_bytes: bytes | None = None  # the code of the close frame being read
        self._mask = ZERO_MASK
        self.close_code: int | None = None
        self.at_boundary = True

    def feed(self, data: bytes) -> int:
        """Follow ``data``; return the offset just after the last frame that ends in it, or -1 if none does."""
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
                length = header_size(header)
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
        self._payload = size = payload_size(header)
        if header[0] & 0x0F == CLOSE and self.close_code is None:
            self._mask = header[length - 4 : length] if header[1] & MASKED else ZERO_MASK
            self._close_bytes = b"" if size >= 2 else None
            if size < 2:
                self.close_code = CloseCode.NO_STATUS

    def _collect(self, piece: bytes) -> None:
        assert self._close_bytes is not None
        self._close_bytes += piece[: 2 - len(self._close_bytes)]
        if len(self._close_bytes) == 2:
            first, second = (byte ^ mask for byte, mask in zip(self._close_bytes, self._mask, strict=False))
            self._close_bytes = None
            self.close_code = first << 8 | second


def is_one_frame(data: bytes, size: int) -> bool:
    """Tell whether ``data``, ``size`` bytes that begin a frame, are that frame and no more, and not a close frame.

    False where that takes longer to tell. Nearly everything that passes through a tunnel is one small frame.
    """
    if size < 4 or data[0] & 0x0F == CLOSE:
        return False
    second = data[1]
    if second & 0x7F < 126:
        return size == _SIZES[second]
    return second & 0x7F == 126 and size == _SIZES[second] + (data[2] << 8 | data[3])
