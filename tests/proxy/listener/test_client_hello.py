"""Where a ClientHello ends, however its records are cut, and which ones are taken."""

from __future__ import annotations

import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.listener.client_hello import MAX_HELLO, HelloError, needed


def record(payload: bytes, kind: int = 22) -> bytes:
    return bytes((kind, 3, 1)) + len(payload).to_bytes(2, "big") + payload


def hello(size: int) -> bytes:
    """Return a message of so many bytes that says that it is a ClientHello."""
    return b"\1" + (size - 4).to_bytes(3, "big") + bytes(size - 4)


def real() -> bytes:
    """Return the ClientHello of Python's own client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def read(stream: bytes) -> int:
    """Read a stream as a door does: never more than is needed. Return where the ClientHello ends."""
    have = 1
    for _ in range(100):
        want = needed(stream[:have])
        if want <= have:
            return have
        assert have < want <= len(stream), "it waits for what does not come"
        have = want
    raise AssertionError("it never ends")


def test_a_real_one_ends_with_its_record() -> None:
    data = real()
    assert read(data) == len(data)
    assert read(data + b"early data, or anything else") == len(data)


@pytest.mark.parametrize("count", range(9))
def test_its_size_is_known_from_nine_bytes(count: int) -> None:
    assert needed(record(hello(517))[:count]) > count


@given(st.integers(4, MAX_HELLO), st.lists(st.integers(1, MAX_HELLO), max_size=7))
def test_it_may_be_cut_into_a_few_records(size: int, cuts: list[int]) -> None:
    message = hello(size)
    at = sorted({0, size, *(cut for cut in cuts if cut < size)})
    stream = b"".join(record(message[a:b]) for a, b in pairwise(at))
    assert read(stream + record(b"more")) == len(stream)
    assert all(needed(stream[:count]) > count for count in range(0, len(stream), 97))


def test_in_many_tiny_records_it_is_refused() -> None:
    stream = b"".join(record(bytes((byte,))) for byte in hello(9))
    with pytest.raises(HelloError, match="more than 8 records"):
        read(stream)


@pytest.mark.parametrize("cuts", [(), (1,), (2, 3), (4,)])
def test_too_large_a_one_is_refused_before_it_has_come(cuts: tuple[int, ...]) -> None:
    for size in (MAX_HELLO + 1, 130_000, (1 << 24) + 3):
        beginning = b"\1" + (size - 4).to_bytes(3, "big")
        at = (0, *cuts, 4)
        stream = b"".join(record(beginning[a:b]) for a, b in pairwise(at) if a < b)
        with pytest.raises(HelloError, match=f"has {size} bytes"):
            read(stream)
    with pytest.raises(HelloError, match="has 16385 bytes"):
        needed(record(hello(MAX_HELLO + 1)[:MAX_HELLO])[:9])


@pytest.mark.parametrize(
    "data",
    [
        record(b"\2\0\0\0"),  # a ServerHello
        record(b"garbage"),
        record(b"\1\0", kind=21),
        record(b""),
        b"\x16\x03\x01\xff\xff\1",
        b"\x16\x02\x01\x00\x05\1",
        record(b"\1\0") + record(b"\0\x20", kind=23),
    ],
)
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    with pytest.raises(HelloError):
        read(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_waited_for(data: bytes) -> None:
    try:
        assert needed(b"\x16" + data) > 0
    except HelloError:
        pass
