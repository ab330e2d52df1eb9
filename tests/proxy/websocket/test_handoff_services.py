"""The services that there are: which are connected to, which are not, and which of them gets a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

import pytest

from proxy.exchange.record import Exchange
from proxy.net.client_limits import ClientCounter
from proxy.websocket.handoff import Handoff
from tests.processes import no_descriptor_left
from tests.proxy.adopter import place
from tests.proxy.websocket.offers import ABOUT, SERVICES, connected, offer, settled, warnings
from ws_service.handoff import protocol as wire
from ws_service.net.peer_credentials import PeerCredentials


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")


async def test_sockets_go_to_the_process_that_has_the_fewest(
    handoff: Handoff, path: Path, client: socket.socket
) -> None:
    async with place(path) as first, place(path.with_name("ws.sock.1")) as second, asyncio.TaskGroup() as group:
        started = group.create_task(handoff.services.start())
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


async def test_a_stale_socket_file_is_not_answered(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as crashed:
        crashed.bind(str(path))
    for _ in range(3):
        assert not await offer(handoff, client)
    assert handoff.fallbacks == {"not answered": 3}
    assert len(warnings(caplog)) == 1
    assert "Connection refused" in warnings(caplog)[0]


async def test_handshakes_that_find_no_service_do_not_search_for_it_again_and_again(
    handoff: Handoff, path: Path, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask for each name took as long as all the rest of a handshake."""
    searches: list[Path] = []

    def exists(candidate: Path) -> bool:
        searches.append(candidate)
        return False

    monkeypatch.setattr(f"{SERVICES}._exists", exists)
    monkeypatch.setattr(f"{SERVICES}.SHORTEST", 60)
    for _ in range(3):
        assert not await offer(handoff, client)
    assert searches.count(path) == 1
    await handoff.services.refresh()
    assert searches.count(path) == 2, "what waited for the service's return searches in any case"
    monkeypatch.setattr(f"{SERVICES}.SHORTEST", 0)
    assert not await offer(handoff, client)
    assert searches.count(path) == 3


