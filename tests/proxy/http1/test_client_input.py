"""What comes too early is held, and reading is paused while anything is against it."""

from __future__ import annotations

from typing import Any, cast

from proxy.http1.client_input import ClientInput, Pause


class Wire:
    is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class Buffered:
    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def count(self, reason: str, size: int) -> None:
        self.sizes.setdefault(reason, size)

    def release(self, reason: str) -> None:
        self.sizes.pop(reason, None)


def input_on(wire: Wire, buffered: Buffered) -> ClientInput:
    received = ClientInput(cast(Any, buffered), limit=10)
    received.transport = cast(Any, wire)
    return received


def test_reading_is_paused_while_as_much_is_held_as_may_be_and_that_is_counted() -> None:
    wire, buffered = Wire(), Buffered()
    received = input_on(wire, buffered)
    received.hold(b"x" * 9)
    assert (wire.is_reading, buffered.sizes) == (True, {})
    received.hold(b"xy")
    received.hold(b"z")
    assert (wire.is_reading, buffered.sizes) == (False, {"unread": 11})
    received.used(2)
    assert (wire.is_reading, len(received.held)) == (False, 10)
    received.used(1)
    assert (wire.is_reading, buffered.sizes, bytes(received.held)) == (True, {}, b"x" * 6 + b"xyz")


def test_it_goes_on_when_nothing_is_against_it_any_more() -> None:
    wire, buffered = Wire(), Buffered()
    received = input_on(wire, buffered)
    received.pause(Pause.LENT)
    assert (wire.is_reading, buffered.sizes) == (False, {})
    received.pause(Pause.BODY)
    received.resume(Pause.LENT)
    received.resume()
    assert not wire.is_reading
    assert buffered.sizes["unread"] > 20
    received.resume(Pause.BODY)
    assert (wire.is_reading, buffered.sizes) == (True, {})


def test_what_is_thrown_away_is_read() -> None:
    wire, buffered = Wire(), Buffered()
    received = input_on(wire, buffered)
    received.hold(b"x" * 10)
    received.discard()
    assert (wire.is_reading, buffered.sizes, received.held) == (True, {}, b"")


def test_a_socket_that_is_gone_is_not_touched() -> None:
    wire, buffered = Wire(), Buffered()
    received = input_on(wire, buffered)
    received.ended()
    received.pause(Pause.BODY)
    received.resume(Pause.BODY)
    assert (wire.is_reading, buffered.sizes) == (True, {})
