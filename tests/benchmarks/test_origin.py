"""The origin: a true echo, however its bytes arrive."""

import asyncio
from typing import cast

import pytest

from benchmarks.origin import Echo, Http
from benchmarks.wire import BINARY, CLOSE, PATTERN, SMALL, frame, handshake, new_key, request


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False
        self.protocol: asyncio.BaseProtocol | None = None

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


def http() -> tuple[Http, Transport]:
    transport, protocol = Transport(), Http()
    protocol.connection_made(cast(asyncio.Transport, transport))
    return protocol, transport


def masked(payload: bytes, mask: bytes) -> bytes:
    whole = frame(BINARY, payload, masked=True)
    head = whole[: len(whole) - len(payload) - 4]
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@pytest.mark.parametrize("mask", [bytes(4), b"\x01\x80\xff\x10"])
@pytest.mark.parametrize("step", [1, 3, 100_000])
def test_frames_come_back_as_they_were_however_they_are_cut(mask: bytes, step: int) -> None:
    payloads = [b"a", b"", SMALL[:125], SMALL[:126], SMALL, PATTERN[:70_000]]
    sent = b"".join(masked(payload, mask) for payload in payloads)
    transport = Transport()
    echo = Echo(cast(asyncio.Transport, transport), is_pushed_to=False)
    for at in range(0, len(sent), step):
        echo.data_received(sent[at : at + step])
    assert transport.written == b"".join(frame(BINARY, payload, masked=False) for payload in payloads)


def test_a_close_is_answered_and_ends_the_connection() -> None:
    transport = Transport()
    Echo(cast(asyncio.Transport, transport), is_pushed_to=False).data_received(frame(CLOSE, b"\x03\xe8", masked=True))
    assert transport.written == frame(CLOSE, b"\x03\xe8", masked=False)
    assert transport.is_closed


def test_a_handshake_may_have_a_frame_behind_it() -> None:
    protocol, transport = http()
    protocol.data_received(handshake("/ws", host="h", key=new_key()) + frame(BINARY, b"early", masked=True))
    head, _, rest = transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ") and b"Sec-WebSocket-Accept: " in head
    assert rest == frame(BINARY, b"early", masked=False)
    assert isinstance(transport.protocol, Echo)


def test_requests_may_come_in_pieces_and_together() -> None:
    protocol, transport = http()
    two = request("/", host="h") * 2
    for at in range(0, len(two), 500):
        protocol.data_received(two[at : at + 500])
    assert transport.written.count(SMALL) == 2


def test_a_large_body_is_the_pattern_and_waits_for_its_reader() -> None:
    protocol, transport = http()
    protocol.pause_writing()
    protocol.data_received(request("/bytes/600000", host="h"))
    assert len(transport.written) < 1000
    protocol.resume_writing()
    assert transport.written.partition(b"\r\n\r\n")[2] == (PATTERN * 3)[:600_000]


@pytest.mark.parametrize(("body", "counted"), [(PATTERN[:9000], b"9000"), (b"x" * 9000, b"0")])
def test_an_upload_counts_as_far_as_it_is_right(body: bytes, counted: bytes) -> None:
    protocol, transport = http()
    protocol.data_received(request("/sink", host="h", length=len(body)) + body[:10])
    protocol.data_received(body[10:] + request("/", host="h"))
    assert transport.written.split(b"\r\n\r\n")[1].startswith(counted + b"HTTP/1.1 200 ")
    assert transport.written.endswith(SMALL)
