"""Handing sockets over: what is sent, what each answer means, and what happens where it cannot be done."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.errors import Outcome, UpstreamError, UpstreamTimeout
from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter, Slot
from proxy.websocket.handoff import Handoff
from tests.processes import no_descriptor_left
from tests.proxy.adopter import Adopter, Place, place
from ws_service.handoff import protocol as wire

HEAD = b"GET /live HTTP/1.1\r\n\r\n"

ABOUT = wire.Socket("x1", "203.0.113.7", "/live", "example.com", "websocket", 1000.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ws.sock"


@pytest.fixture
def ends() -> list[Exchange]:
    return []


@pytest.fixture
async def handoff(path: Path, ends: list[Exchange]) -> AsyncIterator[Handoff]:
    made = Handoff(path, ends.append, ClientCounter())
    yield made
    made.close()


@pytest.fixture
def client() -> Iterator[socket.socket]:
    """The gateway's end of a client's connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")


def exchange(id: str = "x1") -> Exchange:
    return Exchange(id, 1000.0, 0.0, client="203.0.113.7", target="/live", host="example.com", route="websocket")


async def offer(
    handoff: Handoff,
    client: socket.socket,
    id: str = "x1",
    *,
    head: bytes = HEAD,
    is_secure: bool = False,
    timeout: float = 10,
    send: float = 60,
) -> bool:
    record = exchange(id)
    slot = Slot(handoff.websockets, record.client)
    try:
        return await handoff.offer(
            record, slot, client.fileno(), head, b"left", is_secure=is_secure, timeout=timeout, send=send
        )
    finally:
        slot.release()  # as at the end of every exchange


@asynccontextmanager
async def connected(handoff: Handoff, path: Path, live: int = 0) -> AsyncIterator[tuple[Place, Adopter]]:
    """A service that is there when the gateway starts."""
    async with place(path) as service, asyncio.TaskGroup() as group:
        started = group.create_task(handoff.start())
        adopter = await service.accept(live=live)
        for _ in range(live):
            await adopter.send(wire.Live(ABOUT))
        await started
        yield service, adopter


async def settled(is_so: object) -> None:
    """Wait until the gateway has read what was sent to it: the loop turns until it is so."""
    async with asyncio.timeout(10):
        while not is_so():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0)


