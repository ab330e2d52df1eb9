"""Health answers, on a listener of their own: for process managers and load balancers, never for browsers.

The head of a request in, bytes of the answer out: one request for each
connection, without a body. ``admin_listener`` has the sockets. A path of its
own is one function, from the head of a request to a response.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from proxy.errors import ClientError
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.http1.chunked import ProtocolError
from proxy.http1.error_pages import error_message, own_response
from proxy.http1.headers import Head, is_valid_host
from proxy.net.client_limits import ClientLimits
from proxy.upstream.upstream import Upstream

MAX_HEAD = 8192
"""Bytes of a request's head, its last empty line too; 431 above it. Precedents: nginx 8KiB a line, HAProxy 16KiB."""

_PORT = re.compile(r":[0-9]{0,5}")

AdminResponse = tuple[int, bytes, bytes]
"""Status, Content-Type, body."""


class Admin:
    """What ``gateway.admin`` answers.

    ``/healthz``: 200 while the process lives.
    ``/readyz``: 200 while new clients may come, 503 while it starts or stops.
    It also says what is known of each upstream, but an upstream that
    is unreachable does not make the gateway unready: a balancer that took it out
    of service would cut off the other upstream's clients too. Nothing is
    tried for the answer: however often it is asked, no upstream notices.
    It also says how many connections clients have, how many WebSockets,
    those that were handed over too, how many uploads, how many bytes wait on
    stuck connections, and how many tasks the event loop has: at rest none of
    them grows.
    """

    def __init__(self, gateway: Gateway, lifecycle: Lifecycle[Exchange], limits: ClientLimits) -> None:
        self._gateway = gateway
        self._lifecycle = lifecycle
        self._limits = limits
        self._routes: dict[str, Callable[[Head], AdminResponse]] = {"/healthz": self._healthz, "/readyz": self._readyz}

    def answer(self, request: Head | ProtocolError, is_unix: bool) -> bytes:
        """Return the answer to a request.

        request: its head, or why it cannot be read.
        is_unix: it came through a unix socket, which no browser reaches: Host does not matter there.
        """
        if isinstance(request, ProtocolError) and request.status in (414, 431):
            return _error(431, f"The head of a request may have {MAX_HEAD} bytes here.")
        if isinstance(request, ProtocolError) or not request.target.startswith("/"):
            return _error(400, "The request cannot be read as HTTP/1.1.")
        hosts = request.all(b"host")
        if len(hosts) > 1 or (not hosts and request.version == (1, 1)):
            return _error(400, "A request needs exactly one Host field.")
        if (
            hosts
            and not is_unix
            and not names_this_host(hosts[0].decode("latin-1"), self._gateway.runtime.settings.admin_hosts)
        ):
            return _error(
                403,
                "Health is answered by an IP address, as localhost, and by the names in gateway.admin_hosts.",
                advice="For the operator: if this name should be answered, add it to gateway.admin_hosts.",
            )
        route = self._routes.get(request.target.partition("?")[0])
        if route is None:
            return _error(404, "There are /healthz and /readyz here.")
        if request.method not in ("GET", "HEAD"):
            return _error(405, "Health is read with GET or HEAD.", (b"Allow", b"GET, HEAD"))
        return own_response(*route(request), with_body=request.method == "GET")

    # -- the routes

    def _healthz(self, _: Head) -> AdminResponse:
        return _json(200, {"status": "alive", "state": self._lifecycle.state.value})

    def _readyz(self, _: Head) -> AdminResponse:
        lifecycle, limits = self._lifecycle, self._limits
        values: dict[str, object] = {
            "status": "ready" if lifecycle.is_ready else "not ready",
            "state": lifecycle.state.value,
            "in_flight": len(lifecycle.in_flight),
            "connections": limits.connections.total,
            "websockets": limits.websockets.total,
            "uploads": self._gateway.uploads.total,
            "buffered": limits.buffered.total,
            "tasks": len(asyncio.all_tasks()),
            "upstreams": {name: _about(upstream) for name, upstream in self._gateway.runtime.upstreams.items()},
        }
        return _json(200 if lifecycle.is_ready else 503, values)


def names_this_host(host: str, names: Iterable[str]) -> bool:
    """Tell whether a Host field names this host, and not a name that a page's owner has made to lead here.

    A page whose name is changed to lead to 127.0.0.1 (DNS rebinding) may read what it gets there, because it is of the
    same origin. That takes a name: an IP address and ``localhost`` are never looked up
    (RFC 6761, section 6.3, for the second).

    names: others that are answered. The port does not count, nor does case; everything else does, a dot at the end too.
    """
    if not is_valid_host(host.encode("latin-1")):
        return False
    if host.startswith("["):
        address, bracket, port = host[1:].partition("]")
        return bool(bracket) and (not port or _PORT.fullmatch(port) is not None) and _is_address(address, IPv6Address)
    name = host.lower().partition(":")[0]
    return name == "localhost" or _is_address(name, IPv4Address) or any(name == other.lower() for other in names)


def _is_address(text: str, family: type[IPv4Address] | type[IPv6Address]) -> bool:
    try:
        family(text)
    except ValueError:
        return False
    return True


def _about(upstream: Upstream) -> dict[str, object]:
    """Return what is known of an upstream; ``for_seconds`` says how long it has been in its state."""
    health, queue = upstream.health, upstream.queue
    return {
        "state": health.state.value,
        "for_seconds": round(time.monotonic() - health.since, 1),
        "why": health.why,
        "in_flight": queue.in_flight,
        "waiting": queue.waiting,
    }


def _error(status: int, message: str, *fields: tuple[bytes, bytes], advice: str = "") -> bytes:
    return error_message(ClientError(message, advice=advice, status=status, headers=fields))[0]


def _json(status: int, values: dict[str, object]) -> AdminResponse:
    return status, b"application/json; charset=utf-8", json.dumps(values).encode()
