"""What the WebSocket connections of one process share."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from ws_service.logs.limited_log import LimitedLog
from ws_service.websocket.client_memory import ClientMemory
from ws_service.websocket.read_scheduler import ReadScheduler
from ws_service.websocket.sweep import Sweep

if TYPE_CHECKING:
    from ws_service.websocket.client_socket import ClientSocket

READ_SIZE = 32768
"""Bytes of one read. uvloop's own 250 KB, kept for each of a thousand sockets, would be 250 MB."""


class Resources:
    """One of each for all connections.

    memory_limit: bytes that the sockets of one client may take of the process, as in the settings.
    """

    def __init__(self, memory_limit: int) -> None:
        self.sweep = Sweep()
        self.scheduler = ReadScheduler()
        self.log = LimitedLog(logging.getLogger("ws_service.websocket"))
        """For whatever a client can cause."""
        self.memory = ClientMemory(memory_limit)
        self.buffer = memoryview(bytearray(READ_SIZE))
        """All reads go into it, and are copied before the next one."""
        self.sockets: dict[ClientSocket, None] = {}
        """The connections, the oldest first."""
        self.closed: Counter[type[ClientSocket]] = Counter()
        """How many WebSockets have ended, by the kind of their connection."""