def told(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# -- the hand-over


async def test_the_head_the_leftover_and_the_socket_itself_are_sent(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (_, adopter):
        offering = asyncio.get_running_loop().create_task(offer(handoff, client, is_secure=True), name="offer")
        message, descriptors = await adopter.receive()
        assert isinstance(message, wire.Open)
        assert abs(message.socket.opened - time.time()) < 60, "from then on the service counts its time"
        about = replace(message.socket, opened=ABOUT.opened)
        assert replace(message, socket=about) == wire.Open(ABOUT, True, HEAD, b"left", 10, 60)
        assert len(descriptors) == 1
        assert os.fstat(descriptors[0]).st_ino == os.fstat(client.fileno()).st_ino, "it is the same socket"
        os.close(descriptors[0])
        assert not offering.done(), "the receipt is waited for"
        await adopter.send(wire.Adopted("x1"))
        assert await offering
        assert (handoff.handed_over, handoff.live, handoff.fallbacks.total()) == (1, 1, 0)


async def test_an_end_becomes_the_record_that_the_gateway_no_longer_has(
    handoff: Handoff, path: Path, ends: list[Exchange]
) -> None:
    async with connected(handoff, path, live=4) as (_, adopter):
        assert handoff.live == 4, "the start has heard of them"
        for ending, status, code in (
            (wire.Ending.CLIENT, 101, 1001),
            (wire.Ending.SERVICE, 101, 1012),
            (wire.Ending.RESET, 101, None),
            (wire.Ending.SERVICE, 403, None),
        ):
            await adopter.send(wire.Ended(ABOUT, 60.0, status, 7, 9, code, ending))
        await settled(lambda: len(ends) == 4)
        assert handoff.live == 0
        first = ends[0]
        assert (first.id, first.client, first.method, first.target) == ("x1", "203.0.113.7", "GET", "/live")
        assert (first.host, first.route, first.upstream, first.when) == ("example.com", "websocket", "ws", 1000.0)
        assert (first.duration, first.received, first.sent) == (60.0, 7, 9)
        assert all(end.is_handed_off for end in ends)
        assert [(end.outcome, end.closed_by, end.close_code, end.status) for end in ends] == [
            (Outcome.CLIENT_CLOSED, "client", 1001, 101),
            (Outcome.UPSTREAM_CLOSED, "upstream", 1012, 101),
            (Outcome.RESET, "client", None, 101),
            (Outcome.SERVED, "upstream", None, 403),
        ]


async def test_bytes_that_the_system_does_not_tell_are_said_to_be_unknown(
    handoff: Handoff, path: Path, ends: list[Exchange]
) -> None:
    async with connected(handoff, path) as (_, adopter):
        await adopter.send(wire.Live(ABOUT))
        await adopter.send(wire.Ended(ABOUT, 1.0, 101, None, None, None, wire.Ending.CLIENT))
        await settled(lambda: ends)
        assert ends[0].detail == "the system does not tell its bytes"


async def test_sockets_go_to_the_process_that_has_the_fewest(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with place(path) as first, place(path.with_name("ws.sock.1")) as second, asyncio.TaskGroup() as group:
        started = group.create_task(handoff.start())
        busy, free = await first.accept(), await second.accept()
        await started
        for _ in range(3):
            await busy.send(wire.Live(ABOUT))
        await settled(lambda: handoff.live == 3)
        for number in range(3):
            offering = group.create_task(offer(handoff, client, f"n{number}"))
            message, descriptors = await free.receive()
            assert isinstance(message, wire.Open)
            os.close(descriptors[0])
            await free.send(wire.Adopted(message.socket.id))
            assert await offering
        assert handoff.live == 6


async def test_a_gateway_that_leaves_hears_the_last_words_and_closes_nothing_but_its_channels(
    handoff: Handoff, path: Path, client: socket.socket, ends: list[Exchange], caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        for _ in range(100):
            await adopter.send(wire.Live(ABOUT))
        await adopter.send(wire.Live(ABOUT))
        for _ in range(100):
            await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT))
        handoff.close()
        assert len(ends) == 100
        assert await adopter.has_ended()
        with pytest.raises(BrokenPipeError):
            await adopter.send(wire.Live(ABOUT))
        client.send(b"still open")
        assert "is gone" not in caplog.text


# -- whose sockets they are


async def test_a_clients_sockets_count_from_the_offer_to_the_end(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    def counted() -> int:
        return handoff.websockets.of("203.0.113.7")

    async with connected(handoff, path, live=2) as (_, adopter):
        assert counted() == 2, "those of the gateway before this one"
        offering = asyncio.get_running_loop().create_task(offer(handoff, client, "x2"), name="offer")
        os.close((await adopter.receive())[1][0])
        assert counted() == 3
        await adopter.send(wire.Adopted("x2"))
        await offering
        assert counted() == 3
        await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT))
        await settled(lambda: counted() == 2)
    await settled(lambda: counted() == 0)  # the service has ended, and its sockets with it
    assert handoff.websockets.clients == 0


async def test_a_socket_for_whose_verdict_nobody_waits_any_more_counts_until_it_comes(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (_, adopter):
        for id in ("taken", "refused", "neither"):
            with pytest.raises(UpstreamTimeout):
                await offer(handoff, client, id, timeout=0.01)
            os.close((await adopter.receive())[1][0])
        assert (handoff.live, handoff.websockets.total) == (0, 3)
        await adopter.send(wire.Refused("refused", "too late"))
        await settled(lambda: handoff.websockets.total == 2)
        await adopter.send(wire.Adopted("taken"))
        await settled(lambda: handoff.live == 1)
        assert handoff.websockets.total == 2
        await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT))
        await settled(lambda: handoff.websockets.total == 1)
    await settled(lambda: handoff.websockets.total == 0)


