"""Headers of frames, and close frames, byte by byte."""

from __future__ import annotations

import pytest

from tests.wire.frames import frame
from ws_service.websocket.frame_format import CloseCode, close_frame, header_size, payload_size, text_frame


@pytest.mark.parametrize("mask", [b"", b"\x01\x02\x03\x04"])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_header_tells_its_own_size_and_that_of_the_payload(size: int, mask: bytes) -> None:
    wire = frame(0x2, bytes(size), mask=mask)
    header = wire[:14]
    assert header_size(header) + size == len(wire)
    assert payload_size(header) == size


def test_a_header_of_which_too_little_has_come_takes_two_bytes_at_least() -> None:
    assert header_size(b"") == header_size(b"\x82") == 2


def test_a_close_frame_carries_its_code_and_its_reason() -> None:
    wire = close_frame(CloseCode.POLICY_VIOLATION, "unfinished message", masked=False)
    assert wire == frame(0x8, (1008).to_bytes(2, "big") + b"unfinished message", mask=b"")


def test_a_close_frame_to_a_server_is_masked() -> None:
    assert close_frame(CloseCode.SERVICE_RESTART, masked=True) == b"\x88\x82\0\0\0\0\x03\xf4"


def test_a_reason_that_fits_into_no_control_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="125"):
        close_frame(1008, "x" * 124, masked=False)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_text_frame_is_one_unmasked_frame(size: int) -> None:
    assert text_frame(b"a" * size) == frame(0x1, b"a" * size)
