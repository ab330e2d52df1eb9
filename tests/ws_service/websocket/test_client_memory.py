"""What a client holds: counted frame by frame, inflated, over all of its sockets, and back to nothing."""

from __future__ import annotations

import zlib

import pytest
from websockets.exceptions import PayloadTooBig
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from ws_service.websocket import client_memory as module
from ws_service.websocket.client_memory import FRAME_COST, MESSAGE_COST, ClientMemory, CountedFrames, SocketMemory

LIMIT = 100_000


@pytest.fixture
def clients() -> ClientMemory:
    return ClientMemory(LIMIT)


def socket_of(clients: ClientMemory, address: str = "203.0.113.7") -> SocketMemory:
    return SocketMemory(clients.account(address), lambda: None, lambda: None)


def arrive(socket: SocketMemory, counted: CountedFrames, frame: Frame, max_size: int | None = None) -> Frame:
    """Count the bytes of a frame, as reading does, and decode it."""
    size = len(frame.data)
    socket.add(size + (6 if size < 126 else 8 if size < 65536 else 14))
    return counted.decode(frame, max_size=max_size)


def deflate() -> PerMessageDeflate:
    return PerMessageDeflate(False, False, 12, 12)


def packed(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::", True),
        ("64:ff9b::203.0.113.7", "64:ff9b::203.0.113.8", False),
        ("64:ff9b::203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7:1", "203.0.113.7:2", True),
        ("chosen freely", "chosen as freely", True),
        ("unix", "chosen freely", False),
    ],
)
def test_an_account_is_that_of_a_client_as_the_gateway_counts_it(
    clients: ClientMemory, one: str, other: str, is_same: bool
) -> None:
    assert (clients.account(one) is clients.account(other)) is is_same


def test_a_message_counts_until_the_endpoint_takes_it(clients: ClientMemory) -> None:
    socket = socket_of(clients)
    counted = CountedFrames([], socket)
    arrive(socket, counted, Frame(Opcode.BINARY, b"x" * 1000, fin=False))
    assert socket.held == 1000 + FRAME_COST
    assert socket.is_unfinished
    arrive(socket, counted, Frame(Opcode.PING, b"hello"))
    arrive(socket, counted, Frame(Opcode.CONT, b"", fin=False))
    assert socket.held == 1000 + 2 * FRAME_COST, "an empty fragment costs too"
    arrive(socket, counted, Frame(Opcode.CONT, b"y" * 500))
    assert not socket.is_unfinished
    assert socket.finished == 1
    assert socket.held == 1500 + 3 * FRAME_COST + MESSAGE_COST
    socket.taken()
    assert socket.held == 0
    socket.taken()
    assert socket.held == 0, "an event that is no message"


def test_compressed_bytes_count_as_what_they_become(clients: ClientMemory) -> None:
    socket = socket_of(clients)
    frame = Frame(Opcode.BINARY, packed(bytes(50_000)), fin=False, rsv1=True)
    assert len(arrive(socket, CountedFrames([deflate()], socket), frame).data) == 50_000
    assert socket.held == 50_000 + FRAME_COST


def test_the_frame_that_would_be_too_much_is_not_inflated_and_nothing_is_kept_of_it(clients: ClientMemory) -> None:
    one, other = socket_of(clients), socket_of(clients)
    bomb = Frame(Opcode.BINARY, packed(bytes(60_000)), fin=False, rsv1=True)
    arrive(one, CountedFrames([deflate()], one), bomb)
    with pytest.raises(PayloadTooBig) as caught:
        arrive(other, CountedFrames([deflate()], other), bomb)
    assert other.is_too_much
    assert not one.is_too_much
    assert caught.value.__context__ is None, "it would keep what was inflated"
    assert other.held < 1000
    innocent = socket_of(clients, "203.0.113.8")
    arrive(innocent, CountedFrames([deflate()], innocent), bomb)


