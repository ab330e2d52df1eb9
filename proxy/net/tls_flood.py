"""Clients that send TLS records with next to no data in them: key updates, empty records.

A client of TLS 1.3 may request new keys without end (RFC 8446, section
4.6.3). OpenSSL answers each, 10 us for 27 bytes, and Python has no switch
against it; what a client does not read of the answers waits below the
protocols (issue 9). So once a second the bytes that the kernel has received on
each TLS connection are compared with the data that came out of it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable

from ws_service.logs.limited_log import LimitedLog
from ws_service.net.periodic_sweep import Pass, PeriodicSweep
from ws_service.net.tcp_info import RECEIVED, tcp_info

logger = logging.getLogger("proxy")

_PERIOD = 1.0
"""Seconds between two sweeps."""

_OVERHEAD = 24
"""Bytes on the wire for each byte of data: a record may have one, and 22 to 23 of its own (RFC 8446, 5.2)."""

_ALLOWED = 262144
"""Encrypted bytes beyond that: a handshake, and what was received and not read yet."""


class TlsFloods:
    """Cuts TLS connections of clients that send next to no data in their records."""

    def __init__(self) -> None:
        self._connections: dict[asyncio.Transport, tuple[Callable[[], int], Callable[[], None]]] = {}
        self._sweep = PeriodicSweep(self._pass)
        self._log = LimitedLog(logger)

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, transport: asyncio.Transport, received: Callable[[], int], cut: Callable[[], None]) -> None:
        """Sweep a connection until it is closed. Added again, it has another count from here on.

        received: returns the bytes that came out of it since it began. cut: ends it.
        """
        self._connections[transport] = received, cut
        self._sweep.start(_PERIOD)

    # -- inside

    def _pass(self, _: float) -> Pass:
        for transport, (received, cut) in list(self._connections.items()):
            if transport.is_closing():
                self._connections.pop(transport, None)
                continue
            raw, data = bytes_on_the_wire(transport), received()
            if raw is not None and raw > _OVERHEAD * data + _ALLOWED:
                self._report(transport, raw, data)
                del self._connections[transport]
                cut()
            yield
        return _PERIOD if self._connections else None

    def _report(self, transport: asyncio.Transport, raw: int, data: int) -> None:
        name = transport.get_extra_info("peername")
        address = name[0] if isinstance(name, tuple) else "unix"
        sentence = "a connection from %s was cut: %d bytes of TLS came, and %d in them"
        self._log.say("TLS without data", logging.WARNING, sentence, address, raw, data)


def bytes_on_the_wire(transport: asyncio.Transport) -> int | None:
    """Return how many bytes the kernel has received on a connection; None where it is not known."""
    info = tcp_info(transport.get_extra_info("socket"), RECEIVED + 8)
    return None if info is None else int.from_bytes(info[RECEIVED:], sys.byteorder)
