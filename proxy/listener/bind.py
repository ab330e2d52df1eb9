"""What an address means: sockets that are bound and listening, and the file of a unix socket.

A socket file that a process left behind is replaced; one that somebody
answers is not (asyncio would take it away from whoever it is). None is made
in a folder in which somebody else may put another one in its place, and no
link is followed to where one is made or removed (CWE-59, issue 9).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import stat
from pathlib import Path

from proxy.config import split_listen
from proxy.errors import ListenError
from ws_service.net.folders import make_folder

logger = logging.getLogger("proxy")

_BACKLOG = 2048
"""Connections that wait to be accepted; the kernel caps it (somaxconn). Precedents: nginx 511, uvicorn 2048."""

_MODE = 0o660
"""Of a unix socket's file: the user and the group of this process. A proxy in front that runs as another user joins
the group. Precedents: HAProxy and php-fpm 0660; nginx and uvicorn 0666."""

_NOT_HERE = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))


class Bound:
    """The sockets of one address, listening.

    sockets: one for each address that a name has. path: of the unix socket, None where it is none.
    """

    def __init__(self, sockets: list[socket.socket], path: str | None = None) -> None:
        self.sockets = sockets
        self._path = path
        self._identity = _identity(path)

    def close(self) -> None:
        """Stop listening, and remove the socket file unless another process has put its own there."""
        if self._path is not None and self._identity is not None and _identity(self._path) == self._identity:
            os.unlink(self._path)
        self._path = None
        for sock in self.sockets:
            sock.close()


async def bind(address: str, key: str) -> Bound:
    """Listen on an address.

    address: ``host:port``, ``[v6]:port`` or ``unix:path``. key: the setting that holds it, for messages.

    Raises ListenError, with nothing left open.
    """
    place = split_listen(address)
    try:
        if isinstance(place, str):
            return _bind_unix(place)
        host, port = place
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return _bind_tcp([(family, name) for family, _, _, _, name in dict.fromkeys(found)])
    except OSError as error:
        raise ListenError(f"{address} {_reason(error)}, or change {key} in the configuration.") from error


def _bind_tcp(names: list[tuple[int, tuple[object, ...]]]) -> Bound:
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, name in names:
            try:
                sockets.append(_listening(family, name))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error  # a host without IPv6 still knows localhost by its IPv6 name
        if not sockets and missing is not None:
            raise missing
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return Bound(sockets)


def _listening(family: int, name: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(name)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> Bound:
    folder = make_folder(Path(os.path.dirname(path)))
    path = os.path.join(folder, os.path.basename(path))
    _clear(path)
    if not folder.stat().st_mode & stat.S_IXGRP:
        logger.info("a proxy of another user cannot enter the folder %s; if it is to: chmod g+x %s", folder, folder)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        before = os.umask(0o777 & ~_MODE)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return Bound([sock], path)


def _clear(path: str) -> None:
    """Remove the file of a process that is gone. Raises OSError when it is anything else."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "a file that is no socket"
        raise OSError(errno.EEXIST, f"there is {what}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its backlog is full: somebody owns it
            pass
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
            # a socket of another kind: the hand-off's, say
        raise OSError(errno.EADDRINUSE, "somebody answers")


def _identity(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "is already in use; stop the program that listens there"
    if error.errno == errno.EACCES:
        return "may not be used by this user; ports below 1024 need a privilege. Use a higher port"
    return f"cannot be listened on ({error.strerror or error}). Correct it"
