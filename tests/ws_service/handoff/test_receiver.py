"""Gateways come and go: who is answered, what is adopted, and who hears of each socket's end."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import no_descriptor_left
from tests.ws_service.adopting import Peer, close_frame, head, parts, tcp
from ws_service.handoff import protocol as wire
from ws_service.handoff import receiver as module
from ws_service.handoff.receiver import Handoff
from ws_service.handoff.socket_file import Claim, is_possible
from ws_service.net import accept_loop
from ws_service.net.peer_credentials import PeerCredentials
from ws_service.websocket.resources import Resources

pytestmark = pytest.mark.skipif(not is_possible(), reason="sockets are handed over on Linux alone")


class FromGateway:
    """A gateway's end of a channel."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.setblocking(False)
        self.sock.connect(str(path))

    def send(self, message: wire.Message | bytes, *descriptors: int) -> None:
        data = message if isinstance(message, bytes) else wire.encode(message)
        socket.send_fds(self.sock, [data], descriptors)

    async def receive(self) -> wire.Message | None:
        """Return the next message; None when the service has ended the channel."""
        async with asyncio.timeout(10):
            try:
                data = await asyncio.get_running_loop().sock_recv(self.sock, wire.MAX_MESSAGE)
            except ConnectionResetError:  # with messages of ours unread
                return None
        return wire.decode(data) if data else None

    async def greet(self) -> int:
        """Greet, and return how many sockets it is told of."""
        self.send(wire.Hello())
        hello = await self.receive()
        assert isinstance(hello, wire.Hello)
        return hello.live

    def close(self) -> None:
        self.sock.close()


class Rig:
    def __init__(self, path: Path, handoff: Handoff, made_of: dict[str, Any]) -> None:
        self.path, self.handoff, self.made_of = path, handoff, made_of
        self.gateways: list[FromGateway] = []

    def dial(self) -> FromGateway:
        self.gateways.append(FromGateway(self.path))
        return self.gateways[-1]

    async def gateway(self) -> FromGateway:
        gateway = self.dial()
        await gateway.greet()
        return gateway


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    claim = Claim(tmp_path / "ws.sock")
    made_of = parts()
    rig = Rig(claim.path, Handoff(claim, Resources(64 << 20), **made_of), made_of)
    yield rig
    for gateway in rig.gateways:
        gateway.close()
    await rig.handoff.close()


def opening(id: str, target: str = "/echo") -> wire.Open:
    about = wire.Socket(id, "127.0.0.1", target, "example.com", "websocket", 1.0)
    return wire.Open(about, False, head(target), b"", 15, 60)


@asynccontextmanager
async def handed_over(gateway: FromGateway, id: str) -> AsyncIterator[Peer]:
    """A client whose socket the service has adopted."""
    async with tcp() as (sock, peer):
        gateway.send(opening(id), sock.fileno())
        assert await gateway.receive() == wire.Adopted(id)
        sock.close()
        await peer.head()
        await peer.frame()
        yield peer


async def test_a_socket_is_adopted_and_its_end_reported_to_who_gave_it(rig: Rig) -> None:
    gateway, other = await rig.gateway(), await rig.gateway()
    async with handed_over(gateway, "x1") as peer:
        assert rig.handoff.adopted == 1
        peer.say("hello")
        assert await peer.frame() == (1, b"hello")
        peer.writer.write(close_frame(1001))
        ended = await gateway.receive()
        assert isinstance(ended, wire.Ended)
        assert (ended.socket, ended.close_code, ended.status) == (opening("x1").socket, 1001, 101)
        assert rig.handoff.adopted == 0
        other.send(opening("x2"))  # its answer is the first thing that the other one hears
        assert isinstance(await other.receive(), wire.Refused)


async def test_the_next_gateway_learns_what_the_last_one_left(rig: Rig) -> None:
    first = await rig.gateway()
    async with handed_over(first, "x1") as one, handed_over(first, "x2"):
        first.close()
        second = rig.dial()
        assert await second.greet() == 2
        told = [await second.receive() for _ in range(2)]
        assert {message.socket.id for message in told if isinstance(message, wire.Live)} == {"x1", "x2"}
        one.writer.write(close_frame(1000))
        ended = await second.receive()
        assert isinstance(ended, wire.Ended)
        assert ended.socket.id == "x1"


