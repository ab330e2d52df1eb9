"""Listening sockets that systemd passes to this process (socket activation, sd_listen_fds(3)).

systemd has the port, and keeps it while this process restarts: connections that come meanwhile wait in the kernel's
queue, and none is refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from proxy.errors import ListenError

FIRST = 3
"""The number of the first descriptor that is passed (SD_LISTEN_FDS_START)."""

_UNNAMED = "unknown"
"""What sd_listen_fds_with_names(3) calls a socket whose name was not passed."""

_NOTHING = "systemd has passed no socket; start the socket unit, and name it in the service's unit (Sockets=)"


class _Passed(NamedTuple):
    name: str
    descriptor: int


class PassedSockets:
    """The sockets that systemd has passed, to be taken by name.

    names: of the sockets, in the order of their descriptors, which begin with ``FIRST``. why_none: a sentence for the
    operator, where there is none.
    """

    def __init__(self, names: Sequence[str] = (), why_none: str = _NOTHING) -> None:
        self._passed = [_Passed(name, FIRST + number) for number, name in enumerate(names)]
        self._why_none = why_none

    @property
    def names(self) -> list[str]:
        """The names of those that nothing has taken."""
        return [one.name for one in self._passed]

    def take(self, name: str, setting: str, *, others_but: str | None = None) -> list[socket.socket]:
        """Take the sockets of one name: listening, and not blocking.

        name: as ``FileDescriptorName=`` has it. setting: the key that asks for them, for messages.
        others_but: where no socket has the name, take all but those of this name. None: take none of them.

        Raises ListenError: there is none, or one of them is no listening stream socket.
        """
        chosen = [one for one in self._passed if one.name == name]
        if not chosen and others_but is not None:
            chosen = [one for one in self._passed if one.name != others_but]
        if not chosen:
            if not self._passed:
                raise ListenError(f"{setting} is systemd, and {self._why_none}")
            names = ", ".join(self.names)
            raise ListenError(
                f"{setting} wants a socket named {name} of systemd, and what it has passed is named {names}; write "
                f"FileDescriptorName={name} in the socket unit"
            )
        self._passed = [one for one in self._passed if one not in chosen]
        sockets: list[socket.socket] = []
        try:
            for one in chosen:
                sockets.append(_listening(one, setting))
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        return sockets


def passed_sockets(env: MutableMapping[str, str] = os.environ) -> PassedSockets:
    """Find out which sockets systemd has passed to this process.

    The variables that say so are removed from ``env``, so that no child process takes them for its own, and none
    inherits the sockets.
    """
    count, pid, names = (env.pop(key, "") for key in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"))
    if not (count.isascii() and count.isdigit()) or int(count) == 0:
        return PassedSockets()
    if pid != str(os.getpid()):
        return PassedSockets(
            why_none=f"systemd has passed its sockets to process {pid or '?'}, and this is process {os.getpid()}: "
            "another program has started it as a child; have that one exec it, or leave that one out"
        )
    for number in range(int(count)):
        with suppress(OSError):  # it is no descriptor: whatever asks for it is told
            os.set_inheritable(FIRST + number, False)
    given = names.split(":") if names else []
    return PassedSockets([*given, *[_UNNAMED] * int(count)][: int(count)])


def _listening(passed: _Passed, setting: str) -> socket.socket:
    """Return a socket that was passed. Raises ListenError for what does not listen for streams."""
    place = f"{setting}: descriptor {passed.descriptor}, which systemd has passed as {passed.name},"
    try:
        sock = socket.socket(fileno=passed.descriptor)
    except OSError as error:
        raise ListenError(f"{place} is no socket: {error.strerror or error}") from None
    try:
        is_stream = sock.type == socket.SOCK_STREAM and sock.family in _FAMILIES
        if not is_stream or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ListenError(f"{place} does not listen for connections; write ListenStream= and Accept=no")
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


_FAMILIES = (socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", socket.AF_INET))
