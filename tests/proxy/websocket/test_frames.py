"""Frame boundaries and close codes, whatever the network does to the stream."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.websocket.frames import FrameCounter, close_frame

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
KEY = b"\x11\x22\x33\x44"


@dataclass(frozen=True)
class Frame:
    """One frame as a sender would write it (RFC 6455, section 5.2). ``bits`` is the width of its length field."""

    opcode: int
    payload: bytes
    bits: int = 7
    mask: bytes | None = None
    final: bool = True

    @property
    def header(self) -> bytes:
        size = len(self.payload)
        first = bytes([self.opcode | (0x80 if self.final else 0)])
        flag = 0x80 if self.mask is not None else 0
        if self.bits == 7:
            length = bytes([flag | size])
        elif self.bits == 16:
            length = bytes([flag | 126]) + size.to_bytes(2, "big")
        else:
            length = bytes([flag | 127]) + size.to_bytes(8, "big")
        return first + length + (self.mask or b"")

    @property
    def wire(self) -> bytes:
        if self.mask is None:
            return self.header + self.payload
        key = self.mask
        return self.header + bytes(byte ^ key[i % 4] for i, byte in enumerate(self.payload))

    @property
    def code(self) -> int | None:
        """The close code that it carries; None for any other frame."""
        if self.opcode != CLOSE:
            return None
        return int.from_bytes(self.payload[:2], "big") if len(self.payload) >= 2 else 1005

    @property
    def code_end(self) -> int:
        """How many of its bytes must have passed before the code is known."""
        return len(self.header) + (2 if len(self.payload) >= 2 else 0)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    size = draw(st.one_of(st.integers(0, 8), st.sampled_from([125, 126, 127, 65535, 65536])))
    widths = [width for width, most in ((7, 125), (16, 65535), (64, 1 << 20)) if size <= most]
    return Frame(
        opcode=draw(st.sampled_from([0x0, TEXT, BINARY, CLOSE, PING, 0xA])),
        payload=(draw(st.binary(min_size=2, max_size=2)) + bytes(size))[:size],
        bits=draw(st.sampled_from(widths)),
        mask=draw(st.none() | st.binary(min_size=4, max_size=4)),
        final=draw(st.booleans()),
    )


def fed(counter: FrameCounter, *pieces: bytes) -> list[int]:
    return [counter.feed(piece) for piece in pieces]


@given(st.lists(frames(), max_size=6), st.lists(st.integers(0, 1 << 18), max_size=12), st.integers(0, 20))
def test_any_frames_cut_anywhere_give_the_same_boundaries_and_the_same_code(
    sent: list[Frame], places: list[int], missing: int
) -> None:
    """The model knows each frame's size because it wrote them; the counter has to find out.

    Behind a close frame there is nothing to find: what still comes is no frame, and each byte of it is an end.
    """
    closes = [number for number, frame in enumerate(sent) if frame.code is not None]
    behind = b"".join(frame.wire for frame in sent[closes[0] + 1 :]) if closes else b""
    sent = sent[: closes[0] + 1] if closes else sent
    stream = b"".join(frame.wire for frame in sent)
    ends, code, code_known = [0], None, len(stream) + 1
    for frame in sent:
        if frame.code is not None and code is None:
            code, code_known = frame.code, ends[-1] + frame.code_end
        ends.append(ends[-1] + len(frame.wire))
    ends += range(ends[-1] + 1, ends[-1] + len(behind) + 1)
    stream += behind
    stream = stream[: max(0, len(stream) - missing)]  # the last frame may be unfinished
    cuts = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})

    counter = FrameCounter()
    for start, end in pairwise(cuts):
        offset = counter.feed(stream[start:end])
        boundary = ends[bisect_right(ends, end) - 1]
        assert offset == (boundary - start if boundary > start else -1)
        assert counter.at_boundary is (end in ends)
        assert counter.close_code == (code if end >= code_known else None)


@pytest.mark.parametrize(
    ("size", "bits", "mask", "header"),
    [
        (0, 7, None, 2),
        (125, 7, None, 2),
        (126, 16, None, 4),
        (65535, 16, None, 4),
        (65536, 64, None, 10),
        (0, 7, KEY, 6),
        (125, 7, KEY, 6),
        (126, 16, KEY, 8),
        (65536, 64, KEY, 14),
    ],
)
def test_a_frame_of_any_length_is_followed_byte_by_byte(size: int, bits: int, mask: bytes | None, header: int) -> None:
    frame = Frame(BINARY, bytes(size), bits, mask)
    assert len(frame.header) == header
    counter = FrameCounter()
    body = frame.wire[header:]
    for byte in frame.header[:-1]:
        assert counter.feed(bytes([byte])) == -1
        assert not counter.at_boundary
    assert counter.feed(frame.header[-1:]) == (-1 if size else 1)
    if size:
        assert fed(counter, body[:-1], body[-1:]) == [-1, 1]
    assert counter.at_boundary


def test_a_length_field_wider_than_it_must_be_is_still_its_length() -> None:
    counter = FrameCounter()
    assert counter.feed(Frame(TEXT, b"hi", 64, KEY).wire) == 14 + 2
    assert counter.at_boundary


HOSTILE = {
    "empty": Frame(BINARY, b"", mask=bytes(4)),
    "empty and not masked": Frame(BINARY, b""),
    "one byte": Frame(TEXT, b"a", mask=KEY, final=False),
    "ping": Frame(PING, b"", mask=KEY),
    "length in 16 bits": Frame(BINARY, b"", 16),
    "length in 64 bits": Frame(BINARY, b"ab", 64, KEY),
    "middling": Frame(BINARY, bytes(30), mask=KEY),
    "close": Frame(CLOSE, b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_read_that_is_full_of_small_frames_is_followed_in_a_moment(name: str) -> None:
    """What one read of uvloop can hold. It took 27 to 94 ms when the interpreter followed each frame (issue 9, A13)."""
    wire = HOSTILE[name].wire
    data = wire * (256_000 // len(wire))
    took = []
    for _ in range(5):
        counter = FrameCounter()
        before = time.thread_time()
        assert counter.feed(data) == len(data)
        took.append(time.thread_time() - before)
    assert min(took) < 0.02


def test_a_frame_of_many_gigabytes_is_waited_for_and_nothing_is_held() -> None:
    counter = FrameCounter()
    assert counter.feed(b"\x82\x7f" + (1 << 40).to_bytes(8, "big")) == -1
    assert counter.feed(bytes(1 << 16)) == -1
    assert not counter.at_boundary


def test_the_offset_lies_behind_the_last_frame_that_ends_and_not_behind_the_first() -> None:
    first, second, third = Frame(TEXT, b"one").wire, Frame(TEXT, b"two").wire, Frame(TEXT, b"three").wire
    assert FrameCounter().feed(first + second + third[:3]) == len(first + second)


def test_a_stream_that_has_not_begun_is_at_a_boundary() -> None:
    counter = FrameCounter()
    assert counter.at_boundary
    assert counter.close_code is None


def test_a_fragment_ends_where_its_frame_ends() -> None:
    """A goodbye may stand between two fragments: a close is a control frame (RFC 6455, 5.4)."""
    wire = Frame(TEXT, b"half", final=False).wire
    assert FrameCounter().feed(wire) == len(wire)


@pytest.mark.parametrize("mask", [None, KEY, b"\0\0\0\0"])
@pytest.mark.parametrize("reason", [b"", b"going away"])
def test_a_close_code_is_read_behind_its_mask(mask: bytes | None, reason: bytes) -> None:
    counter = FrameCounter()
    counter.feed(Frame(CLOSE, (1001).to_bytes(2, "big") + reason, mask=mask).wire)
    assert counter.close_code == 1001


@pytest.mark.parametrize("mask", [None, KEY])
def test_a_close_code_may_come_byte_by_byte(mask: bytes | None) -> None:
    counter = FrameCounter()
    for byte in Frame(CLOSE, b"\x0f\xa1 because", mask=mask).wire:
        counter.feed(bytes([byte]))
    assert counter.close_code == 4001


@pytest.mark.parametrize("mask", [None, KEY])
@pytest.mark.parametrize("payload", [b"", b"\x03"])
def test_a_close_without_a_code_counts_as_1005(payload: bytes, mask: bytes | None) -> None:
    """A lone byte is a fault of its sender (RFC 6455, 5.5.1), but no code."""
    counter = FrameCounter()
    counter.feed(Frame(CLOSE, payload, mask=mask).wire)
    assert (counter.close_code, counter.at_boundary) == (1005, True)


def test_a_close_is_known_as_soon_as_its_code_is_there_and_the_first_one_counts() -> None:
    counter = FrameCounter()
    wire = Frame(CLOSE, b"\x03\xe9reason").wire
    counter.feed(wire[:4])
    assert counter.close_code == 1001
    counter.feed(wire[4:] + Frame(CLOSE, b"\x03\xe8").wire)
    assert counter.close_code == 1001


def test_data_that_looks_like_a_close_is_not_one() -> None:
    counter = FrameCounter()
    counter.feed(Frame(BINARY, close_frame(1000, masked=False) * 3).wire)
    assert counter.close_code is None


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("code", [1001, 1012, 1013])
def test_a_close_frame_of_the_gateway_is_a_whole_frame_with_its_code(code: int, masked: bool) -> None:
    wire = close_frame(code, masked=masked)
    assert wire == Frame(CLOSE, code.to_bytes(2, "big"), mask=bytes(4) if masked else None).wire
    counter = FrameCounter()
    assert counter.feed(wire) == len(wire)
    assert counter.close_code == code


def test_a_close_split_over_reads_is_a_boundary_only_at_its_end() -> None:
    wire = close_frame(1012, masked=True)
    for cut in range(1, len(wire)):
        counter = FrameCounter()
        assert counter.feed(wire[:cut]) == -1
        assert not counter.at_boundary
        assert counter.feed(wire[cut:]) == len(wire) - cut
        assert counter.close_code == 1012
