"""Folders that are safe for a socket file, and creating one that is missing; for both programs."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

MODE = 0o750
"""Mode of a new folder, whatever the umask: this user's, and its group may enter it. So a proxy of another user
reaches the socket that the gateway listens on (0660) when it is in the group, also where the service, whose own socket
is 0600, has made the folder first."""

_LONGEST = 107
"""Bytes of a unix socket's path (sockaddr_un of Linux); macOS takes 103."""


def make_folder(folder: Path) -> Path:
    """Make a folder for socket files where it is missing, and those above it; return it as ``safe_folder`` does.

    Nothing is made below a folder that is not safe. Raises OSError.
    """
    resolved = Path(os.path.realpath(folder))
    problem = folder_problem(resolved)
    if problem is not None:
        raise OSError(errno.EPERM, problem)
    for at in _missing(resolved):
        with contextlib.suppress(FileExistsError):  # safe_folder checks its owner
            os.mkdir(at, 0o700)
            os.chmod(at, MODE | at.stat().st_mode & stat.S_ISGID)
        if safe_folder(at) != at:  # before it is used: its owner could replace it
            raise OSError(errno.EPERM, f"another user has put a link at {at} in the meantime; remove it")
    return safe_folder(resolved)


def folder_problem(folder: Path) -> str | None:
    """Say why no socket file can be made in a folder, which need not be there; None where it can."""
    resolved = Path(os.path.realpath(folder))
    missing = _missing(resolved)
    there = missing[0].parent if missing else resolved
    try:
        safe_folder(there)
    except OSError as error:
        return error.strerror or str(error)
    if not there.is_dir():
        return f"{there} is a file, and no folder"
    if os.access(there, os.W_OK | os.X_OK):
        return None
    if missing:
        return f"there is no folder {resolved}, and this user may not make it; make it: mkdir -p {resolved}"
    return f"this user may not write into the folder {resolved}; let it (chown, chmod)"


def socket_problem(path: Path) -> str | None:
    """Say why no socket file can be made at a path; None where it can."""
    size = len(os.fsencode(os.path.realpath(path.parent))) + 1 + len(os.fsencode(path.name))
    if size > _LONGEST:
        return f"the path has {size} bytes, and that of a unix socket at most {_LONGEST}; use a shorter one"
    return folder_problem(path.parent)


def _missing(folder: Path) -> list[Path]:
    """Return the folder and those above it that are not there, the topmost first."""
    return [at for at in reversed((folder, *folder.parents)) if not os.path.lexists(at)]


def safe_folder(folder: Path) -> Path:
    """Return a folder without links in its path, if it and each one above it are ours or root's. Raises OSError.

    Another user who may write into one of them could replace it, or a file in it
    (CWE-59, issue 9). In a folder with the sticky bit, such as ``/tmp``, users can
    replace only their own files, so it is safe. The group of this process is
    trusted: its members may use the socket anyway.
    Precedent: sshd's StrictModes.

    What the error says names the folder and what to do.
    """
    resolved = Path(os.path.realpath(folder))
    for at in (resolved, *resolved.parents):
        status = at.stat()
        if status.st_uid not in (0, os.geteuid()):
            raise OSError(
                errno.EPERM,
                f"the folder {at} belongs to user {status.st_uid}, and not to this one or root; use another folder",
            )
        writers = stat.S_IWOTH if status.st_gid in (0, os.getegid()) else stat.S_IWGRP | stat.S_IWOTH
        if status.st_mode & writers and not status.st_mode & stat.S_ISVTX:
            raise OSError(errno.EPERM, f"others may write into the folder {at}; forbid that: chmod go-w {at}")
    return resolved
