"""Clients that send TLS in which next to nothing is said: key updates, empty records.

A client of TLS 1.3 may ask for new keys without end (RFC 8446, section
4.6.3). OpenSSL answers each, 10 us for 27 bytes, and Python has no switch
against it; what a client does not read of the answers is held below what
our protocols see (issue 9). So once a second what the kernel has received of
each TLS connection is held against what came out of it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import sys
from collections.abc import Callable

from ws_service.logs.limited_log import LimitedLog

logger = logging.getLogger("proxy")

_PERIOD = 1.0
"""Seconds between two looks; one timer for all."""

_OVERHEAD = 24
"""Bytes on the wire for each that is said: a record may hold one, and has 22 to 23 beside it (RFC 8446, 5.2)."""

_ALLOWED = 262144
"""Bytes on the wire beyond that: a handshake, and what was received and could not be read yet."""


class TlsWatch:
    """Watches TLS connections of clients, and cuts those in which next to nothing is said."""

    def __init__(self) -> None:
        self._watched: dict[asyncio.Transport, tuple[Callable[[], int], Callable[[], None]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._log = LimitedLog(logger)

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, transport: asyncio.Transport, received: Callable[[], int], cut: Callable[[], None]) -> None:
        """Watch a connection until it is closed, or by another count from here on.

        received: returns the bytes that came out of it since it began. cut: ends it.
        """
        self._watched[transport] = received, cut
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PERIOD, self._look)

    # -- inside

    def _look(self) -> None:
        for transport in [one for one in self._watched if one.is_closing()]:
            del self._watched[transport]
        for transport, (received, cut) in list(self._watched.items()):
            raw = on_the_wire(transport)
            if raw is not None and raw > _OVERHEAD * received() + _ALLOWED:
                self._tell(transport, raw, received())
                del self._watched[transport]
                cut()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_PERIOD, self._look) if self._watched else None

    def _tell(self, transport: asyncio.Transport, raw: int, received: int) -> None:
        name = transport.get_extra_info("peername")
        who = name[0] if isinstance(name, tuple) else "unix"
        sentence = "a connection from %s was cut: %d bytes of TLS came, and %d in them"
        self._log.say("next to nothing", logging.WARNING, sentence, who, raw, received)


def on_the_wire(transport: asyncio.Transport) -> int | None:
    """Return how many bytes the kernel has received on a connection; None where it does not tell (tcp(7), TCP_INFO)."""
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or sock.family == socket.AF_UNIX:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
    except OSError:  # it has ended meanwhile
        return None
    if len(info) < 136:  # Linux before 4.1
        return None
    received: int = struct.unpack_from("=Q", info, 128)[0]
    return received