async def test_a_gateway_that_is_there_learns_at_once(rig: Rig) -> None:
    first, second = await rig.gateway(), await rig.gateway()
    async with handed_over(first, "x1"):
        first.close()
        live = await second.receive()
        assert live == wire.Live(opening("x1").socket)


async def test_an_end_without_a_gateway_is_reported_to_the_next_one(rig: Rig) -> None:
    first = await rig.gateway()
    async with handed_over(first, "x1") as peer:
        first.close()
        peer.writer.write(close_frame(1000))
        await peer.rest()
        second = rig.dial()
        assert await second.greet() == 0, "none lives"
        assert await second.receive() == wire.Live(opening("x1").socket)
        ended = await second.receive()
        assert isinstance(ended, wire.Ended)
        assert (ended.socket.id, ended.close_code) == ("x1", 1000)
        third = await rig.gateway()
        third.send(opening("x2"))
        assert isinstance(await third.receive(), wire.Refused), "it is told once"


@pytest.mark.parametrize("what", ["nothing", "a pipe", "a datagram socket"])
async def test_what_is_no_stream_is_refused(rig: Rig, what: str) -> None:
    gateway = await rig.gateway()
    before = len(os.listdir("/proc/self/fd"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        reading, writing = os.pipe()
        given = {"nothing": [], "a pipe": [reading], "a datagram socket": [datagram.fileno()]}[what]
        gateway.send(opening("x1"), *given)
        answer = await gateway.receive()
        assert isinstance(answer, wire.Refused)
        os.close(reading)
        os.close(writing)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_socket_that_no_connection_can_be_made_of_is_given_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("a state that cannot be")

    gateway = await rig.gateway()
    monkeypatch.setattr("ws_service.handoff.receiver.Adopted", fails)
    async with tcp() as (sock, _):
        before = len(os.listdir("/proc/self/fd"))
        gateway.send(opening("x1"), sock.fileno())
        assert await gateway.receive() == wire.Refused("x1", "the service failed to make a connection of it")
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_client_that_has_gone_already_is_adopted_and_ends(rig: Rig) -> None:
    gateway = await rig.gateway()
    async with tcp() as (sock, peer):
        peer.writer.transport.abort()
        gateway.send(opening("x1"), sock.fileno())
        assert isinstance(await gateway.receive(), wire.Adopted | wire.Refused)


@pytest.mark.parametrize(
    "wrong",
    [b"\x02", b"nonsense", b"\x01" + wire.encode(wire.Hello())[1:], wire.encode(wire.Adopted("x1")), bytes(200_000)],
    ids=["cut", "nonsense", "another version", "out of place", "too large"],
)
async def test_what_cannot_be_read_ends_the_channel_with_one_line(
    rig: Rig, wrong: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    gateway, other = await rig.gateway(), await rig.gateway()
    async with handed_over(gateway, "x1"):
        with tcp_socket() as sock:
            gateway.send(wrong, sock.fileno())
        assert await gateway.receive() is None
        assert isinstance(await other.receive(), wire.Live), "the socket lives, and the other one learns of it"
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert f"the channel to the gateway (process {os.getpid()}) ends: it sent a message that cannot be read" in line


def tcp_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


async def test_nothing_is_adopted_before_the_greeting(rig: Rig) -> None:
    gateway = rig.dial()
    with tcp_socket() as sock:
        gateway.send(opening("x1"), sock.fileno())
    assert await gateway.receive() is None


async def test_who_does_not_greet_is_cut(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_HELLO_TIMEOUT", 0.05)
    greeted, silent = await rig.gateway(), rig.dial()
    assert await silent.receive() is None
    assert "ends: it did not greet within 0.05 s" in caplog.text
    greeted.send(opening("x1"))
    assert isinstance(await greeted.receive(), wire.Refused), "who has greeted may be silent"


async def test_there_are_so_many_gateways_and_no_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MAX_CHANNELS", 2)
    first, second = await rig.gateway(), await rig.gateway()
    assert await rig.dial().receive() is None
    assert "2 gateways are connected already" in caplog.text
    first.close()
    while len(rig.handoff._channels) > 1:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    assert await rig.dial().greet() == 0
    second.close()


async def test_two_greetings_are_one_too_many(rig: Rig) -> None:
    gateway = await rig.gateway()
    gateway.send(wire.Hello())
    assert await gateway.receive() is None


async def test_another_users_gateway_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    me = os.geteuid()
    monkeypatch.setattr(module, "peer_credentials", lambda _: PeerCredentials(7, me + 1))
    for _ in range(3):
        assert await rig.dial().receive() is None
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert line.getMessage() == (
        f"refused process 7 on {rig.path}: it runs as user {me + 1}, and sockets are taken from user {me} and root "
        "alone; run the gateway and the service as the same user"
    )


async def test_root_may_hand_over_to_any_user(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "peer_credentials", lambda _: PeerCredentials(7, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert await rig.dial().greet() == 0


async def test_a_gateway_that_does_not_read_is_cut_and_the_next_one_learns_the_rest(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MAX_QUEUED", 1000)
    lazy = await rig.gateway()
    async with handed_over(lazy, "x1"):
        while rig.handoff._channels:
            lazy.send(opening("n"))  # each is refused, and nobody reads the refusals
            await asyncio.sleep(0)
        assert "ends: it does not read the reports" in caplog.text
        assert await rig.dial().greet() == 1


async def test_a_stop_says_so_refuses_and_reports_to_the_end(rig: Rig) -> None:
    gateway = await rig.gateway()
    async with handed_over(gateway, "x1") as peer:
        await rig.handoff.stop()
        assert not rig.path.exists()
        assert await gateway.receive() == wire.Closing()
        with tcp_socket() as sock:
            gateway.send(opening("x2"), sock.fileno())
            assert await gateway.receive() == wire.Refused("x2", "the service stops")
        for connection in list(rig.made_of["server_state"].connections):
            connection.shutdown()
        assert await peer.frame() == (8, b"\x03\xf4")
        ended = await gateway.receive()
        assert isinstance(ended, wire.Ended)
        assert (ended.socket.id, ended.close_code, ended.ending) == ("x1", 1012, wire.Ending.SERVICE)
        await rig.handoff.close()
        assert await gateway.receive() is None


async def test_an_adoption_under_way_is_settled_before_the_stop_goes_on(rig: Rig) -> None:
    """uvicorn closes what it finds at that moment: one that came a turn of the loop later would miss its 1012."""
    gateway = await rig.gateway()
    async with tcp() as (sock, _):
        gateway.send(opening("x1"), sock.fileno())
        async with asyncio.timeout(10):
            while not rig.handoff._adoptions:  # noqa: ASYNC110 - the moment is what is tested
                await asyncio.sleep(0)
        assert not rig.made_of["server_state"].connections
        await rig.handoff.stop()
        assert len(rig.made_of["server_state"].connections) == 1


async def test_a_gateway_that_ends_while_it_is_told_leaves_every_socket_to_the_next(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await rig.gateway()
    async with handed_over(first, "x1"), handed_over(first, "x2"), handed_over(first, "x3"), handed_over(first, "x4"):
        first.close()
        with monkeypatch.context() as patch:
            patch.setattr(module, "_MAX_QUEUED", 150)
            patch.setattr(module._Channel, "_flush", lambda channel: None)
            deaf = rig.dial()
            deaf.send(wire.Hello())
            assert await deaf.receive() is None
        last = rig.dial()
        assert await last.greet() == 4
        told = [await last.receive() for _ in range(4)]
        assert {message.socket.id for message in told if isinstance(message, wire.Live)} == {"x1", "x2", "x3", "x4"}


async def test_the_scope_is_the_running_servers(rig: Rig) -> None:
    gateway = await rig.gateway()
    async with tcp() as (sock, peer):
        gateway.send(opening("x1"), sock.fileno())
        await gateway.receive()
        await peer.head()
        assert json.loads((await peer.frame())[1])["state"] == {"pool": "from lifespan"}
        assert len(rig.made_of["server_state"].connections) == 1


async def test_without_a_descriptor_it_does_not_spin_and_answers_later(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_loop, "PAUSE", 0.02)
    gateway = rig.dial()
    with no_descriptor_left():
        await asyncio.sleep(0.1)  # five tries
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("cannot answer a gateway: this process has no descriptor left, of ")
    assert await gateway.greet() == 0
