"""The chunked coding: what is in the chunks, where the body ends, what is refused, and what reading it costs."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http1.chunked import ChunkLimits, ChunkReader, ProtocolError

LIMITS = ChunkLimits(line=1024, framing=16384, trailers=4096, fields=16, refused=frozenset((b"host",)))
ANYTHING = ChunkLimits(line=65536, framing=None, trailers=65536, fields=512)


def read(data: bytes, limits: ChunkLimits = LIMITS, size: int = 1 << 20) -> tuple[bytes, bytes]:
    """Return a whole body and what comes after it; AssertionError where it has no end."""
    reader, body = ChunkReader(limits), list[bytes]()
    for start in range(0, len(data), size):
        end = reader.feed(data[start : start + size], body)
        if reader.is_whole:
            return b"".join(body), data[start + end :]
    raise AssertionError("the body has no end")


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 20])
@pytest.mark.parametrize(
    "data",
    [
        b"3\r\nabc\r\n0\r\n\r\n",
        b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        b"003\r\nabc\r\n000\r\n\r\n",
        b"0" * 1000 + b"3\r\nabc\r\n0\r\n\r\n",
        b"3;a\r\nabc\r\n0;b=c\r\n\r\n",
        b"3 ;a=b\r\nabc\r\n0\t;\tb\t=\tc\r\n\r\n",
        b'3; a="\t;\\"\xff" ;b\r\nabc\r\n0\r\n\r\n',
        b"3\r\nabc\r\n0\r\nA: b\r\nC:\r\n\r\n",
    ],
)
def test_a_body_is_what_is_in_its_chunks_and_ends_where_they_end(data: bytes, size: int) -> None:
    assert read(data + b"next", size=size) == (b"abc", b"next")


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b" 3", b"3 ", b"3\t", b"3;", b"3;=b", b"3;a=", b"3;a ", b"3;a=b ", b"3 a", b"3;a b", b"3;a=b c", b"0x3"),
        *(b'3;a="b', b'3;a="b" c', b"3;\x00", b"3;a\n", b"3;a\r\n b", b"+3", b"-3", b"1" + b"0" * 15, b"3,3", b"g"),
    ],
)
def test_what_the_grammar_does_not_know_is_refused(line: bytes) -> None:
    for size in (1, 1 << 20):
        with pytest.raises(ProtocolError):
            read(line + b"\r\nabc\r\n0\r\n\r\n", size=size)


def test_what_came_before_a_malformed_chunk_is_handed_out() -> None:
    body: list[bytes] = []
    with pytest.raises(ProtocolError):
        ChunkReader(LIMITS).feed(b"1\r\na\r\n2\r\nbc\r\nx\r\n", body)
    assert body == [b"a", b"bc"]


@pytest.mark.parametrize("begun", [b"G", b";", b" ", b"\r", b"1\r\na\r\nG"])
def test_a_line_that_begins_wrongly_is_not_waited_for(begun: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChunkReader(LIMITS).feed(begun, [])


def test_each_limit_holds_up_to_itself() -> None:
    assert read(b"3;" + b"a" * 1020 + b"\r\nabc\r\n0\r\n\r\n")[0] == b"abc"
    with pytest.raises(ProtocolError, match="too long"):
        read(b"3;" + b"a" * 1021 + b"\r\nabc\r\n0\r\n\r\n")
    assert read(b"0\r\n" + b"A: b\r\n" * 16 + b"\r\n") == (b"", b"")
    with pytest.raises(ProtocolError, match="too large"):
        read(b"0\r\n" + b"A: b\r\n" * 17 + b"\r\n")
    assert read(b"1\r\na\r\n" * 4096 + b"0\r\n\r\n")[0] == b"a" * 4096
    with pytest.raises(ProtocolError, match="framing"):
        read(b"1\r\na\r\n" * 4097 + b"0\r\n\r\n")


def test_what_is_refused_as_a_trailer_is_the_readers_to_say() -> None:
    for name in (b"Host", b"HOST", b"host"):
        with pytest.raises(ProtocolError, match="is no trailer"):
            read(b"0\r\n" + name + b": b\r\n\r\n")
    assert read(b"1\r\na\r\n0\r\nHost: b\r\nContent-Length: 9\r\n\r\n", ANYTHING) == (b"a", b"")


def test_small_chunks_are_no_fault_without_a_limit() -> None:
    assert read(b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n", ANYTHING)[0] == b"a" * 20_000


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.integers(1, 50), st.integers(0, 20))
def test_any_cut_of_any_body_is_read_the_same(pieces: list[bytes], size: int, zeros: int) -> None:
    data = b"".join(b"%b%x ; a\r\n%b\r\n" % (b"0" * zeros, len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert read(data + b"next", ANYTHING, size) == (b"".join(pieces), (data + b"next")[-4:])


HOSTILE = {
    "tiny chunks": b"1\r\na\r\n",
    "white space before nothing": b"1" + b"\t" * 60_000 + b"\r\n",
    "extensions with much white space": b"1" + b" ; a" * 10_000 + b"\r\na\r\n",
    "names and white space": b"1;a" + b" " * 30_000 + b"=" + b" " * 30_000 + b"b\r\na\r\n",
    "zeros": b"0" * 60_000 + b"1\r\na\r\n",
    "quotes": b'1;a="' + b'\\"' * 20_000 + b'"\r\na\r\n',
    "an open quote": b'1;a="' + b'\\"' * 20_000 + b"\r\n",
}


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_bytes_take_twice_the_time(name: str, size: int) -> None:
    """A reader that looks again at what it has seen takes four times as long for twice the bytes."""
    count = 30_000 if size == 1 else 400_000

    def seconds(length: int) -> float:
        line = HOSTILE[name]
        data = (line * (length // len(line) + 1))[:length]
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        best = 9.0
        for _ in range(3):
            reader = ChunkReader(ChunkLimits(line=1 << 20, framing=None, trailers=1 << 20, fields=1 << 20))
            before = time.process_time()
            try:
                for piece in pieces:
                    reader.feed(piece, [])
            except ProtocolError:
                pass
            best = min(best, time.process_time() - before)
        return best

    assert seconds(2 * count) < 3 * seconds(count) + 0.005
