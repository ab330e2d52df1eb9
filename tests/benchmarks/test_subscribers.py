"""Subscribers that count: what is not what was sent does not count."""

from typing import cast

import pytest

from benchmarks.dialects import Plain
from benchmarks.load import Socket
from benchmarks.processes import Failed
from benchmarks.subscribers import FIRST, Audience, Subscriber, publication
from benchmarks.wire import CLOSE, TEXT, frame


class Told:
    """In place of a socket."""

    def __init__(self, audience: Audience) -> None:
        self._audience = audience

    def wrong(self, what: str) -> None:
        self._audience.counter.fault = what


async def subscriber() -> tuple[Audience, Subscriber, Socket]:
    audience = Audience(200)
    return audience, Subscriber(audience, Plain(), "/ws", 9), cast(Socket, Told(audience))


def test_a_publication_has_its_size() -> None:
    assert len(publication(FIRST, 200)) == 200


async def test_deliveries_are_counted_however_the_bytes_come() -> None:
    audience, one, socket = await subscriber()
    sent = b"".join(frame(TEXT, audience.publishes(number), masked=False) for number in (FIRST, FIRST + 1))
    for at in range(0, len(sent), 7):
        one._on_data(socket, sent[at : at + 7])
    assert (audience.delivered, one.got) == (2, {FIRST: 1, FIRST + 1: 1})
    audience.check()
    audience.reset()
    assert audience.delivered == 0


async def test_a_byte_that_was_not_sent_is_a_fault() -> None:
    audience, one, socket = await subscriber()
    one._on_data(socket, frame(TEXT, audience.publishes(FIRST).replace(b"xx", b"xy", 1), masked=False))
    with pytest.raises(Failed, match="not what was sent"):
        audience.check()


async def test_a_close_frame_is_a_fault() -> None:
    audience, one, socket = await subscriber()
    one._on_data(socket, frame(CLOSE, b"\x03\xe8", masked=False))
    with pytest.raises(Failed, match="kind 8"):
        audience.check()
