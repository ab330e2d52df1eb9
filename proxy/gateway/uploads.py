"""Uploads, requests whose body is still arriving: a limit for each client; the next ones wait.

Bodies are streamed, so a client that sends a byte now and then occupies one of
Dash's workers until ``timeouts.body`` ends it. nginx collects a whole body,
on disk if necessary, before it connects to an upstream. Here one client can
occupy only a few workers (issue 9, A10). A body that has arrived before its
request is sent is not counted: nothing waits for it.
"""

from __future__ import annotations

import logging

from proxy.errors import TooMany
from proxy.net.client_limits import client_key
from proxy.net.concurrency import ConcurrencySlot, PerClientConcurrency
from ws_service.logs.limited_log import LimitedLog

logger = logging.getLogger("proxy")


class Uploads:
    """The uploads of all clients. One for the life of the process."""

    def __init__(self) -> None:
        self._slots = PerClientConcurrency()
        self._log = LimitedLog(logger)

    @property
    def total(self) -> int:
        """How many there are, without those that wait."""
        return self._slots.total

    @property
    def clients(self) -> int:
        """How many clients have any, or wait for one."""
        return self._slots.clients

    async def acquire(self, address: str, most: int | None, seconds: float) -> ConcurrencySlot:
        """Count an upload in, after the client's earlier ones, until it is released.

        address: the client's, with trusted proxies applied. most: ``limits.uploads_per_client``; None: no limit.
        seconds: to wait. Raises TooMany when none of the earlier ones has ended by then. Cancelling it ends the wait.
        """
        key = client_key(address)
        try:
            return await self._slots.acquire(key, most, seconds)
        except TimeoutError:
            what = f"{key} has {most} uploads under way, the most that gateway.limits.uploads_per_client allows"
            self._log.say("uploads", logging.WARNING, "%s; if it is a proxy, name it in gateway.trusted_proxies", what)
            raise TooMany(
                "Your address sends as many request bodies here as one client may at a time.",
                "uploads_per_client",
                advice="Try again when one of them has ended.",
                detail=f"{what}; none of them ended within {seconds:g} s",
            ) from None
