"""The process and the user at the other end of a unix socket."""

from __future__ import annotations

import os
import socket
import struct
from typing import NamedTuple


class PeerCredentials(NamedTuple):
    """What the kernel knows of a peer, from the moment when it connected or began to listen."""

    pid: int
    uid: int

    @property
    def is_trusted(self) -> bool:
        """Whether it is root, or the user of this process."""
        return self.uid in (0, os.geteuid())


def peer_credentials(sock: socket.socket) -> PeerCredentials:
    """Return the credentials of the peer (unix(7), SO_PEERCRED). Linux only. Raises OSError."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return PeerCredentials(pid, uid)
