"""A gateway and its tunnels without a network, for tests of the status."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, cast

from proxy.config import Settings
from proxy.errors import Outcome
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.gateway.runtime import make_runtime
from proxy.metrics.exchange_counts import ExchangeCounts
from proxy.metrics.last_reload import LastReload
from proxy.metrics.parts import Parts
from proxy.net.client_limits import ClientLimits
from proxy.net.connection_limiter import ConnectionLimiter
from proxy.websocket.tunnel import Tunnel
from ws_service.net.loop_lag import LoopLag


class _Transport:
    def __init__(self, sock: socket.socket | None) -> None:
        self._sock = sock

    def get_extra_info(self, _: str) -> socket.socket | None:
        return self._sock


class _Leg:
    def __init__(self, sock: socket.socket | None) -> None:
        self.transport = _Transport(sock)


class StandIn:
    """What the status reads of a tunnel. client, upstream: its sockets; None: the kernel tells nothing of it."""

    def __init__(
        self, received: int, sent: int, client: socket.socket | None = None, upstream: socket.socket | None = None
    ) -> None:
        self.bytes_from_client, self.bytes_from_upstream = received, sent
        self.legs = _Leg(client), _Leg(upstream)


def tunnel(received: int = 0, sent: int = 0, **sockets: Any) -> Tunnel:
    return cast(Tunnel, StandIn(received, sent, **sockets))


def record(number: int, target: str = "/live", client: str = "192.0.2.1", **values: Any) -> Exchange:
    """Return the record of a WebSocket that opened ``number`` seconds after second 100."""
    return Exchange(f"id{number}", 0.0, 99.0 + number, client, "GET", target, opened=100.0 + number, **values)


def tunnels(count: int, *targets: str) -> dict[Tunnel, Exchange]:
    """Return that many tunnels, the oldest first. targets: of the first ones."""
    named = [*targets, *(f"/live/{number}" for number in range(len(targets), count))]
    return {tunnel(number, 10 * number): record(number, target) for number, target in enumerate(named)}


def answered(parts: Parts, count: int = 1, *, status: int = 200, took: float = 0.02, route: str = "http") -> None:
    """Count requests to Dash that were answered. took: seconds to the first byte of each."""
    for _ in range(count):
        one = Exchange("id", 0.0, 100.0, "192.0.2.1", "GET", "/", upstream="dash", route=route, status=status)
        one.responded, one.ended, one.outcome = 100.0 + took, 101.0, Outcome.SERVED
        parts.counts.observe(one)


def make_parts(**settings: Any) -> Parts:
    """Return the parts of a gateway that does not run. Its event loop is that of the caller."""
    made = Settings.model_validate({"handoff": "off", **settings})
    lifecycle: Lifecycle[Exchange] = Lifecycle()
    limits, counts = ClientLimits(), ExchangeCounts()
    gateway = Gateway(make_runtime(made), lifecycle, counts.observe, limits=limits)
    limiter = ConnectionLimiter(limits, made, 1000)
    return Parts(counts, LoopLag(), LastReload(), gateway, lifecycle, limits, limiter)


def open_tunnels(parts: Parts, tunnels: Mapping[Tunnel, Exchange]) -> None:
    """Let the gateway have some tunnels."""
    vars(parts.gateway.websockets)["_tunnels"].update(tunnels)
    for exchange in tunnels.values():
        exchange.is_tunnel = True
        parts.lifecycle.enter(exchange)
        parts.limits.websockets.enter(exchange.client)
