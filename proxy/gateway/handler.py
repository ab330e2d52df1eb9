"""The path of one request: record, decision, limits, authentication, and the way to its upstream."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from proxy.access.forward_auth import Allowed, Denied
from proxy.config import Settings
from proxy.errors import ClientError, Outcome
from proxy.exchange.leases import Leases
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.completion import Completion
from proxy.gateway.error_response import send_error
from proxy.gateway.fast_path import FastPath
from proxy.gateway.forward import OutgoingRequest, forward, relay
from proxy.gateway.recorder import Observer, Recorder
from proxy.gateway.request_body import check_size
from proxy.gateway.routing import Forward, Refuse, Upgrade, decide
from proxy.gateway.runtime import Runtime
from proxy.gateway.uploads import Uploads
from proxy.gateway.websocket import Handshake, WebSockets
from proxy.http1.client_connection import ClientConnection
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.forwarded import OriginalRequest
from proxy.http1.headers import Fields, Head, response_head
from proxy.http1.request_handler import ActiveExchange
from proxy.net.client_limits import ClientLimits, Lease
from proxy.upstream.upstream import Upstream
from proxy.websocket.handoffs import Handoffs
from ws_service.logs.limited_log import LimitedLog

logger = logging.getLogger("proxy")

_SETTINGS = {
    408: ("gateway.timeouts.head", ""),
    414: ("gateway.limits.request_line", "request_line"),
    431: ("gateway.limits.header, or .fields,", "header"),
}
"""The setting that a head has exceeded, by the status of the response, and the limit that is counted."""

_LOST_UPGRADE = (
    "a WebSocket handshake from %s came without Upgrade: websocket, and was passed on as an ordinary GET: a proxy in "
    "front does not pass the field on; nginx needs proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection $connection_upgrade; (see docs/how-to/nginx.md)"
)


class Gateway:
    """Serves requests: the entry point of everything after a request's head has been read.

    runtime: the configuration; each exchange keeps the one that it began with. observe: called when a WebSocket opens
    and when an exchange has ended.
    folder: the base of the hand-off's path. limits: the counts of all clients; None: new ones.

    ``handoff`` is used by the start and the stop of the process, ``websockets`` by the drain.
    """

    def __init__(
        self,
        runtime: Runtime,
        lifecycle: Lifecycle[Exchange],
        observe: Observer = lambda _: None,
        folder: Path = Path(),
        limits: ClientLimits | None = None,
    ) -> None:
        settings, limits = runtime.settings, limits or ClientLimits()
        self._runtime = runtime
        self._limits = limits
        self._recorder = Recorder(lifecycle, observe)
        self._completion = Completion(self._recorder)
        self.uploads = Uploads()
        self.handoff = Handoffs(folder, observe, limits.websockets)
        self.handoff.reconfigure(*_socket_files(settings))
        self.websockets = WebSockets(self._recorder, limits, self.handoff)
        self._fast_path = FastPath(runtime, self._recorder, self._completion, self.uploads)
        self._log = LimitedLog(logger)

    async def handle(self, client: ClientStream) -> SentResponse:
        """Serve one request."""
        runtime = self._runtime
        original = runtime.reader.read(client.head, client.peer)
        exchange = self._record_of(client, original)
        return await self._completion.run(client, exchange, self._serve(client, exchange, runtime, original))

    def offer_simple(self, connection: ClientConnection, head: Head, body: bytes) -> ActiveExchange | None:
        """Serve a simple request without a task, or decline it."""
        return self._fast_path.offer(connection, head, body)

    def refuse(self, client: ClientStream, status: int, message: str) -> None:
        """Answer a request that cannot be read, or is too large or too slow to be read.

        message: one sentence. It reaches the client if it is about a limit, and the log if not.
        """
        exchange = self._record_of(client, self._runtime.reader.read(client.head, client.peer))
        exchange.method, exchange.target = "-", "-"
        if status in _SETTINGS:
            setting, limit = _SETTINGS[status]
            advice = f"For the operator: {setting} in the configuration is the limit."
            error = ClientError(message, advice=advice, status=status, limit=limit)
        else:
            error = ClientError("The request cannot be read as HTTP/1.1.", status=status)
        exchange.outcome = Outcome.CLIENT_STALLED if status == 408 else error.outcome
        exchange.detail, exchange.limit = " ".join(message.split())[:200], error.limit
        send_error(client, exchange, error)
        self._recorder.close(exchange)

    def lease_buffer(self, address: str, size: int) -> Lease | None:
        """Count bytes that wait on a client's connection; None when they exceed the limit: the connection is to be
        cut."""
        return self._limits.lease_buffer(address, size, self._runtime.settings, time.monotonic())

    @property
    def runtime(self) -> Runtime:
        """The configuration by which new exchanges are served."""
        return self._runtime

    def reconfigure(self, runtime: Runtime) -> None:
        """Serve by another configuration from now on; an exchange that is under way keeps the one it began with."""
        before, self._runtime = self._runtime, runtime
        self._fast_path.reconfigure(runtime)
        self.handoff.reconfigure(*_socket_files(runtime.settings))
        old, new = set(before.upstreams.values()), set(runtime.upstreams.values())
        for upstream in new - old:
            upstream.start()
        for upstream in old - new:
            upstream.close("The configuration has another address for this upstream now.")

    # -- inside

    async def _serve(
        self, client: ClientStream, exchange: Exchange, runtime: Runtime, original: OriginalRequest
    ) -> SentResponse:
        """Decide, check the limits, have it authenticated, and forward it."""
        decision = decide(client.head, runtime.table, original)
        if isinstance(decision, Refuse):
            raise decision.error
        settings = runtime.settings
        check_size(client, settings.limits.body)
        upstream = runtime.upstreams[decision.upstream]
        exchange.upstream, exchange.route = decision.upstream, decision.route
        with Leases() as leases:
            if isinstance(decision, Upgrade):
                slot = await self.websockets.admit(exchange.client, settings.limits, leases)
            else:
                self._log_lost_upgrade(client, exchange)
            result = await _authenticate(client, exchange, runtime, original, decision)
            if isinstance(result, Denied):
                return await _relay_denial(client, result, exchange, runtime.upstreams["dash"])
            client.head = runtime.auth_rules.without_identity(client.head)
            request = OutgoingRequest(client, exchange, upstream, settings)
            added = (*_added(original, client, exchange, upstream), *result.headers)
            if not isinstance(decision, Upgrade):
                return await forward(request, decision.target, added, self.uploads)
            idle = runtime.tunnel_idle(decision)
            handshake = Handshake(request, decision, added, slot, leases, original.is_secure, idle)
            return await self.websockets.open(handshake)

    def _log_lost_upgrade(self, client: ClientStream, exchange: Exchange) -> None:
        """Log a handshake that has lost its Upgrade field in a proxy; it is served as the GET that it is now."""
        if client.head.get(b"sec-websocket-key") is not None:
            exchange.detail = "Sec-WebSocket-Key without Upgrade: websocket"
            self._log.say("lost upgrade", logging.WARNING, _LOST_UPGRADE, client.peer.address)

    def _record_of(self, client: ClientStream, original: OriginalRequest) -> Exchange:
        return self._recorder.open(original.client, client.head, client.began)


def _socket_files(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Return the socket files through which sockets are handed over; and of which address each is, where there are
    several."""
    addresses = settings.addresses_of("ws")
    by_file = {one.handoff: one.url for one in addresses if one.handoff is not None}
    return list(by_file), by_file if len(addresses) > 1 else {}


