"""Where frames end in what a client sends (RFC 6455, section 5.2), so that it can be read in pieces of bounded cost.

A WebSocket library works through everything that it is given before anybody
else has a turn. What that costs depends on the number of frames, and on
what compressed ones inflate to, much more than on the number of bytes.
"""

from __future__ import annotations

_CONTINUATION, _CONTROL = 0x0, 0x8
_COMPRESSED = 0x40
_MASKED = 0x80
_FINAL = 0x80

INFLATES = 16
"""Bytes of a compressed frame that count as much as a whole small frame. Deflate grows by 1032 at the most, so 4 KiB of
it are 4 MiB at the most, which take zlib about as long as a library takes for 256 empty frames: a few milliseconds."""


class FrameCutter:
    """Cuts one client's stream into pieces of bounded cost.

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
        if size < 6 or self._payload or self._header or not data[0] & _FINAL:
            return False
        if size < 132:
            return data[1] == _MASKED | (size - 6)
        return data[1] == _MASKED | 126 and not data[0] & _COMPRESSED and int.from_bytes(data[2:4], "big") == size - 8

    def cut(self, data: bytes, budget: int) -> tuple[int, int]:
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
            length = _header_size(header)
            if len(header) < length:
                self._header = header
                return size, budget
            self._header = b""
            position += length - held
            budget -= self._begin(header)
        return position, budget

    def _begin(self, header: bytes) -> int:
        """Note a frame that begins; return what it counts."""
        first, second = header[0], header[1]
        length = second & 0x7F
        if length == 126:
            length = int.from_bytes(header[2:4], "big")
        elif length == 127:
            length = int.from_bytes(header[2:10], "big")
        self._payload = length
        if first & _CONTROL:
            return 1
        if first & 0x0F != _CONTINUATION:
            self._is_compressed = bool(first & _COMPRESSED)
        return 1 + length // INFLATES if self._is_compressed else 1


def _header_size(header: bytes) -> int:
    """Return how long a header is; of one with less than two bytes, that it takes two at the least."""
    if len(header) < 2:
        return 2
    length = header[1] & 0x7F
    return 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if header[1] & _MASKED else 0)
