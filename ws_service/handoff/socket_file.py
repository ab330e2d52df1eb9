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

HANDOFF = socket.SOCK_SEQPACKET
"""The kind of socket that sockets are handed over on: what is sent at once arrives at once."""

LOCK_WAIT = 5.0
"""Seconds for the lock: whoever has it looks for a place, which takes milliseconds."""

_RETRY = 0.02
"""Seconds between two tries to take the lock: the system tells nobody when one becomes free, but by standing still."""


class Claim:
    """The socket file that this process answers, bound and listening.

    Raises ListenError when every place is taken, and OSError when none can be made.
    path: of the first place; the next ones are ``path.1``, ``path.2``, ...
    slots: how many there may be.
    """

    def __init__(self, path: Path, slots: int = 1) -> None:
        path = make_folder(path.parent) / path.name
        with _Lock(path):
            for number in range(slots):
                self.path = socket_path(path, number)
                if not is_answered(self.path, HANDOFF):
                    self.socket = _bind(self.path)
                    return
        raise taken(path)

    def release(self) -> None:
        """Remove the file and stop listening. Safe to call twice."""
        if self.socket.fileno() >= 0:
            # In this order: behind a close the file looks stale, and might be another service's already.
            self.path.unlink(missing_ok=True)
            self.socket.close()


def taken(path: Path) -> ListenError:
    """Return the sentence for a path that another service answers."""
    return ListenError(f"{path} is answered by another ws service already; stop that one, or change ws_service.handoff")


def is_answered(path: Path, kind: socket.SocketKind) -> bool:
    """Is somebody behind the socket file? A process that crashed leaves one that nobody answers.

    kind: of the socket, stream or ``HANDOFF``; one of another kind counts as answered. Raises OSError.
    """
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:  # a full backlog has an owner
            pass
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:  # somebody answers, on a socket of another kind
                raise
        return True


class _Lock:
    """Held while a place is looked for, a moment: two workers that start at once must not remove each other's file."""

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
        """Open the file of the lock. In a sticky folder somebody else may have put something in its place."""
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
        import fcntl  # not on Windows, where nobody comes here

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


def _bind(path: Path) -> socket.socket:
    if path.is_symlink() or path.exists():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenError(
                f"cannot listen on {path}: it is there and is not a socket; remove it, or change ws_service.handoff"
            )
        path.unlink()
    bound = socket.socket(socket.AF_UNIX, HANDOFF)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
        bound.listen(64)  # gateways, of which there are a few
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound


def is_possible() -> bool:
    """Tell whether this system can hand sockets over. macOS has no SOCK_SEQPACKET for unix sockets."""
    return sys.platform == "linux"
