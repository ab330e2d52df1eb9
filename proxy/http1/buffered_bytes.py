"""Bytes that wait on one connection, counted for its client."""

from __future__ import annotations

import asyncio

from proxy.http1.client_writer import ClientWriter
from proxy.http1.request_handler import RequestHandler
from proxy.net.client_limits import Lease


class BufferedBytes:
    """At most one lease for each reason why bytes wait. The connection is cut where its client has too many of them.

    handler: gives the leases. writer: cuts the connection.

    ``address`` is the client's.
    """

    __slots__ = ("_handler", "_leases", "_writer", "address")

    def __init__(self, handler: RequestHandler, writer: ClientWriter) -> None:
        self._handler = handler
        self._writer = writer
        self._leases: dict[str, Lease] = {}
        self.address = "-"

    def count(self, reason: str, size: int) -> None:
        """Count bytes, unless some are counted for the same reason. size: bytes."""
        if reason in self._leases:
            return
        lease = self._handler.lease_buffer(self.address, size)
        if lease is not None:
            self._leases[reason] = lease
        else:
            asyncio.get_running_loop().call_soon(self._writer.took_too_long)  # not in the middle of a write

    def release(self, reason: str) -> None:
        """Count them no more, if they were counted."""
        if self._leases and (lease := self._leases.pop(reason, None)) is not None:
            lease.release()

    def release_all(self) -> None:
        """Count none any more."""
        for reason in list(self._leases):
            self.release(reason)
