"""The gateway's two addresses: both or neither, and what they have become."""

from __future__ import annotations

import os
import socket

import pytest

from proxy.config import Settings
from proxy.errors import ListenError
from proxy.listener import passed_sockets as passing
from proxy.listener.passed_sockets import PassedSockets, passed_sockets
from proxy.server.listeners import Listeners, open_listeners

NOTHING = PassedSockets()


async def opened(passed: PassedSockets = NOTHING, **settings: object) -> Listeners:
    values = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", **settings}
    return await open_listeners(Settings.model_validate(values), passed)


def passes(monkeypatch: pytest.MonkeyPatch, **sockets: socket.socket) -> PassedSockets:
    monkeypatch.setattr(passing, "FIRST", 900)
    for number, sock in enumerate(sockets.values()):
        os.dup2(sock.fileno(), 900 + number)
    return passed_sockets(
        {"LISTEN_FDS": str(len(sockets)), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": ":".join(sockets)}
    )


async def test_port_0_is_a_port_that_is_free_and_it_is_told() -> None:
    listeners = await opened()
    (url,), (admin,) = listeners.public_urls(is_tls=False), listeners.admin_urls()
    assert url != admin
    for one in (url, admin):
        host, _, port = one.removeprefix("http://").rpartition(":")
        socket.create_connection((host, int(port))).close()
    listeners.close()


async def test_port_0_is_the_same_at_each_address_of_a_name() -> None:
    listeners = await opened(listen="localhost:0")
    ports = {sock.getsockname()[1] for sock in listeners.public.sockets}
    assert len(ports) == 1
    assert 0 not in ports
    listeners.close()


async def test_admin_may_be_off() -> None:
    listeners = await opened(admin=False)
    assert listeners.admin is None
    assert listeners.admin_urls() == []
    listeners.close()


async def test_sockets_of_systemd_are_told_apart_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as admin, socket.create_server(("127.0.0.1", 0)) as gateway:
        passed = passes(monkeypatch, admin=admin, gateway=gateway)
        listeners = await opened(passed, listen="systemd", admin="systemd")
        assert listeners.public.is_passed
        assert listeners.public_urls(is_tls=True) == [f"https://127.0.0.1:{gateway.getsockname()[1]}"]
        assert listeners.admin_urls() == [f"http://127.0.0.1:{admin.getsockname()[1]}"]
        listeners.close()
        socket.create_connection(gateway.getsockname()).close()  # systemd's own goes on


async def test_the_one_for_the_admin_listener_never_becomes_the_public_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as admin:
        with pytest.raises(ListenError, match=r"wants a socket named gateway .* is named admin"):
            await opened(passes(monkeypatch, admin=admin), listen="systemd")
        os.close(900)


async def test_an_admin_socket_of_systemd_that_other_hosts_reach_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as admin:
        with pytest.raises(ListenError, match=r"can be reached from other hosts \(0\.0\.0\.0\); write a loopback"):
            await opened(passes(monkeypatch, admin=admin), admin="systemd")
        listeners = await opened(passes(monkeypatch, admin=admin), admin="systemd", admin_public=True)
        listeners.close()


async def test_a_name_of_ones_own_may_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        listeners = await opened(passes(monkeypatch, web=web), listen="systemd:web")
        assert listeners.public.sockets[0].getsockname() == web.getsockname()
        listeners.close()


async def test_gateways_share_a_port_where_each_of_them_says_so() -> None:
    first = await opened(reuse_port=True)
    address = f"127.0.0.1:{first.public.sockets[0].getsockname()[1]}"
    second = await opened(listen=address, reuse_port=True)
    assert second.public_urls(is_tls=False) == first.public_urls(is_tls=False)
    with pytest.raises(ListenError, match=f"^{address} is already in use; stop the program .* gateway.listen$"):
        await opened(listen=address)
    admin = f"127.0.0.1:{first.admin.sockets[0].getsockname()[1]}" if first.admin else ""
    with pytest.raises(ListenError, match=r"gateway\.admin; gateways that share a port need one each, such as"):
        await opened(listen=address, reuse_port=True, admin=admin)
    for one in (first, second):
        one.close()
    alone = await opened(listen=address)
    with pytest.raises(ListenError, match="; a gateway that shares its port has reuse_port: true as well, and runs as"):
        await opened(listen=address, reuse_port=True)
    alone.close()
