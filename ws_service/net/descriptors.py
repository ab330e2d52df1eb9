"""File descriptors: how many this process may have, and what to say when they have run out."""

from __future__ import annotations

import contextlib
import errno
import sys

_OUT_OF = {
    errno.EMFILE: "this process has no descriptor left",
    errno.ENFILE: "the system has no descriptor left",
    errno.ENOBUFS: "the system has no memory left for sockets",
    errno.ENOMEM: "the system has no memory left for sockets",
}


def raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as the system lets us, and return it: each socket takes one."""
    limit, hard = _limits()
    if limit != hard:
        import resource

        with contextlib.suppress(ValueError, OSError):  # macOS names a hard limit that it does not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard
    return limit


def accept_failure(error: OSError) -> str:
    """Return in words why accepting a connection fails, and what to do."""
    what = _OUT_OF.get(error.errno or 0, f"accept fails ({error.strerror})")
    return f"{what}, of {_limits()[0]}; raise it (LimitNOFILE= in a systemd unit, ulimit -n in a shell)"


def _limits() -> tuple[int, int]:
    if sys.platform == "win32":  # has none that a server comes to
        return sys.maxsize, sys.maxsize
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)
