"""How a peer is found that has vanished without a word: its cable, its network, or the machine itself.

One rule for all connections, of the gateway too. TCP asks an idle peer
(keep-alive). It asks nothing while something of ours is not acknowledged:
then it sends that again, for a quarter of an hour. So what TCP knows of such
a peer is looked at. TCP_USER_TIMEOUT would bound both, but it also ends a
peer that lives and reads nothing for as long (a zero window); who is too
slow is for ``timeouts.send`` to say.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from contextlib import suppress

IDLE, INTERVAL, COUNT = 15, 8, 3
"""Seconds, seconds, count: an idle peer is asked after 15 s, and every 8 s after that; it has vanished when three of
these find no answer, 39 s after its last word. Precedents: Linux 2 h, 75 s, 9, which nginx and HAProxy leave as it is
unless they are told otherwise (so_keepalive, tcpka); Go 15 s, 15 s, 9."""

SILENCE = IDLE + INTERVAL * COUNT
"""Seconds without a word from a peer to whom something is sent again and again."""

UNANSWERED = 3
"""How often that has been sent again, or a zero window asked after, without an answer."""

_OPTIONS = tuple(
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPINTVL", INTERVAL), ("TCP_KEEPCNT", COUNT))
    if hasattr(socket, name)  # macOS spells one of them differently, and has sane defaults
)

_INFO = 64
"""Bytes of TCP_INFO that are looked at (linux/tcp.h, struct tcp_info)."""


def keep_alive(lent: socket.socket | None) -> None:
    """Have TCP ask now and then whether the peer is there. A listening socket passes that on to what it accepts.

    lent: a socket, or what a transport shows of its own.
    """
    if lent is None or lent.family == getattr(socket, "AF_UNIX", None):
        return
    with suppress(OSError, ValueError):  # a peer that has gone already; reading says so
        # One object of our own: uvloop makes a new one, with system calls, for each option.
        sock = socket.socket(lent.family, lent.type, lent.proto, fileno=lent.fileno())
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _OPTIONS:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        finally:
            sock.detach()


def has_vanished(transport: asyncio.BaseTransport) -> bool | None:
    """Tell whether a peer does not answer any more what is sent to it; None: nothing is on its way to it.

    False also where the system does not tell; keep-alive and the loops' own time limits are left then.
    """
    lent = transport.get_extra_info("socket")
    if sys.platform != "linux" or lent is None or lent.family == socket.AF_UNIX:
        return None
    sock = None
    try:
        sock = socket.socket(lent.family, lent.type, lent.proto, fileno=lent.fileno())
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO)
    except (OSError, ValueError):  # it has ended meanwhile
        return None
    finally:
        if sock is not None:
            sock.detach()
    if len(info) < _INFO:
        return False
    again, probes = info[2], info[3]
    (on_its_way,) = struct.unpack_from("=I", info, 24)
    data, answer = struct.unpack_from("=II", info, 52)  # milliseconds since the last of each
    if not (on_its_way or again or probes):
        return None
    return max(again, probes) >= UNANSWERED and min(data, answer) >= SILENCE * 1000
