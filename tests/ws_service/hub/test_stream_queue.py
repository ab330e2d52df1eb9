"""What waits for the client of an event stream."""

from __future__ import annotations

from ws_service.hub.outbox import COST
from ws_service.hub.stream_queue import StreamQueue
from ws_service.hub.topics import SlowPolicy


def test_what_is_queued_while_the_client_reads_is_kept_whole_and_in_order() -> None:
    queue = StreamQueue(10_000)
    for number in range(3):
        assert queue.publish("a", b"%d" % number, SlowPolicy.LATEST)
    assert queue.add(b"x")
    assert (len(queue), queue.take(), queue.take(), len(queue)) == (4, b"012x", b"", 0)


def test_while_a_write_is_held_up_the_policy_applies() -> None:
    queue = StreamQueue(10_000)
    queue.publish("a", b"0", SlowPolicy.LATEST)
    queue.is_held_up = True
    for number in range(1, 4):
        queue.publish("a", b"%d" % number, SlowPolicy.LATEST)
    queue.is_held_up = False
    queue.publish("b", b"b", SlowPolicy.LATEST)  # not before what waits
    assert queue.take() + queue.take() == b"03b"


def test_its_size_is_bounded_also_in_one_turn() -> None:
    queue = StreamQueue(10 * (COST + 1))
    taken = [queue.publish("a", b"x", SlowPolicy.DISCONNECT) for _ in range(30)]
    assert taken == [True] * 20 + [False] * 10
    assert not queue.add(b"x")


def test_a_long_queue_is_taken_in_pieces() -> None:
    queue = StreamQueue(1 << 20)
    queue.is_held_up = True
    for _ in range(10):
        queue.add(b"x" * 30_000)
    assert len(queue.take()) == 90_000
    queue.clear()
    assert queue.take() == b""
