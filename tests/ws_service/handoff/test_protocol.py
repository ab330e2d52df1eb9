"""The messages of the hand-off: there and back, and nothing but one error for whatever else arrives."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ws_service.handoff.protocol import (
    KINDS,
    MAX_HEAD,
    MAX_MESSAGE,
    VERSION,
    Adopted,
    Closing,
    Ended,
    Ending,
    Hello,
    Live,
    Message,
    Open,
    Refused,
    Socket,
    WireError,
    decode,
    encode,
)

SOCKET = Socket("a1", "203.0.113.7", "/live?x=1", "example.com", "websocket", 1.5)

texts = st.text(st.characters(codec="utf-8"), max_size=300)
times = st.floats(0, 1e11, exclude_max=True)
counts = st.none() | st.integers(0, (1 << 64) - 2)
sockets = st.builds(Socket, texts, texts, texts, texts, texts, times)
codes = st.integers(0, 0xFFFF)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, st.integers(0, 1 << 40)),
    st.builds(Live, sockets),
    st.builds(Open, sockets, st.booleans(), st.binary(max_size=2000), st.binary(max_size=2000), times, times),
    st.builds(Adopted, texts),
    st.builds(Refused, texts, texts),
    st.builds(
        Ended,
        sockets,
        times,
        codes,
        counts,
        counts,
        st.none() | st.integers(1, 0xFFFF),
        st.sampled_from(Ending),
    ),
    st.just(Closing()),
)


@given(messages)
def test_every_message_comes_back_as_it_went(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=500))
def test_whatever_arrives_is_a_message_or_the_one_error(data: bytes) -> None:
    for bytes_ in (data, bytes((VERSION,)) + data):
        try:
            message = decode(bytes_)
        except WireError:
            continue
        assert encode(message) == bytes_, "there is one way to say it"


@given(messages, st.data())
def test_a_message_that_is_cut_or_continued_is_none(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    with pytest.raises(WireError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(WireError, match="something follows its end"):
        decode(whole + b"\0")


@given(messages, st.data())
def test_a_message_with_a_wrong_byte_raises_nothing_else(message: Message, data: st.DataObject) -> None:
    whole = bytearray(encode(message))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(whole))
    except WireError:
        pass


def test_the_layout_is_the_documented_one() -> None:
    """Byte by byte, because a peer of another release reads it."""
    text = lambda value: struct.pack(">H", len(value)) + value  # noqa: E731
    about = text(b"a1") + text(b"203.0.113.7") + text(b"/live?x=1") + text(b"example.com") + text(b"websocket")
    about += struct.pack(">d", 1.5)
    assert encode(Hello(3)) == b"\x02\x01" + struct.pack(">Q", 3)
    assert encode(Live(SOCKET)) == b"\x02\x02" + about
    assert encode(Open(SOCKET, True, b"GET", b"xy", 15.0, 60.0)) == (
        b"\x02\x03" + about + b"\x01\0\0\0\x03GET\0\0\0\x02xy" + struct.pack(">dd", 15.0, 60.0)
    )
    assert encode(Adopted("a1")) == b"\x02\x04\0\x02a1"
    assert encode(Refused("a1", "no")) == b"\x02\x05\0\x02a1\0\x02no"
    assert encode(Ended(SOCKET, 2.0, 101, 7, None, 1001, Ending.SERVICE)) == (
        b"\x02\x06" + about + struct.pack(">dHQQHB", 2.0, 101, 7, (1 << 64) - 1, 1001, 2)
    )
    assert encode(Closing()) == b"\x02\x07"
    assert set(KINDS) == {1, 2, 3, 4, 5, 6, 7}


def test_another_version_is_named_with_ours() -> None:
    with pytest.raises(WireError, match="it is in version 1 of the protocol, and this is version 2"):
        decode(b"\x01" + encode(Hello())[1:])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends too early"),
        (b"\x02", "ends too early"),
        (b"\x02\x63", "no kind 99"),
        (b"\x02\x04\0\x01\xff", "not UTF-8"),
        (b"\x02\x02" + b"\0\0" * 5 + struct.pack(">d", float("nan")), "a time is none"),
        (b"\x02\x02" + b"\0\0" * 5 + struct.pack(">d", 1e300), "a time is none"),
        (b"\x02\x02" + b"\0\0" * 5 + struct.pack(">d", -1.0), "a time is none"),
        (b"\x02\x03" + b"\0\0" * 5 + bytes(8) + b"\x02" + bytes(8), "a flag is neither"),
        (encode(Ended(SOCKET, 1, 101, 1, 1, None, Ending.RESET))[:-1] + b"\x09", "an ending is none"),
        (b"\x02\x07" + bytes(MAX_MESSAGE), "too large"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        decode(data)


def test_the_largest_head_fits_beside_the_longest_target_that_the_gateway_reads() -> None:
    long = Socket("a" * 20, "c" * 39, "/" * 16384, "h" * 262, "websocket", 1.0)
    assert len(encode(Open(long, False, bytes(MAX_HEAD), b"", 15, 60))) < MAX_MESSAGE


def test_what_is_too_large_is_not_sent() -> None:
    with pytest.raises(WireError, match="too large"):
        encode(Open(SOCKET, False, bytes(MAX_MESSAGE), b"", 15, 60))
    with pytest.raises(WireError, match="longer than 64 KiB"):
        encode(Adopted("x" * 65536))
