"""The sending side of a client's connection: back-pressure, and finding a client that does not read or has vanished."""

from __future__ import annotations

import asyncio
import socket
import struct

from ws_service.net.unacknowledged import waiting

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ClientWriter:
    """The sending side of a client's connection.

    timeout: seconds that the client may read almost nothing, by the settings with which its request began.

    ``transport`` is None before the connection is made, and after its end.
    ``is_slow``: more waits than may; nothing more is to be written until ``drain`` returns. ``was_too_slow``: the
    connection was cut because the client took nothing of what waited for it.
    """

    __slots__ = ("_drained", "is_acknowledged", "is_slow", "timeout", "transport", "was_too_slow", "written")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.transport: asyncio.Transport | None = None
        self.written = 0
        self.is_acknowledged = True  # all of it, at a sweep of ``DeadPeers``
        self.is_slow = False
        self.was_too_slow = False
        self._drained: asyncio.Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Send bytes; on a connection that has ended they go nowhere."""
        if self.transport is not None:
            self.written += len(data)
            self.is_acknowledged = False
            self.transport.write(data)

    async def drain(self) -> None:
        """Wait until the client takes more bytes. Raises ConnectionResetError when it leaves instead.

        One coroutine waits at a time; it may be cancelled.
        """
        if self.is_slow and self.transport is not None:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self.transport is None:
            raise ConnectionResetError("the client has left")

    def set_slow(self, is_slow: bool) -> None:
        """Note that too much waits for the client, or no longer does."""
        self.is_slow = is_slow
        if not is_slow:
            self._wake()

    def ended(self) -> None:
        """Note that the connection has ended, or is no longer ours."""
        self.transport = None
        self._wake()

    def reset(self) -> None:
        """Cut the connection with a TCP reset: unsent bytes are discarded, also those in the kernel."""
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()

    # -- what ``SlowReaders`` and ``DeadPeers`` ask

    def taken(self) -> int | None:
        """Return how many bytes the client has taken; None when nothing waits for it."""
        left = None if self.transport is None else waiting(self.transport)
        return None if left is None else self.written - left

    def took_too_long(self) -> None:
        """Cut the client, with what waits for it."""
        self.was_too_slow = True
        self.reset()

    def vanish(self) -> None:
        """Cut a client that does not answer any more."""
        self.reset()

    # -- inside

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None
