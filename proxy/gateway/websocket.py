"""WebSockets: admitted, then handed off to the service or carried through a tunnel; the tunnels that are open."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from proxy.config import Limits
from proxy.errors import Outcome, Stopping
from proxy.exchange.leases import Leases
from proxy.exchange.record import Exchange
from proxy.gateway.forward import OutgoingRequest, relay
from proxy.gateway.recorder import Recorder
from proxy.gateway.routing import Upgrade
from proxy.http1.client_stream import SentResponse
from proxy.http1.headers import Fields, request_head, upgrade_response_head
from proxy.http1.response_reader import Response
from proxy.net.client_limits import ClientLimits, Lease, Rejected, Slot
from proxy.net.timers import SlowReaders
from proxy.upstream.address import Address
from proxy.upstream.connection import ConnectionOwner, UpstreamConnection
from proxy.upstream.retry import retry
from proxy.websocket.frames import CloseCode
from proxy.websocket.handoff import Handoff
from proxy.websocket.handoffs import Handoffs
from proxy.websocket.handshake import forward_handshake
from proxy.websocket.leg import Leg
from proxy.websocket.tunnel import IdleTunnels, Tunnel
from ws_service.net.dead_peers import DeadPeers

logger = logging.getLogger("proxy")


@dataclass(frozen=True, slots=True)
class Handshake:
    """A WebSocket handshake that was admitted and is allowed.

    added: the added headers. slot: the count among its client's WebSockets, which ``leases`` release.
    is_secure: the client's scheme is https. tunnel_idle: seconds without a byte after which its tunnel is closed.
    """

    request: OutgoingRequest
    decision: Upgrade
    added: Fields
    slot: Slot
    leases: Leases
    is_secure: bool
    tunnel_idle: float


class _TunnelExchange:
    """The exchange of one open tunnel: its record, and its leases."""

    __slots__ = ("_address", "_exchange", "_leases", "_owner", "_settings")

    def __init__(self, owner: WebSockets, handshake: Handshake, address: ConnectionOwner) -> None:
        self._owner = owner
        self._address = address
        self._exchange = handshake.request.exchange
        self._settings = handshake.request.settings
        self._leases = handshake.leases

    def opened(self) -> None:
        """Take the leases over from the handshake."""
        self._leases = self._leases.pass_on()
        self._address.sockets += 1

    def lease_buffer(self, size: int) -> Lease | None:
        """Count bytes that wait for a slow side, by the settings that the exchange began with."""
        return self._owner.limits.lease_buffer(self._exchange.client, size, self._settings, time.monotonic())

    def tunnel_ended(self, tunnel: Tunnel) -> None:
        """Close the record, unless the tunnel could not be opened: then its exchange has ended with that."""
        exchange = self._exchange
        if self._owner.forget(tunnel):
            exchange.received, exchange.sent = tunnel.bytes_from_client, tunnel.bytes_from_upstream
            exchange.outcome = tunnel.outcome or Outcome.BUG
            exchange.closed_by, exchange.close_code = tunnel.closed_by, tunnel.close_code
            self._leases.release()
            self._address.sockets -= 1
            self._owner.recorder.close(exchange)


class WebSockets:
    """Serves WebSockets: admission, hand-off, tunnels.

    limits: the counts of all clients. handoff: the services that adopt sockets, by the address that they serve.
    """

    def __init__(self, recorder: Recorder, limits: ClientLimits, handoff: Handoffs) -> None:
        self.recorder = recorder
        self.limits = limits
        self._handoff = handoff
        self._tunnels: dict[Tunnel, Exchange] = {}  # oldest first
        self._idle_tunnels = IdleTunnels(lambda: self._tunnels)
        self._slow_readers = SlowReaders(self._legs)
        self._dead_peers = DeadPeers(self._legs)

    async def admit(self, address: str, limits: Limits, leases: Leases) -> Slot:
        """Count a WebSocket when its handshake begins; delay it if its client is too fast. Raises TooMany."""
        verdict = self.limits.websocket(address, limits, time.monotonic())
        if isinstance(verdict, Rejected):
            if verdict.notice:
                logger.warning("%s", verdict.notice)
            raise verdict.error
        leases.keep(verdict.slot)
        if verdict.delay:
            await asyncio.sleep(verdict.delay)
        return verdict.slot

    async def open(self, handshake: Handshake) -> SentResponse:
        """Hand a WebSocket off, open a tunnel for it, or relay the response of an upstream that refuses it.

        Raises ProxyError when there is no response. Cancelling it ends the exchange.
        """
        answered = await self._response_to(handshake)
        if answered is None:
            return SentResponse(keep_alive=False)
        connection, response = answered
        if response.status == 101:
            return self._open_tunnel(handshake, connection, response)
        client, exchange, upstream, _ = handshake.request
        with upstream.lent(connection):
            return await relay(client, connection, response, exchange)

    @property
    def tunnels(self) -> list[Tunnel]:
        """The open tunnels, oldest first."""
        return list(self._tunnels)

    @property
    def records(self) -> Mapping[Tunnel, Exchange]:
        """The records of the open tunnels, oldest first; not a copy."""
        return self._tunnels

    def forget(self, tunnel: Tunnel) -> bool:
        """Remove a tunnel that has ended; tell whether it was open."""
        was_open = tunnel in self._tunnels
        self._tunnels.pop(tunnel, None)
        return was_open

    def abort_tunnels(self) -> None:
        """Cut every tunnel."""
        for tunnel in list(self._tunnels):
            tunnel.abort()

    # -- inside

    async def _response_to(self, handshake: Handshake) -> tuple[UpstreamConnection, Response] | None:
        """Return the upstream's response to a handshake; None when the service has taken the socket itself.

        Waits for an upstream that is unreachable, and tries the hand-off again then, so that handshakes that came while
        the service was restarting are handed over too.
        """
        client, exchange, upstream, settings = handshake.request
        decision, timeouts = handshake.decision, settings.timeouts
        is_first = True

        async def attempt() -> tuple[UpstreamConnection, Response] | None:
            nonlocal is_first
            address = upstream.choose(self._sockets_at)
            exchange.address = address.which
            handoff = self._handoff.through(address.handoff)
            is_offered = handoff is not None
            if handoff is not None:
                if not is_first:
                    await handoff.services.refresh()
                is_first = False
                # A service that is gone: before that is told, and a tunnel tried, another address may take the socket.
                is_offered = handoff.services.is_ready or not upstream.others
                if is_offered and await self._hand_off(handshake, handoff):
                    return None
            if self.recorder.lifecycle.is_ending:  # it would be closed as soon as it is open
                raise Stopping("This gateway is stopping.", headers=[(b"Retry-After", b"1")])
            target, key, added = decision.target, decision.key, handshake.added
            answered = await forward_handshake(client.head, target, key, added, upstream, timeouts, address)
            exchange.address = answered[0].owner.which
            if handoff is not None and not is_offered:
                handoff.fall_back_for_absence()
            return answered

        return await retry(upstream, attempt, timeouts.hold, exchange)

    def _sockets_at(self, address: Address) -> int:
        """Return how many WebSockets an address has, those of handshakes under way too."""
        return address.slots.taken + address.sockets + self._handoff.load(address.handoff)

    async def _hand_off(self, handshake: Handshake, handoff: Handoff) -> bool:
        """Offer the client's socket to the service; False: nothing has happened to it, and a tunnel carries the
        connection."""
        client, exchange, _, settings = handshake.request
        if client.has_tls:  # not the scheme: a proxy that has ended TLS itself may have announced it
            return handoff.fall_back("tls", "its TLS ends in this process, and cannot be handed over")
        if client.has_unsent:  # of the response before, to a client that did not wait for it: the rest would be lost
            return handoff.fall_back("unsent", "its client has not taken the response before it yet")
        head = request_head(client.head, handshake.decision.target, handshake.added, upgrade=True)
        descriptor, leftover = client.lend_socket()
        try:
            is_taken = await handoff.offer(
                exchange,
                handshake.slot,
                descriptor,
                head,
                leftover,
                is_secure=handshake.is_secure,
                timeout=settings.timeouts.handshake,
                send_timeout=settings.timeouts.send,
            )
        except BaseException:
            client.abandon()  # nothing more may be written to it
            exchange.detail = "the service may have the socket"
            raise
        if not is_taken:
            client.resume()
            return False
        client.abandon()
        exchange.is_handed_off = True
        exchange.outcome = Outcome.HANDED_OFF
        self.recorder.websocket_opened(exchange)
        return True

    def _open_tunnel(self, handshake: Handshake, connection: UpstreamConnection, response: Response) -> SentResponse:
        client, exchange, _, settings = handshake.request
        address = connection.owner
        to_upstream, from_upstream = address.detach(connection)
        try:
            to_client, from_client = client.detach()
        except ConnectionError:
            to_upstream.abort()
            raise
        if (slot := client.take_slot()) is not None:
            handshake.leases.keep(slot)
        owner = _TunnelExchange(self, handshake, address)
        try:
            tunnel = Tunnel(
                owner,
                to_client,
                to_upstream,
                buffer=settings.buffer,
                send_timeout=settings.timeouts.send,
                idle_timeout=handshake.tunnel_idle,
            )
            client.watch_tls(to_client, lambda: tunnel.bytes_from_client, tunnel.abort)
            tunnel.open(upgrade_response_head(101, response.reason, response.headers), from_upstream, from_client)
        except BaseException:
            # Neither connection has a protocol that would notice its end.
            to_client.abort()
            to_upstream.abort()
            raise
        owner.opened()
        self._tunnels[tunnel] = exchange
        exchange.is_tunnel = True
        exchange.status = 101
        self._idle_tunnels.start(handshake.tunnel_idle)
        self._slow_readers.start(settings.timeouts.send)
        self._dead_peers.start()
        self.recorder.websocket_opened(exchange)
        if self.recorder.lifecycle.is_ending:  # the drain began while the upstream answered
            tunnel.start_closing(CloseCode.SERVICE_RESTART, Outcome.DRAINED)
        return SentResponse(keep_alive=False)

    def _legs(self) -> Iterator[Leg]:
        for tunnel in self._tunnels:
            yield from tunnel.legs
