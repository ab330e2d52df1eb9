"""Requests whose body is still on its way to an upstream: so many of one client at a time, and the next ones wait.

Bodies are streamed, so a client that sends a byte now and then keeps one of
Dash's workers until ``timeouts.body`` ends it. nginx collects a whole body,
on disk if need be, before it asks an upstream. Here one client can keep only
a few of them (issue 9, A10). A body that is here when its upstream is asked
is not counted: nobody waits for it.
"""

from __future__ import annotations

import logging
import time

from proxy.errors import TooMany
from proxy.limits import client_key
from proxy.waiting import Turns

logger = logging.getLogger("proxy")

_QUIET = 60.0
"""Seconds between two lines in the log."""


class Upload:
    """One of a client's uploads; it counts until it is released."""

    __slots__ = ("_key", "_uploads")

    def __init__(self, uploads: Uploads, key: str) -> None:
        self._uploads: Uploads | None = uploads
        self._key = key

    def release(self) -> None:
        """Let the client's next one begin. Safe to call again: then it does nothing."""
        uploads, self._uploads = self._uploads, None
        if uploads is not None:
            uploads.leave(self._key)


class Uploads:
    """The uploads of all clients. One for the life of the process."""

    def __init__(self) -> None:
        self._clients: dict[str, Turns] = {}
        self._said = float("-inf")

    @property
    def total(self) -> int:
        """How many there are, those that wait not counted."""
        return sum(turns.taken for turns in self._clients.values())

    @property
    def clients(self) -> int:
        """How many clients have any, or wait for one."""
        return len(self._clients)

    async def claim(self, address: str, most: int | None, seconds: float) -> Upload:
        """Count an upload in, behind the client's earlier ones.

        address: the client's, as trusted proxies tell it. most: ``limits.uploads_per_client``; None: no limit.
        seconds: to wait. Raises TooMany when none of the earlier ones has ended by then. Cancelling gives up the place.
        """
        key = client_key(address)
        turns = self._clients.setdefault(key, Turns(most))
        turns.adapt(most)
        try:
            await turns.claim(seconds)
        except TimeoutError:
            what = f"{key} has {most} uploads under way, the most that gateway.limits.uploads_per_client allows"
            if time.monotonic() - self._said >= _QUIET:
                self._said = time.monotonic()
                logger.warning("%s; if it is a proxy, name it in gateway.trusted_proxies", what)
            raise TooMany(
                "Your address sends as many request bodies here as one client may at a time.",
                advice="Try again when one of them has ended.",
                detail=f"{what}; none of them ended within {seconds:g} s",
            ) from None
        finally:
            self._forget(key)
        return Upload(self, key)

    def leave(self, key: str) -> None:
        """Count one out; ``Upload.release`` calls this."""
        self._clients[key].leave()
        self._forget(key)

    def _forget(self, key: str) -> None:
        turns = self._clients.get(key)
        if turns is not None and not turns.taken and not turns.waiting:
            del self._clients[key]