@pytest.mark.parametrize(
    "wrong",
    [
        wire.Ended(ABOUT, 1.0, 101, 1, 1, 1000, wire.Ending.CLIENT),
        wire.Adopted("nobody offered it"),
        wire.Refused("nobody offered it", "why"),
    ],
)
async def test_a_service_that_speaks_of_a_socket_it_does_not_have_is_not_believed(
    wrong: wire.Message, handoff: Handoff, path: Path, ends: list[Exchange], caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        await adopter.send(wrong)
        assert await adopter.has_ended()
    assert "a message that cannot be read" in told(caplog)[0]
    assert (handoff.live, handoff.websockets.total, ends) == (0, 0, [])


# -- where it cannot be done


async def test_without_a_socket_file_the_tunnel_carries(
    handoff: Handoff, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    await handoff.start()
    for _ in range(3):
        assert not await offer(handoff, client)
    assert handoff.fallbacks == {"no socket file": 3}
    (line,) = told(caplog)
    assert "through the tunnel" in line
    assert f"there is no socket file {handoff._path}; is the ws service running?" in line


async def test_a_stale_socket_file_is_answered_by_nobody(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as crashed:
        crashed.bind(str(path))
    for _ in range(3):
        assert not await offer(handoff, client)
    assert handoff.fallbacks == {"not answered": 3}
    assert len(told(caplog)) == 1
    assert "Connection refused" in told(caplog)[0]


async def test_a_service_that_does_not_greet_delays_nobody(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with place(path) as service:
        async with asyncio.timeout(5):
            await handoff.start()
            assert not await offer(handoff, client)
        assert handoff.fallbacks == {"no greeting": 1}
        await (await service.accept(greet=False)).send(wire.Hello())
        await settled(lambda: handoff._least_busy() is not None)


async def test_a_service_of_another_user_gets_nothing(
    handoff: Handoff, path: Path, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.geteuid()
    monkeypatch.setattr("proxy.websocket.handoff._peer", lambda _: (1, me + 1))
    async with place(path) as service:
        for _ in range(3):
            assert not await offer(handoff, client)
        assert handoff.fallbacks == {"not trusted": 3}
        assert service.dials == 1, "its user cannot change, and each dial would be a line in its log"
    async with place(path) as service:
        handoff._look()
        assert service.dials == 1, "another service has taken its place"


async def test_a_service_of_root_that_refuses_this_user_is_said_to_do_that(
    handoff: Handoff,
    path: Path,
    client: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("proxy.websocket.handoff._peer", lambda _: (1, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    async with place(path) as service:
        starting = asyncio.get_running_loop().create_task(handoff.start(), name="start")
        (await service.accept(greet=False)).close()
        await starting
        assert not await offer(handoff, client)
    assert "it runs as root, and takes nothing from user 1000: run both as the same user" in told(caplog)[0]


async def test_root_is_trusted_whoever_we_are(
    handoff: Handoff, path: Path, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.websocket.handoff._peer", lambda _: (1, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    async with connected(handoff, path):
        assert handoff._least_busy() is not None


async def test_who_has_taken_the_place_of_one_that_ended_before_its_greeting_is_dialled(
    handoff: Handoff, path: Path
) -> None:
    async with place(path) as stopping:
        starting = asyncio.get_running_loop().create_task(handoff.start(), name="start")
        adopter = await stopping.accept(greet=False)
        os.unlink(path)
        async with place(path) as service:
            adopter.close()
            adopting = asyncio.get_running_loop().create_task(service.accept(), name="accept")
            await starting
            await handoff.greet()
            await adopting
            assert handoff._least_busy() is not None


async def test_a_service_of_another_version_is_left_alone_until_it_is_replaced(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with place(path) as service:
        adopting = asyncio.get_running_loop().create_task(service.accept(greet=False), name="accept")
        starting = asyncio.get_running_loop().create_task(handoff.start(), name="start")
        adopter = await adopting
        await adopter.send(b"\x01" + wire.encode(wire.Hello())[1:])
        await starting
        assert await adopter.has_ended()
        for _ in range(3):
            assert not await offer(handoff, client)
    assert handoff.fallbacks == {"not understood": 3}
    channel_ends, tunnelled = told(caplog)
    assert "it is in version 1 of the protocol, and this is version 2" in channel_ends
    assert "is not understood" in tunnelled
    async with place(path) as service:
        handoff._look()
        await service.accept()
        await settled(lambda: handoff._least_busy() is not None)


@pytest.mark.parametrize(
    "wrong", [b"\x02", b"nonsense", wire.encode(wire.Hello()), wire.encode(wire.Open(ABOUT, False, b"", b"", 15, 60))]
)
async def test_what_cannot_be_read_or_is_out_of_place_ends_the_channel(
    wrong: bytes, handoff: Handoff, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        await adopter.send(wrong)
        assert await adopter.has_ended()
    assert len(told(caplog)) == 1
    assert "a message that cannot be read" in told(caplog)[0]


async def test_a_service_that_does_not_read_is_not_waited_for(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter), asyncio.TaskGroup() as group:
        waiting = []
        while not handoff.fallbacks:
            waiting.append(group.create_task(offer(handoff, client, f"n{len(waiting)}")))
            await asyncio.sleep(0)
        assert handoff.fallbacks == {"busy": 1}
        assert not waiting.pop().result()
        for task in waiting:
            message, descriptors = await adopter.receive()
            assert isinstance(message, wire.Open)
            os.close(descriptors[0])
            await adopter.send(wire.Adopted(message.socket.id))
            assert await task
    assert len([line for line in told(caplog) if "does not read" in line]) == 1
    assert "handed over again" in caplog.text


async def test_a_handshake_that_is_too_large_is_no_fault_of_the_service(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        large = bytes(wire.MAX_HEAD - 3)
        for _ in range(2):
            assert not await offer(handoff, client, head=large)
        offering = asyncio.get_running_loop().create_task(offer(handoff, client), name="offer")
        os.close((await adopter.receive())[1][0])
        await adopter.send(wire.Adopted("x1"))
        assert await offering
        assert not await offer(handoff, client, head=large)
    assert handoff.fallbacks == {"too large": 3}
    assert len([line for line in told(caplog) if "larger than 65536 bytes" in line]) == 1
    assert "handed over again" not in caplog.text


async def test_a_socket_that_the_service_refuses_is_as_it_was(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (_, adopter):
        offering = asyncio.get_running_loop().create_task(offer(handoff, client), name="offer")
        os.close((await adopter.receive())[1][0])
        await adopter.send(wire.Refused("x1", "no descriptor is free"))
        assert not await offering
        assert (handoff.fallbacks, handoff.live) == ({"refused": 1}, 0)
    assert "the service refused a socket: no descriptor is free" in told(caplog)[0]


async def test_a_service_that_stops_gets_nothing_more_and_is_heard_to_the_end(
    handoff: Handoff, path: Path, client: socket.socket, ends: list[Exchange], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connected(handoff, path) as (service, adopter):
        await adopter.send(wire.Live(ABOUT))
        await adopter.send(wire.Closing())
        await settled(lambda: handoff._least_busy() is None)
        service.path.unlink()
        assert not await offer(handoff, client)
        assert handoff.fallbacks == {"no socket file": 1}
        async with place(path) as successor:
            handoff._look()
            await successor.accept()
            await settled(lambda: handoff._least_busy() is not None)
            assert handoff.live == 1, "the one that stops still has it"
            await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1012, wire.Ending.SERVICE))
            service.close()
            await settled(lambda: not handoff._leaving)
            assert (len(ends), handoff.live) == (1, 0)
            assert handoff._least_busy() is not None
        assert "is gone, and" not in caplog.text


async def test_of_a_service_that_dies_its_sockets_are_counted_once(
    handoff: Handoff, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(handoff, path) as (service, adopter):
        for _ in range(3):
            await adopter.send(wire.Live(ABOUT))
        await settled(lambda: handoff.live == 3)
        service.close()
        await settled(lambda: handoff.live == 0)
    assert "is gone, and 3 sockets that were handed over to it with it" in told(caplog)[0]


# -- behind the sending there is no way back


async def test_a_service_that_goes_before_its_receipt_is_an_error(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (service, adopter):
        offering = asyncio.get_running_loop().create_task(offer(handoff, client), name="offer")
        os.close((await adopter.receive())[1][0])
        service.close()
        with pytest.raises(UpstreamError, match="went away while it took the connection over"):
            await offering
        assert not handoff.fallbacks


async def test_a_receipt_that_comes_too_late_is_an_error_and_counts_all_the_same(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with connected(handoff, path) as (_, adopter):
        with pytest.raises(UpstreamTimeout, match=r"within 0\.05 s"):
            await offer(handoff, client, timeout=0.05)
        os.close((await adopter.receive())[1][0])
        await adopter.send(wire.Adopted("x1"))
        await settled(lambda: handoff.live == 1)


async def test_no_path_hands_nothing_over() -> None:
    handoff = Handoff(None, lambda _: None, ClientCounter())
    await handoff.start()
    assert not handoff.is_on
    handoff.close()


async def test_without_a_descriptor_it_looks_again_later(tmp_path: Path) -> None:
    async with place(tmp_path / "ws.sock") as service:
        handoff = Handoff(service.path, lambda _: None, ClientCounter())
        with no_descriptor_left():
            handoff._look_again()
        assert handoff._absence[0] == "not answered"
        assert "Too many open files" in handoff._absence[1]
        handoff._look()
        await service.accept()
        handoff.close()


# -- what another user of the host can put there


@pytest.mark.timeout(20)
async def test_a_service_whose_queue_is_full_holds_nobody_up(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as owner:
        owner.bind(str(path))
        owner.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
            first.connect(str(path))
            loop = asyncio.get_running_loop()
            began = loop.time()
            await handoff.start()
            assert not await offer(handoff, client)
            assert loop.time() - began < 0.4
    assert f"nobody answers on {path}" in caplog.text


def put(kind: str, path: Path, stream: socket.socket) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("x")
    elif kind == "link to itself":
        path.symlink_to(path)
    else:
        stream.bind(str(path))
        stream.listen()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "folder", "file", "link to itself", "stream"])
async def test_what_is_no_socket_of_a_service_holds_nobody_up(
    handoff: Handoff, path: Path, client: socket.socket, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        put(kind, path, stream)
        await handoff.start()
        assert not await offer(handoff, client)
    assert f"nobody answers on {path}" in caplog.text


async def test_many_files_with_such_names_are_not_all_dialled(handoff: Handoff, path: Path) -> None:
    for number in range(1, 3000):
        path.with_name(f"ws.sock.{number}").touch()
    dialled: list[Path] = []
    handoff._dial = dialled.append  # type: ignore[method-assign]
    await handoff.start()
    assert len(dialled) == 63