def _added(original: OriginalRequest, client: ClientStream, exchange: Exchange, upstream: Upstream) -> Fields:
    """Return the added headers: the forwarding headers and the request id."""
    fields = original.fields_of(exchange.id, upstream.name)
    if client.head.get(b"host") is None:
        # HTTP/1.0, which old health checks speak; what is sent on is 1.1 and needs one.
        return ((b"Host", upstream.authority), *fields)
    return fields


async def _authenticate(
    client: ClientStream, exchange: Exchange, runtime: Runtime, original: OriginalRequest, decision: Forward | Upgrade
) -> Allowed | Denied:
    """Send an auth request to Dash if a rule requires it; return whether the request is allowed."""
    rule = runtime.auth_rules.rule_for(decision.target, client.head.host)
    if rule is None:
        return Allowed()
    about = _added(original, client, exchange, runtime.upstreams["dash"])
    is_handshake = isinstance(decision, Upgrade)
    result = await runtime.auth.ask(rule, client.head, decision.target, about, exchange, is_handshake=is_handshake)
    if isinstance(result, Denied):
        exchange.detail = f"{rule.name}: {rule.ask} answered {result.response.status}"
    return result


async def _relay_denial(client: ClientStream, denied: Denied, exchange: Exchange, upstream: Upstream) -> SentResponse:
    """Relay Dash's auth response to the client."""
    response = denied.response
    with upstream.lent(denied.connection):
        if client.head.method != "HEAD":
            return await relay(client, denied.connection, response, exchange)
        # Dash was asked with GET: the body of its response is not for a client that asks with HEAD.
        client.write(
            response_head(response.status, response.reason, response.headers, added=((b"Connection", b"close"),))
        )
        exchange.status, exchange.outcome = response.status, Outcome.SERVED
        exchange.responded = time.monotonic()
        return SentResponse(keep_alive=False)
