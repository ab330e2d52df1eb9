"""What process managers and load balancers are told: whether the process lives, and whether it takes new clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.dash.facts import as_json
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.http1.headers import Head
from proxy.net.client_limits import ClientLimits
from proxy.server.admin import AdminResponse, json_response
from proxy.status.upstream_state import upstream_state


class HealthRoutes:
    """The routes ``/healthz`` and ``/readyz``. Nothing is tried for an answer: however often it is asked, no upstream
    notices.

    listen: returns the public URLs.
    """

    def __init__(
        self, gateway: Gateway, lifecycle: Lifecycle[Exchange], limits: ClientLimits, listen: Callable[[], list[str]]
    ) -> None:
        self._gateway = gateway
        self._lifecycle = lifecycle
        self._limits = limits
        self._listen = listen

    def healthz(self, _: Head) -> AdminResponse:
        """Answer 200 while the process lives."""
        return json_response(200, {"status": "alive", "state": self._lifecycle.state.value})

    def readyz(self, _: Head) -> AdminResponse:
        """Answer 200 while new clients may come, 503 while the process starts or stops.

        It also says what is known of each upstream, but an upstream that
        is unreachable does not make the gateway unready: a balancer that took it out
        of service would cut off the other upstream's clients too.
        It also says where clients connect (a port of 0 leaves that to the
        system), how many connections clients have, how many WebSockets, those
        that were handed over too, how many uploads, how many bytes wait on
        stuck connections, and how many tasks the event loop has: at rest none of
        the numbers grows; and what Dash has said of itself.
        """
        lifecycle, limits, runtime = self._lifecycle, self._limits, self._gateway.runtime
        settings = runtime.settings
        values: dict[str, object] = {
            "status": "ready" if lifecycle.is_ready else "not ready",
            "state": lifecycle.state.value,
            "listen": self._listen(),
            "in_flight": len(lifecycle.in_flight),
            "connections": limits.connections.total,
            "websockets": limits.websockets.total,
            "uploads": self._gateway.uploads.total,
            "buffered": limits.buffered.total,
            "tasks": len(asyncio.all_tasks()),
            "upstreams": {name: upstream_state(upstream) for name, upstream in runtime.upstreams.items()},
            "dash": as_json(runtime.dash, settings.dash_prefix, settings.timeouts.tunnel_idle),
        }
        return json_response(200 if lifecycle.is_ready else 503, values)
