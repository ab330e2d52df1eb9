"""The status as one JSON document: what the process has, what it does, and what needs attention."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from proxy.dash.facts import as_json, summary, warnings
from proxy.metrics.parts import Parts
from proxy.status.counted import BOUNDS, route_totals
from proxy.status.notices import notices
from proxy.status.open_sockets import OpenSocket, merged, tunnelled
from proxy.status.query import Query
from proxy.status.rows import route_rows, upstream_rows
from proxy.status.sampler import Sampler
from proxy.status.samples import INTERVAL, KEPT
from proxy.status.service import TOPICS, ServiceReader, ServiceStatus
from proxy.status.service_answer import handed_off, topics
from ws_service.version import version

CLIENTS = 10
"""Clients that are listed: those with the most WebSockets."""

_SERVICE = {"version", "workers", "missing", "hub"}


class StatusDocument:
    """Makes the document.

    parts: of the gateway, which are read. sampler: takes samples already. service: asks the services.
    listen: where the gateway listens; nothing once its listener has closed. drain: what is left of the drain; None
    while there is none. Both are called when the status is asked for.
    """

    def __init__(
        self,
        parts: Parts,
        sampler: Sampler,
        service: ServiceReader,
        listen: Callable[[], Sequence[str]],
        drain: Callable[[], Mapping[str, Any] | None],
    ) -> None:
        self._parts = parts
        self._gateway = parts.gateway
        self._sampler = sampler
        self._service = service
        self._listen = listen
        self._drain = drain
        self._started = time.time()
        self._began = time.monotonic()

    async def make(self, query: Query) -> dict[str, Any]:
        """Return the document. query: which sockets are listed.

        It waits for the services, two seconds at the most. Everything but the list of sockets is made in one turn of
        the event loop, so that it agrees. Cancelling it is safe.
        """
        answers = await self._asked(query)
        open_sockets = await tunnelled(self._gateway.websockets.records, query, time.monotonic)
        known = [status.answer for status in answers if status.answer is not None]
        shown = merged([open_sockets, handed_off(known, query)], query)
        made = self._of_process() | self._of_requests() | self._of_sockets(shown)
        made |= {"topics": topics(known, TOPICS), "services": [_told(status) for status in answers]}
        made["notices"] = [asdict(notice) for notice in notices(made)]
        return made

    async def _asked(self, query: Query) -> list[ServiceStatus]:
        """Ask the services, but for those that are known to take no connection."""
        runtime = self._gateway.runtime
        addresses = runtime.upstreams["ws"].addresses
        reachable = tuple(address.url for address in addresses if not address.health.is_unreachable)
        gone = [address for address in addresses if address.health.is_unreachable]
        answers = await self._service.read(reachable, query, runtime.upstream_tls)
        return [*answers, *(ServiceStatus(each.url, None, f"it is unreachable: {each.health.why}") for each in gone)]

    # -- its parts

    def _of_process(self) -> dict[str, Any]:
        parts, lifecycle, limits = self._parts, self._parts.lifecycle, self._parts.limits
        handoff = self._gateway.handoff
        absence = "" if handoff.is_ready else "; ".join(handoff.absences)
        return {
            "gateway": {
                "state": lifecycle.state.value,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "version": version(),
                "python": platform.python_version(),
                "listen": list(self._listen()),
                "started": round(self._started, 3),
                "uptime": round(time.monotonic() - self._began, 1),
                "most_connections": parts.limiter.capacity,
                "reload_failed": not parts.last_reload.is_successful,
            },
            "now": {
                "in_flight": parts.requests_in_flight,
                "connections": limits.connections.total,
                "websockets": limits.websockets.total,
                "uploads": self._gateway.uploads.total,
                "buffered": limits.buffered.total,
                "tasks": len(asyncio.all_tasks()),
                "late": self._sampler.history.late,
            },
            "drain": self._drain(),
            "dash": self._of_dash(),
            "handoff": {"handed_over": handoff.handed_over, "fallbacks": dict(handoff.fallbacks), "absence": absence},
        }

    def _of_dash(self) -> dict[str, Any]:
        runtime = self._gateway.runtime
        told = runtime.dash, runtime.settings.dash_prefix, runtime.settings.timeouts.tunnel_idle
        return {**as_json(*told), "summary": summary(*told), "warnings": warnings(*told)}

    def _of_requests(self) -> dict[str, Any]:
        sampler, settings = self._sampler, self._gateway.runtime.settings
        minute = sampler.minute()
        recent = minute.all
        return {
            "minute": {
                "seconds": round(minute.seconds, 1),
                "requests": recent.requests,
                "refused": recent.refused,
                "failed": recent.failed,
                "limits": dict(minute.limits),
            },
            "history": {
                "interval": INTERVAL,
                "kept": KEPT,
                "bounds": [BOUNDS[0], BOUNDS[-1]],
                "columns": sampler.history.columns(),
            },
            "upstreams": upstream_rows(self._gateway.runtime.upstreams.values(), minute, BOUNDS),
            "routes": route_rows(settings.routes, route_totals(self._parts.counts), minute, BOUNDS),
        }

    def _of_sockets(self, shown: list[OpenSocket]) -> dict[str, Any]:
        limits, limit = self._parts.limits.websockets, self._gateway.runtime.settings.limits.websockets_per_client
        return {
            "sockets": {
                "tunnels": len(self._gateway.websockets.records),
                "handed_off": self._gateway.handoff.live,
                "shown": [one._asdict() for one in shown],
            },
            "clients": {
                "total": limits.clients,
                "limit": limit,
                "shown": [{"client": name, "websockets": number} for name, number in limits.largest(CLIENTS)],
            },
        }


def _told(status: ServiceStatus) -> dict[str, Any]:
    """Return what is told of a service, beside its sockets and topics."""
    known = {} if status.answer is None else status.answer.model_dump(include=_SERVICE)
    return {"url": status.url, "problem": status.problem, **known}
