"""Splitting what a client sends at the ends of frames (RFC 6455, section 5.2), into pieces of bounded cost.

A WebSocket library works through everything that it is given before another connection has a turn. What that costs
depends on the number of frames, and on what compressed ones inflate to, much more than on the number of bytes.
"""

from __future__ import annotations

from ws_service.websocket.frame_format import (
    COMPRESSED,
    CONTINUATION,
    CONTROL,
    FINAL,
    MASKED,
    header_size,
    payload_size,
)

INFLATES = 16
"""Bytes of a compressed frame that count as much as a whole small frame. Deflate grows by 1032 at the most, so 4 KiB of
it are 4 MiB at the most, which take zlib about as long as a library takes for 256 empty frames: a few milliseconds."""


class FrameSplitter:
    """Splits one client's stream into pieces of bounded cost.

    ``at_boundary`` tells whether the next byte begins a frame.
    """

    __slots__ = ("_header", "_is_compressed", "_payload")

    def __init__(self) -> None:
        self._header = b""  # the beginning of a header whose rest has not come
        self._payload = 0  # bytes of the current frame that have not come
        self._is_compressed = False  # the message under way

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte begins a frame."""
        return not self._payload and not self._header

    def is_one(self, data: bytes) -> bool:
        """Tell whether ``data`` is one whole message and nothing else, and not a large compressed one.

        Then it need not be followed.
        """
        size = len(data)
        if size < 6 or self._payload or self._header or not data[0] & FINAL:
            return False
        if size < 132:
            return data[1] == MASKED | (size - 6)
        return data[1] == MASKED | 126 and not data[0] & COMPRESSED and int.from_bytes(data[2:4], "big") == size - 8

    def split(self, data: bytes, budget: int) -> tuple[int, int]:
        """Follow ``data``; return where the piece at its beginning ends, and what is left of the budget.

        budget: frames that may begin in the piece. A compressed frame counts
            for more, by its size. The payload of a frame that has begun is
            taken whole, so the end moves whenever there is budget.
        """
        position, size = 0, len(data)
        while position < size:
            if self._payload:
                step = min(self._payload, size - position)
                self._payload -= step
                position += step
                continue
            if budget <= 0:
                break
            held = len(self._header)
            header = self._header + data[position : position + 14 - held]
            length = header_size(header)
            if len(header) < length:
                self._header = header
                return size, budget
            self._header = b""
            position += length - held
            budget -= self._begin(header)
        return position, budget

    def _begin(self, header: bytes) -> int:
        """Note a frame that begins; return what it counts."""
        first = header[0]
        self._payload = length = payload_size(header)
        if first & CONTROL:
            return 1
        if first & 0x0F != CONTINUATION:
            self._is_compressed = bool(first & COMPRESSED)
        return 1 + length // INFLATES if self._is_compressed else 1
