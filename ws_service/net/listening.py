"""From an address to bound sockets, and the file of a unix socket: made, replaced when it is stale, removed.

A stale socket file is replaced. One on which a process listens is not: asyncio
would replace it. No socket file is created in a folder in which another user
may replace it, and no link is followed where one is created or removed
(CWE-59, issue 9).
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ws_service.net.folders import make_folder

MODE = 0o660
"""Of a unix socket's file: for the user and the group of this process. A proxy in front that runs as another user joins
the group. Precedents: HAProxy and php-fpm 0660; nginx and uvicorn 0666."""

_NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
"""A host without IPv6 still knows localhost by its IPv6 name."""

_PORTS_TRIED = 16
"""Free ports of a host's first address that are tried at its others."""

Found = tuple[int, int, int, str, Any]
"""An address as ``getaddrinfo`` finds it."""


class Bound:
    """The sockets of one address, bound and not blocking; they do not listen yet.

    sockets: one for each address that a host name has. path: of the unix socket, None where it is none.
    is_passed: whether systemd has bound them, listens, and keeps them after this process.
    """

    def __init__(self, sockets: list[socket.socket], path: Path | None = None, *, is_passed: bool = False) -> None:
        self.sockets = sockets
        self.path = path
        self.is_passed = is_passed
        self._identity = _identity(path)

    def close(self) -> None:
        """Close the sockets; before, remove the socket file unless another process has put its own there.

        Safe to call twice. In this order: without a socket the file would look stale, and might be replaced before it
        is removed.
        """
        if self.path is not None and self._identity is not None and _identity(self.path) == self._identity:
            self.path.unlink()
        self._identity = None
        for sock in self.sockets:
            sock.close()


def find(host: str, port: int) -> Sequence[Found]:
    """Look up the addresses to listen on; ``*`` is every one of both families. Blocks. Raises OSError."""
    name = None if host == "*" else host
    return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)


def bind_tcp(found: Iterable[Found], *, reuse_port: bool = False) -> Bound:
    """Bind addresses that were looked up; those that this host does not have are left out, unless it has none.

    Port 0 is a port that is free at all of them. reuse_port: whether other processes of this user may bind the same
    (socket(7), SO_REUSEPORT).

    Raises OSError, with nothing left open.
    """
    addresses = list(dict.fromkeys((each[0], each[4]) for each in found))
    for _ in range(_PORTS_TRIED):
        try:
            return _bind_all(addresses, reuse_port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or any(name[1] for _, name in addresses):
                raise
    return _bind_all(addresses, reuse_port)


def _bind_all(addresses: Iterable[tuple[int, Any]], reuse_port: bool) -> Bound:
    sockets: list[socket.socket] = []
    missing = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    try:
        for family, (host, port, *rest) in addresses:
            same = port or (sockets[0].getsockname()[1] if sockets else 0)
            try:
                sockets.append(_bind_one(family, (host, same, *rest), reuse_port))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
        if not sockets:
            raise missing
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return Bound(sockets)


def _bind_one(family: int, name: Any, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_socket_file(path: Path, mode: int = MODE, kind: socket.SocketKind = socket.SOCK_STREAM) -> Bound:
    """Bind a unix socket; its folder is made where it is missing.

    mode: of the file. kind: of the socket.

    Raises FileExistsError when there is something else at the path, and OSError: EADDRINUSE when the socket that is
    there is answered. The text of the error says what is there. Two processes that do this at once need a lock.
    """
    path = make_folder(path.parent) / path.name
    _remove_stale(path, kind)
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        sock.setblocking(False)
        before = os.umask(0o777 & ~mode)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
    except BaseException:
        sock.close()
        raise
    return Bound([sock], path)


def _remove_stale(path: Path, kind: socket.SocketKind) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "there and is not a socket"
        raise FileExistsError(errno.EEXIST, f"{path} is {what}; remove it")
    if is_answered(path, kind):
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink(missing_ok=True)


def is_answered(path: Path, kind: socket.SocketKind) -> bool:
    """Tell whether a process listens on a socket file. One that has crashed leaves a file that nothing answers.

    kind: of the socket that asks; a socket of another kind counts as answered. Raises OSError.
    """
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:  # its backlog is full: a process listens on it
            pass
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:  # a socket of another kind: the hand-off's, say
                raise
        return True


def with_port(address: str, sockets: Sequence[socket.socket]) -> str:
    """Return an address as it was written, with the port that it has become where that was 0.

    sockets: bound to it; without any the address stays as it is.
    """
    host, colon, port = address.rpartition(":")
    if not sockets or address.startswith("unix:") or not port.isdigit() or int(port) != 0:
        return address
    return f"{host}{colon}{sockets[0].getsockname()[1]}"


def listen_problem(address: str, error: OSError, setting: str) -> str:
    """Return in words why an address cannot be listened on, and what to do.

    address: as it is written. setting: the key in the configuration that holds it.
    """
    if error.errno == errno.EADDRINUSE:
        return f"{address} is already in use; stop the program that listens there, or change {setting}"
    if isinstance(error, socket.gaierror):
        return f"{address} cannot be looked up: {error.strerror}; change {setting}"
    why = error.strerror or str(error)
    if error.errno == errno.EACCES and address.rpartition(":")[2].isdigit():
        why = "this user may not; ports below 1024 need a privilege. Use a higher port"
    return f"cannot listen on {address}: {why}{', or' if ';' in why else ';'} change {setting}"


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
