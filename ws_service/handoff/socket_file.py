"""The socket file through which sockets are handed over: claimed once, shared by workers, replaced when it is stale."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import time
from pathlib import Path

from ws_service.errors import ListenError
from ws_service.handoff.protocol import socket_path
from ws_service.net.folders import make_folder
from ws_service.net.listening import bind_socket_file, listen_problem

HANDOFF = socket.SOCK_SEQPACKET
"""The kind of socket that sockets are handed over on: what is sent at once arrives at once."""

_MODE = 0o600
"""Of the file: for the user of this process alone."""

_BACKLOG = 64
"""Gateways that the kernel's queue may hold; there are a few."""

LOCK_WAIT = 5.0
"""Seconds for the lock: its owner looks for a free path, which takes milliseconds."""

_RETRY = 0.02
"""Seconds between two tries to take the lock: to be told when it becomes free would block the process."""


class Claim:
    """The socket file that this process answers, bound and listening.

    Raises ListenError when every path is taken, and OSError when no file can be made.
    path: of the first worker; ``protocol.socket_path`` has those of the next ones.
    slots: how many there may be.
    """

    def __init__(self, path: Path, slots: int = 1) -> None:
        path = make_folder(path.parent) / path.name
        with _Lock(path):
            for number in range(slots):
                try:
                    self._bound = bind_socket_file(socket_path(path, number), _MODE, HANDOFF)
                except FileExistsError as error:
                    raise ListenError(listen_problem(str(path), error, "ws_service.handoff")) from None
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                else:
                    self.socket = self._bound.sockets[0]
                    self.socket.listen(_BACKLOG)
                    return
        raise taken(path)

    @property
    def path(self) -> Path:
        """The socket file."""
        assert self._bound.path is not None
        return self._bound.path

    def release(self) -> None:
        """Remove the file and stop listening. Safe to call twice."""
        self._bound.close()


def taken(path: Path) -> ListenError:
    """Return the sentence for a path that another service answers."""
    return ListenError(f"{path} is answered by another ws service already; stop that one, or change ws_service.handoff")


class _Lock:
    """Taken while a free path is looked for: two workers that start at once must not remove each other's file."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}.lock")

    def __enter__(self) -> None:
        self._file = self._open()
        try:
            self._take()
        except BaseException:
            os.close(self._file)
            raise

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def _open(self) -> int:
        """Open the file of the lock. In a sticky folder another user may have put something in its place."""
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._refusal("is a symbolic link") from None
            raise
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid in (0, os.geteuid()):
            return descriptor
        os.close(descriptor)
        if stat.S_ISREG(status.st_mode):
            raise self._refusal(f"belongs to user {status.st_uid}")
        raise self._refusal("is no file")

    def _refusal(self, what: str) -> OSError:
        return PermissionError(errno.EPERM, f"{self._path} {what}, and is to be a file of ours; remove it")

    def _take(self) -> None:
        import fcntl  # not on Windows, where this is not called

        deadline = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BlockingIOError(
                        errno.EWOULDBLOCK,
                        f"another process has held the lock {self._path} for {LOCK_WAIT:g} s; "
                        f"find it with fuser {self._path} and end it",
                    ) from None
            time.sleep(_RETRY)


def is_possible() -> bool:
    """Tell whether this system can hand sockets over. macOS has no SOCK_SEQPACKET for unix sockets."""
    return sys.platform == "linux"