def test_a_message_over_the_limit_of_messages_is_the_librarys_to_say(clients: ClientMemory) -> None:
    socket = socket_of(clients)
    with pytest.raises(PayloadTooBig):
        arrive(
            socket,
            CountedFrames([deflate()], socket),
            Frame(Opcode.BINARY, packed(bytes(5000)), rsv1=True),
            max_size=1000,
        )
    assert not socket.is_too_much


def test_a_socket_that_ends_takes_everything_with_it(clients: ClientMemory) -> None:
    one, other = socket_of(clients), socket_of(clients)
    assert one.add(1000)
    assert other.add(11)
    assert other.account.held == 1011
    one.close()
    assert other.account.held == 11
    assert other.add(100)
    other.close()
    assert len(clients) == 0


def test_the_socket_that_holds_most_goes_and_not_the_one_that_comes_next(clients: ClientMemory) -> None:
    gone: list[str] = []
    account = clients.account("203.0.113.7")
    large, small = (SocketMemory(account, lambda: None, lambda name=name: gone.append(name)) for name in ("L", "S"))
    assert large.add(LIMIT - 100)
    arrive(small, CountedFrames([], small), Frame(Opcode.TEXT, b"hello"))
    assert gone == ["L"]
    assert account.held == small.held > 0
    assert large.add(50)
    assert large.held == 0, "it counts no more"
    assert not small.add(LIMIT)
    assert gone == ["L"], "nobody goes for the largest itself"
    large.close()
    small.close()
    assert len(clients) == 0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that it is: half a millisecond later at each look."""
    now = [1000.0]

    def monotonic() -> float:
        now[0] += 0.0005
        return now[0]

    monkeypatch.setattr(module.time, "monotonic", monotonic)
    return now


def test_every_compressed_frame_is_paid_for_however_small(clients: ClientMemory, clock: list[float]) -> None:
    socket = socket_of(clients)
    counted = CountedFrames([PerMessageDeflate(True, True, 12, 12)], socket)
    assert socket.account.delay() == 0
    began, frames = clock[0], 0
    while clock[0] - began < 1:
        clock[0] += socket.account.delay()
        arrive(socket, counted, Frame(Opcode.BINARY, packed(b"small"), rsv1=True))
        socket.taken()
        frames += 1
    spent = frames * 0.0005
    assert 0.1 < spent < 0.21
    assert socket.account.delay() > 0
    assert socket_of(clients, "203.0.113.8").account.delay() == 0, "its client alone"


def test_a_burst_is_not_waited_for(clients: ClientMemory, clock: list[float]) -> None:
    socket = socket_of(clients)
    counted = CountedFrames([PerMessageDeflate(True, True, 12, 12)], socket)
    for _ in range(4):
        assert socket.account.delay() == 0
        arrive(socket, counted, Frame(Opcode.BINARY, packed(b"small"), rsv1=True))
        socket.taken()


def test_what_a_client_has_not_paid_is_known_after_its_last_socket(clients: ClientMemory, clock: list[float]) -> None:
    socket = socket_of(clients)
    socket.account.spend(1.0)
    socket.close()
    assert (len(clients), clients.unpaid) == (0, 1)
    again = socket_of(clients)
    assert 4.9 < again.account.delay() < 5
    assert clients.unpaid == 0
    again.close()
    clock[0] += 5
    assert clients.unpaid == 0, "all is paid"
    assert socket_of(clients).account.delay() == 0


def test_so_many_clients_that_have_not_paid_are_known(clients: ClientMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 3)
    for number in range(10):
        socket = socket_of(clients, f"203.0.113.{number}")
        socket.account.spend(1000.0)
        socket.close()
    assert clients.unpaid == 3
    assert socket_of(clients, "203.0.113.9").account.delay() > 0, "the last ones"


def test_what_is_sent_goes_through_the_extensions(clients: ClientMemory) -> None:
    counted = CountedFrames([deflate()], socket_of(clients))
    assert counted.name == "permessage-deflate"
    assert counted.encode(Frame(Opcode.TEXT, b"hello")).rsv1
