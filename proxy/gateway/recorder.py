"""The record of an exchange from its beginning to its end: its id, its clocks, and that it is in flight."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.http1.headers import Head

Observer = Callable[[Exchange], None]


class Recorder:
    """Opens and closes the records of all exchanges.

    lifecycle: counts those that are in flight. observe: called when a WebSocket opens, and when an exchange has ended.
    """

    def __init__(self, lifecycle: Lifecycle[Exchange], observe: Observer) -> None:
        self.lifecycle = lifecycle
        self.observe = observe
        self._prefix = os.urandom(6).hex()
        self._number = 0

    def open(self, client: str, head: Head, began: float | None = None) -> Exchange:
        """Open a record, and count the exchange in flight. Called before the first ``await``: a drain misses none.

        client: its address, with trusted proxies applied. head: of the request. began: when its first byte came,
        monotonic seconds; None: now.
        """
        now = time.monotonic()
        reading = 0.0 if began is None else max(0.0, now - began)
        self._number += 1
        exchange = Exchange(
            f"{self._prefix}{self._number:08x}",
            time.time() - reading,
            now - reading,
            client,
            head.method,
            head.target,
            head.block.host.decode("latin-1"),
            head.version,
            head.block.index,
        )
        self.lifecycle.enter(exchange)
        return exchange

    def websocket_opened(self, exchange: Exchange) -> None:
        """Note that the WebSocket of an exchange has opened, here or at the service that has its socket now."""
        exchange.opened = time.monotonic()
        exchange.forget_fields()
        self.observe(exchange)

    def close(self, exchange: Exchange) -> None:
        """Note that an exchange has ended for this process; the service reports the end of a socket that was handed
        over."""
        now = time.monotonic()
        self.lifecycle.leave(exchange)
        if not exchange.is_handed_off:
            exchange.ended = now
            self.observe(exchange)
            exchange.fields = None  # an observer may keep the record for a while, and a head may have 64 KiB
