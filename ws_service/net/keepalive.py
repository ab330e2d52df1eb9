"""Finding a peer that has vanished without a FIN: a cable, a network, or the machine itself failed.

One rule for all connections, of the gateway too. TCP probes an idle peer
(keep-alive). It does not probe while data is not acknowledged: then it
retransmits, for a quarter of an hour. So TCP_INFO is read for such a peer.
TCP_USER_TIMEOUT would limit both, but it also ends a live peer that reads
nothing for as long (a zero window); slow peers have ``timeouts.send``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from ws_service.net.tcp_info import IN_FLIGHT, LAST_RECEIVED, tcp_info
from ws_service.net.unacknowledged import unacknowledged

IDLE, INTERVAL, COUNT = 15, 8, 3
"""Seconds, seconds, count: an idle peer is probed after 15 s, and every 8 s after that; it has vanished when three
probes are not answered, 39 s after its last segment. Precedents: Linux 2 h, 75 s, 9, which nginx and HAProxy keep
unless configured otherwise (so_keepalive, tcpka); Go 15 s, 15 s, 9."""

SILENCE = IDLE + INTERVAL * COUNT
"""Seconds without a segment from a peer while data is retransmitted to it."""

UNANSWERED = 3
"""Retransmissions, or probes of a zero window, without an answer."""

_OPTIONS = tuple(
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", IDLE), ("TCP_KEEPINTVL", INTERVAL), ("TCP_KEEPCNT", COUNT))
    if hasattr(socket, name)  # macOS spells one of them differently, and has sane defaults
)


def keep_alive(lent: socket.socket | None) -> None:
    """Switch TCP keep-alive on. Accepted sockets inherit it from a listening socket.

    lent: a socket, or what a transport shows of its own.
    """
    if lent is None or lent.family == getattr(socket, "AF_UNIX", None):
        return
    with suppress(OSError, ValueError):  # the peer has gone already; the next read reports it
        # One object of our own: uvloop makes a new one, with system calls, for each option. The family is of no account
        # for options, and asking for the real one costs more than the object.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, lent.fileno())
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _OPTIONS:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        finally:
            sock.detach()


def has_vanished(transport: asyncio.BaseTransport) -> bool | None:
    """Tell whether a peer acknowledges nothing any more; None: no data is in flight to it.

    None also where the system does not tell; then keep-alive and the other timeouts remain.
    """
    lent = transport.get_extra_info("socket")
    if unacknowledged(lent) == 0:  # nearly all, and TCP_INFO takes five times as long: a hub asks thousands
        return None
    info = tcp_info(lent, LAST_RECEIVED + 8)
    if info is None:
        return None
    again, probes = info[2], info[3]
    (on_its_way,) = struct.unpack_from("=I", info, IN_FLIGHT)
    data, answer = struct.unpack_from("=II", info, LAST_RECEIVED)
    if not (on_its_way or again or probes):
        return None
    return max(again, probes) >= UNANSWERED and min(data, answer) >= SILENCE * 1000
