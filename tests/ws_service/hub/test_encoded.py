"""One publication in its forms, each made once."""

from __future__ import annotations

from ws_service.hub.encoded import Encoded
from ws_service.hub.topics import SlowPolicy

PUSH, DATA = b'{"push":{"channel":"a","pub":{"data":1}}}', b"1"


def test_each_form_is_made_once() -> None:
    encoded = Encoded("a", PUSH, DATA, 0, SlowPolicy.LATEST)
    assert encoded.frame is encoded.frame
    assert encoded.frame == bytes((0x81, len(PUSH))) + PUSH
    assert encoded.raw_frame == b"\x81\x011"
    assert encoded.event == b'data: {"channel":"a","pub":{"data":1}}\n\n'
    assert encoded.raw_event == b"data: 1\n\n"
