"""Pieces of a client's stream: never in the way of a frame, never more than the budget, however they arrive."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.wire.frames import frame
from ws_service.websocket.frames import INFLATES, FrameSplitter

MASK = b"\x01\x02\x03\x04"

frames = st.builds(
    frame,
    st.sampled_from([0x0, 0x1, 0x2, 0x8, 0x9]),
    (st.integers(0, 300) | st.integers(65530, 65540)).map(bytes),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 4]),
    mask=st.sampled_from([MASK, b""]),
)


def pieces(splitter: FrameSplitter, data: bytes, budget: int) -> list[bytes]:
    cut = []
    while data:
        end, _ = splitter.split(data, budget)
        assert end > 0, "it always moves"
        cut.append(data[:end])
        data = data[end:]
    return cut


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=8), st.booleans())
def test_however_it_arrives_the_end_of_the_last_frame_is_a_boundary(
    made: list[bytes], sizes: list[int], is_coarse: bool
) -> None:
    stream, splitter = b"".join(made), FrameSplitter()
    position = 0
    for size in itertools.cycle([size * 3000 for size in sizes] if is_coarse else [size * 40 + 1 for size in sizes]):
        if position >= len(stream):
            break
        assert b"".join(pieces(splitter, stream[position : position + size], 3)) == stream[position : position + size]
        position += size
    assert splitter.at_boundary
    if made:
        splitter.split(made[0][:-1] or b"\x81", 1)
        assert not splitter.at_boundary


def test_a_piece_has_so_many_frames() -> None:
    tiny = frame(0x1, b"", mask=MASK)
    assert [len(piece) for piece in pieces(FrameSplitter(), tiny * 70, 32)] == [32 * 6, 32 * 6, 6 * 6]


def test_a_large_frame_is_one_piece() -> None:
    large = frame(0x2, bytes(100_000), mask=MASK)
    assert pieces(FrameSplitter(), large, 1) == [large]


def test_a_compressed_frame_counts_by_its_size_and_so_do_its_continuations() -> None:
    packed = frame(0x2, bytes(10 * INFLATES), fin=False, rsv=4, mask=MASK)
    more = frame(0x0, bytes(10 * INFLATES), mask=MASK)
    ping = frame(0x9, mask=MASK)
    splitter = FrameSplitter()
    assert splitter.split(packed + ping + more, 32) == (len(packed + ping + more), 32 - 11 - 1 - 11)
    assert splitter.split(packed + more, 10) == (len(packed), -1), "the next one waits for the next turn"


def test_one_message_need_not_be_followed() -> None:
    splitter = FrameSplitter()
    assert splitter.is_one(frame(0x1, b"x" * 125, mask=MASK))
    assert splitter.is_one(frame(0x1, b"", mask=MASK))
    assert splitter.is_one(frame(0x1, bytes(30_000), mask=MASK))
    for other in (
        frame(0x1, b"x" * 126, mask=MASK) + b"\x81",
        frame(0x1, b"x" * 126, rsv=4, mask=MASK),
        frame(0x1, bytes(70_000), mask=MASK),
        frame(0x1, b"x", mask=b""),
        frame(0x1, b"x", fin=False, mask=MASK),
        frame(0x1, b"", mask=MASK) * 2,
        frame(0x1, b"xy", mask=MASK)[:-1],
        b"\x81",
        b"",
    ):
        assert not splitter.is_one(other), other
    splitter.split(b"\x81", 1)
    assert not splitter.is_one(frame(0x1, b"x", mask=MASK))
