"""The gateway's addresses become listening sockets."""

from __future__ import annotations

import errno
import logging
import socket
import stat
from ipaddress import ip_address
from pathlib import Path

from proxy.config import passed_name, split_listen
from proxy.errors import ListenError
from proxy.listener.passed_sockets import PassedSockets
from proxy.net.resolver import Resolver
from ws_service.net.accept_loop import BACKLOG
from ws_service.net.listening import Bound, Found, bind_socket_file, bind_tcp, find, listen_problem

logger = logging.getLogger("proxy")

PUBLIC, ADMIN = "gateway.listen", "gateway.admin"
"""The settings that are bound here."""

PUBLIC_NAME, ADMIN_NAME = "gateway", "admin"
"""How their sockets are named in a socket unit (``FileDescriptorName=``)."""


async def bind(address: str, setting: str, passed: PassedSockets | None = None, *, reuse_port: bool = False) -> Bound:
    """Listen on an address.

    address: ``host:port``, ``[v6]:port``, ``unix:path``, ``systemd`` or ``systemd:name``. setting: the key that holds
    it, for messages. passed: what systemd has passed; None: nothing. reuse_port: whether other gateways may listen on
    the same port.

    Raises ListenError, with nothing left open.
    """
    name = passed_name(address)
    if name is not None:
        return Bound(_take(name, setting, passed or PassedSockets()), is_passed=True)
    place = split_listen(address)
    try:
        bound = (
            _bind_unix(Path(place)) if isinstance(place, str) else bind_tcp(await _find(*place), reuse_port=reuse_port)
        )
        return _listen(bound)
    except OSError as error:
        problem = listen_problem(address, error, setting)
        if reuse_port and error.errno == errno.EADDRINUSE:
            problem += "; a gateway that shares its port has reuse_port: true as well, and runs as the same user"
        raise ListenError(problem) from error


def _take(name: str, setting: str, passed: PassedSockets) -> list[socket.socket]:
    """Take sockets of systemd by the name that is written, or by the setting's own.

    One that is meant for the admin listener becomes the public one only where it is asked for by its name.
    """
    if name or setting == ADMIN:
        return passed.take(name or ADMIN_NAME, setting)
    return passed.take(PUBLIC_NAME, setting, others_but=ADMIN_NAME)


async def _find(host: str, port: int) -> list[Found]:
    """Look a host up without keeping the loop, or a thread that its end waits for."""
    addresses = [host] if host == "*" else await Resolver(host).addresses()
    return [found for address in addresses for found in find(address, port)]


def _bind_unix(path: Path) -> Bound:
    bound = bind_socket_file(path)
    folder = path.parent.resolve()
    if not folder.stat().st_mode & stat.S_IXGRP:
        logger.info("a proxy of another user cannot enter the folder %s; if it is to: chmod g+x %s", folder, folder)
    return bound


def public_host(bound: Bound) -> str:
    """Return the first address of sockets that other hosts reach; empty where there is none."""
    hosts = [sock.getsockname()[0] for sock in bound.sockets if sock.family in (socket.AF_INET, socket.AF_INET6)]
    return next((host for host in hosts if not ip_address(host.partition("%")[0]).is_loopback), "")


def _listen(bound: Bound) -> Bound:
    try:
        for sock in bound.sockets:
            sock.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound
