"""The pure part of the hub's WebSocket: handshakes answered, frames in, messages out."""

from __future__ import annotations

import pytest

from tests.wire.frames import CLOSE, MASK, PING, PONG, TEXT, close_frame, frame
from tests.ws_service.adopting import head, text_frame
from ws_service.hub.incoming import Incoming, answer_handshake


class Owner:
    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.written = b""
        self.is_finished = False

    def take(self, message: bytes) -> None:
        self.taken.append(message)

    def write(self, data: bytes) -> None:
        self.written += data

    def finish(self) -> None:
        self.is_finished = True


def test_a_handshake_is_answered_as_the_rfc_says() -> None:
    answer = answer_handshake(head("/connection/websocket"))
    assert answer is not None and answer.request is not None
    assert answer.status == 101
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer.response
    assert answer.request.path == "/connection/websocket"


@pytest.mark.parametrize("offered", ["centrifuge-protobuf", "x, y", ""])
def test_a_protocol_that_is_not_spoken_is_not_chosen(offered: str) -> None:
    answer = answer_handshake(head("/connection/websocket", f"Sec-WebSocket-Protocol: {offered}"))
    assert answer is not None and answer.status == 101
    assert b"Sec-WebSocket-Protocol" not in answer.response


def test_what_is_no_http_is_not_answered_here() -> None:
    assert answer_handshake(b"\x16\x03\x01\r\n\r\n") is None


def test_bytes_in_any_pieces_are_messages() -> None:
    owner = Owner()
    incoming = Incoming(owner, 1000)
    stream = text_frame("one") + frame(TEXT, b"tw", fin=False, mask=MASK) + frame(PING, b"?", mask=MASK)
    stream += frame(0, b"o", mask=MASK) + text_frame("")
    for position in range(len(stream)):
        incoming.data_received(stream[position : position + 1])
    assert owner.taken == [b"one", b"two", b""]
    assert owner.written == frame(PONG, b"?")
    assert incoming.frames == []


def test_a_close_is_answered_and_what_follows_is_nothing() -> None:
    owner = Owner()
    incoming = Incoming(owner, 1000)
    incoming.data_received(close_frame(1000, mask=MASK) + text_frame("late"))
    incoming.data_received(text_frame("later"))
    assert owner.written == close_frame(1000)
    assert owner.is_finished
    assert owner.taken == []


def test_our_close_is_written_once_and_the_answer_is_the_end() -> None:
    owner = Owner()
    incoming = Incoming(owner, 1000)
    assert incoming.close(3001, "shutdown")
    assert not incoming.close(3001, "shutdown")
    assert owner.written == frame(CLOSE, b"\x0b\xb9shutdown")
    assert not owner.is_finished
    incoming.data_received(close_frame(3001, mask=MASK))
    assert owner.is_finished


@pytest.mark.parametrize("broken", [frame(2, b"x", mask=MASK), frame(TEXT, b"\xff", mask=MASK)])
def test_nothing_is_taken_after_what_has_failed_the_connection(broken: bytes) -> None:
    owner = Owner()
    Incoming(owner, 1000).data_received(broken + text_frame("a command") + frame(2, b"y", mask=MASK))
    assert owner.taken == [] and owner.is_finished
