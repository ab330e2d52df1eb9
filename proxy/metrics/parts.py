"""The parts of the gateway that the metrics and the status read, and what takes more than one of them to tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.metrics.exchange_counts import ExchangeCounts
from proxy.metrics.last_reload import LastReload
from proxy.net.client_limits import ClientLimits
from proxy.net.connection_limiter import ConnectionLimiter
from ws_service.net.loop_lag import LoopLag


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts; nothing is changed or tried by reading them."""

    counts: ExchangeCounts
    lag: LoopLag
    last_reload: LastReload
    gateway: Gateway
    lifecycle: Lifecycle[Exchange]
    limits: ClientLimits
    limiter: ConnectionLimiter

    @property
    def requests_in_flight(self) -> int:
        """How many requests have not ended; open WebSockets are not counted."""
        return len(self.lifecycle.in_flight) - len(self.gateway.websockets.records)

    @property
    def bytes_passed(self) -> tuple[int, int]:
        """Bytes from clients, and to clients, since the start: of bodies, and of tunnels. Those of sockets that were
        handed over do not pass through this process; they are in it when such a socket ends."""
        tunnels, counts = self.gateway.websockets.records, self.counts
        running = [exchange for exchange in self.lifecycle.in_flight if not exchange.is_tunnel]
        return (
            counts.received + sum(x.received for x in running) + sum(tunnel.bytes_from_client for tunnel in tunnels),
            counts.sent + sum(x.sent for x in running) + sum(tunnel.bytes_from_upstream for tunnel in tunnels),
        )

    @property
    def limit_hits(self) -> Counter[str]:
        """How often each limit was exceeded since the start, by an exchange or before there was one."""
        return self.limits.hits + self.counts.limit_hits
