"""Which folders a socket file may be made in: of the gateway, and of the service."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def safe_folder(folder: Path) -> Path:
    """Return a folder without links in its path, if it and each one above it are ours or root's. Raises OSError.

    Who else may write into one of them could exchange it, or what is in it
    (CWE-59, issue 9). In a folder with the sticky bit, such as ``/tmp``, that
    holds for what is not their own, and so for us it is safe. The group of
    this process is believed: its members may use the socket anyway.
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
            raise OSError(errno.EPERM, f"others may write into the folder {at}; take that right away (chmod go-w)")
    return resolved