async def test_a_service_that_does_not_greet_delays_no_handshake(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with place(path) as service:
        async with asyncio.timeout(5):
            await handoff.services.start()
            assert not await offer(handoff, client)
        assert handoff.fallbacks == {"no greeting": 1}
        await (await service.accept(greet=False)).send(wire.Hello())
        await settled(lambda: handoff.services.least_busy() is not None)


async def test_a_service_of_another_user_gets_nothing(
    handoff: Handoff, path: Path, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.geteuid()
    monkeypatch.setattr(f"{SERVICES}.peer_credentials", lambda _: PeerCredentials(1, me + 1))
    async with place(path) as service:
        for _ in range(3):
            assert not await offer(handoff, client)
        assert handoff.fallbacks == {"not trusted": 3}
        assert service.dials == 1, "its user cannot change, and each connection would be a line in its log"
    async with place(path) as service:
        handoff.services.discover()
        assert service.dials == 1, "another service has taken its place"


async def test_a_service_of_root_that_refuses_this_user_is_said_to_do_that(
    handoff: Handoff,
    path: Path,
    client: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(f"{SERVICES}.peer_credentials", lambda _: PeerCredentials(1, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    async with place(path) as service:
        starting = asyncio.get_running_loop().create_task(handoff.services.start(), name="start")
        (await service.accept(greet=False)).close()
        await starting
        assert not await offer(handoff, client)
    assert "it runs as root, and takes nothing from user 1000: run both as the same user" in warnings(caplog)[0]


async def test_root_is_trusted_whatever_user_the_gateway_has(
    handoff: Handoff, path: Path, client: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{SERVICES}.peer_credentials", lambda _: PeerCredentials(1, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    async with connected(handoff, path):
        assert handoff.services.least_busy() is not None


async def test_a_service_in_the_place_of_one_that_ended_before_its_greeting_is_connected_to(
    handoff: Handoff, path: Path
) -> None:
    async with place(path) as stopping:
        starting = asyncio.get_running_loop().create_task(handoff.services.start(), name="start")
        adopter = await stopping.accept(greet=False)
        os.unlink(path)
        async with place(path) as service:
            adopter.close()
            adopting = asyncio.get_running_loop().create_task(service.accept(), name="accept")
            await starting
            await handoff.services.refresh()
            await adopting
            assert handoff.services.least_busy() is not None


async def test_a_service_of_another_version_is_left_alone_until_it_is_replaced(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with place(path) as service:
        adopting = asyncio.get_running_loop().create_task(service.accept(greet=False), name="accept")
        starting = asyncio.get_running_loop().create_task(handoff.services.start(), name="start")
        adopter = await adopting
        await adopter.send(b"\x01" + wire.encode(wire.Hello())[1:])
        await starting
        assert await adopter.has_ended()
        for _ in range(3):
            assert not await offer(handoff, client)
    assert handoff.fallbacks == {"not understood": 3}
    channel_ends, tunnelled = warnings(caplog)
    assert "it is in version 1 of the protocol, and this is version 2" in channel_ends
    assert "is not understood" in tunnelled
    async with place(path) as service:
        handoff.services.discover()
        await service.accept()
        await settled(lambda: handoff.services.least_busy() is not None)


async def test_a_service_that_stops_gets_nothing_more_and_is_read_to_the_end(
    handoff: Handoff, path: Path, client: socket.socket, ends: list[Exchange], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with connected(handoff, path) as (service, adopter):
        await adopter.send(wire.Live(ABOUT))
        await adopter.send(wire.Closing())
        await settled(lambda: handoff.services.least_busy() is None)
        service.path.unlink()
        assert not await offer(handoff, client)
        assert handoff.fallbacks == {"no socket file": 1}
        async with place(path) as successor:
            handoff.services.discover()
            await successor.accept()
            await settled(lambda: handoff.services.least_busy() is not None)
            assert handoff.live == 1, "the one that stops still has it"
            await adopter.send(wire.Ended(ABOUT, 1.0, 101, 1, 1, 1012, wire.Ending.SERVICE))
            service.close()
            await settled(lambda: not handoff.services._draining)
            assert (len(ends), handoff.live) == (1, 0)
            assert handoff.services.least_busy() is not None
        assert "is gone, and" not in caplog.text


async def test_without_a_descriptor_the_next_search_finds_the_service(tmp_path: Path) -> None:
    async with place(tmp_path / "ws.sock") as service:
        handoff = Handoff(service.path, lambda _: None, ClientCounter())
        with no_descriptor_left():
            handoff.services._discover_periodically()
        assert handoff.services.absence[0] == "not answered"
        assert "Too many open files" in handoff.services.absence[1]
        handoff.services.discover()
        await service.accept()
        handoff.services.close()


@pytest.mark.timeout(20)
async def test_a_service_whose_backlog_is_full_delays_nothing(
    handoff: Handoff, path: Path, client: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as owner:
        owner.bind(str(path))
        owner.listen(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
            first.connect(str(path))
            loop = asyncio.get_running_loop()
            began = loop.time()
            await handoff.services.start()
            assert not await offer(handoff, client)
            assert loop.time() - began < 0.4
    assert f"no service answers on {path}" in caplog.text


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
async def test_what_is_no_socket_of_a_service_delays_nothing(
    handoff: Handoff, path: Path, client: socket.socket, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as stream:
        put(kind, path, stream)
        await handoff.services.start()
        assert not await offer(handoff, client)
    assert f"no service answers on {path}" in caplog.text


async def test_many_files_with_such_names_are_not_all_connected_to(handoff: Handoff, path: Path) -> None:
    for number in range(1, 3000):
        path.with_name(f"ws.sock.{number}").touch()
    dialled: list[Path] = []
    handoff.services._connect = dialled.append  # type: ignore[method-assign]
    await handoff.services.start()
    assert len(dialled) == 63
