"""The path of one request: record, decision, way, end. The only place that turns an error into an answer."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from pathlib import Path

from proxy.access.forward_auth import Denied
from proxy.config import Limits, Settings, Timeouts
from proxy.errors import ClientError, Outcome, ProxyError, Stopping
from proxy.exchange.lifecycle import Lifecycle, State
from proxy.exchange.record import Exchange
from proxy.gateway.fast_path import FastPath, Work
from proxy.gateway.forward import check_size, forward, relay
from proxy.gateway.routing import Refuse, Upgrade, decide
from proxy.gateway.runtime import Runtime
from proxy.gateway.uploads import Uploads
from proxy.http1.client_connection import ClientConnection, ClientStream, SentResponse
from proxy.http1.error_pages import RETRY, as_json, is_navigation, page
from proxy.http1.forwarded import OriginalRequest
from proxy.http1.headers import Fields, request_head, response_head, upgrade_response_head
from proxy.http1.request_handler import ActiveExchange
from proxy.http1.simple_message import SimpleRequest
from proxy.net.client_limits import ClientLimits, Lease, Rejected
from proxy.net.dead_peers import DeadPeers
from proxy.net.peer import is_trusted
from proxy.net.timers import SlowReaders
from proxy.upstream.connection import Response, UpstreamConnection
from proxy.upstream.retry import hold
from proxy.upstream.upstream import Upstream
from proxy.websocket.handoff import Handoff
from proxy.websocket.handshake import shake_hands
from proxy.websocket.tunnel import IdleWatch, Leg, Tunnel
from ws_service.logs.limited_log import LimitedLog

logger = logging.getLogger("proxy")

Observer = Callable[[Exchange], None]

_SETTINGS = {
    408: "gateway.timeouts.head",
    414: "gateway.limits.request_line",
    431: "gateway.limits.header, or .fields,",
}
"""The setting that a head has exceeded, by the status of the answer."""

_LOST_UPGRADE = (
    "a WebSocket handshake from %s came without Upgrade: websocket, and was passed on as an ordinary GET: a proxy in "
    "front does not pass the field on; nginx needs proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection $connection_upgrade; (see docs/deployment.md)"
)

_RELOAD_HASH = "/_reload-hash"
"""What a page of Dash in debug mode polls. Any answer of ours would count as the state of its code, and the next good
one would then load the page anew, with all that the user has entered; a connection that ends is ignored, and that is
also what the page would see without a gateway (dash-renderer, Reloader.react.js)."""


class Gateway:
    """What happens to a request, whoever listens and whoever observes.

    rules: what holds for requests; each keeps those it began with. observe: called when a WebSocket opens and
    when an exchange has ended.
    folder: what the path of the hand-off starts from. admission: counts what clients have; None: one of its own.

    ``handoff`` is for whoever starts and stops the process.
    """

    def __init__(
        self,
        rules: Runtime,
        lifecycle: Lifecycle[Exchange],
        observe: Observer = lambda _: None,
        folder: Path = Path(),
        admission: ClientLimits | None = None,
    ) -> None:
        self._rules = rules
        self._admission = admission or ClientLimits()
        self._lifecycle = lifecycle
        self._observe = observe
        self._tunnels: dict[Tunnel, Exchange] = {}
        self._idle_watch = IdleWatch(rules.settings.timeouts.tunnel_idle)
        self._slow_readers = SlowReaders(rules.settings.timeouts.send, self._legs)
        self._vanished = DeadPeers(self._legs)
        self._on_tunnel_end = self._tunnel_ended  # one bound method for all of them
        self.uploads = Uploads()
        self.handoff = Handoff(rules.settings.handoff_path(folder), observe, self._admission.websockets)
        self._prefix = os.urandom(6).hex()
        self._number = 0
        self._log = LimitedLog(logger)
        self._resumed: set[asyncio.Task[None]] = set()
        self._express = FastPath(
            rules,
            self.uploads,
            record=self._record,
            end=self._end,
            resume=self._resume,
        )

    async def handle(self, client: ClientStream) -> SentResponse:
        """Serve one request."""
        rules = self._rules
        asked = rules.reader.read(client.head, client.peer)
        exchange = self._record_of(client, asked)
        return await self._guard(client, exchange, self._serve(client, exchange, rules, asked))

    def offer_simple(self, connection: ClientConnection, request: SimpleRequest) -> ActiveExchange | None:
        """Carry a plain request without a task, or decline it."""
        return self._express.offer(connection, request)

    async def _guard(self, client: ClientStream, exchange: Exchange, work: Work) -> SentResponse:
        """Do the work of an exchange; whatever it ends in, the client has its answer and the record its end.

        It ends when the client has taken the answer, but for what may wait for it: nothing more of its connection is
        served before (issue 9, A3).
        """
        written, is_taken = SentResponse(keep_alive=False), False
        try:
            written = await self._answered(client, exchange, work)
            if not (exchange.is_tunnel or exchange.is_handed_off):
                await client.drain()
            is_taken = True
        except (asyncio.CancelledError, ConnectionError) as error:
            if not is_taken:
                self._cut_short(client, exchange)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            if exchange.is_handed_off:
                self._lifecycle.leave(exchange)
            elif not exchange.is_tunnel:
                self._end(exchange)
        return written

    def _cut_short(self, client: ClientStream, exchange: Exchange) -> None:
        """Note who ended an exchange whose answer the client does not have, unless it is known."""
        if exchange.outcome in (Outcome.BUG, Outcome.SERVED):
            is_cut = self._lifecycle.state is State.STOPPED or not client.is_gone
            exchange.outcome = Outcome.STOPPING if is_cut else Outcome.CLIENT_GONE
            if client.was_too_slow:
                exchange.outcome = Outcome.TOO_SLOW
            exchange.status = exchange.status or 499

    async def _answered(self, client: ClientStream, exchange: Exchange, work: Work) -> SentResponse:
        """Do the work of an exchange, and answer what goes wrong with it."""
        try:
            return await work
        except ProxyError as error:
            exchange.outcome = error.outcome
            exchange.detail = error.detail or error.message
            return self._answer(client, exchange, error)
        except ConnectionError:
            raise
        except Exception as error:
            logger.exception("a fault of the gateway itself, in exchange %s", exchange.id)
            exchange.detail = repr(error)
            return self._answer(client, exchange, ProxyError("The gateway has failed.", advice="Its log says why."))

    def refuse(self, client: ClientStream, status: int, message: str) -> None:
        """Answer what cannot be read as a request, or is too large or too slow to be read.

        message: one sentence. It reaches the client if it is about a limit, and the log if not.
        """
        exchange = self._record_of(client, self._rules.reader.read(client.head, client.peer))
        exchange.method, exchange.target = "-", "-"
        if status in _SETTINGS:
            advice = f"For whoever runs this: {_SETTINGS[status]} in the configuration is the limit."
            error = ClientError(message, advice=advice, status=status)
        else:
            error = ClientError("The request cannot be read as HTTP/1.1.", status=status)
        exchange.outcome = Outcome.CLIENT_STALLED if status == 408 else error.outcome
        exchange.detail = " ".join(message.split())[:200]
        self._answer(client, exchange, error)
        self._end(exchange)

    @property
    def rules(self) -> Runtime:
        """The rules by which new exchanges are served."""
        return self._rules

    def adopt(self, rules: Runtime) -> None:
        """Serve by other rules from here on; an exchange that is under way keeps those it began with."""
        before, self._rules = self._rules, rules
        self._express.use(rules)
        self._idle_watch.use(rules.settings.timeouts.tunnel_idle)
        self._slow_readers.use(rules.settings.timeouts.send)
        old, new = set(before.upstreams.values()), set(rules.upstreams.values())
        for upstream in new - old:
            upstream.start()
        for upstream in old - new:
            upstream.close("The configuration has another address for this upstream now.")

    @property
    def tunnels(self) -> list[Tunnel]:
        """Those that are open, in the order in which they came."""
        return list(self._tunnels)

    def abort_tunnels(self) -> None:
        """Cut every tunnel."""
        for tunnel in list(self._tunnels):
            tunnel.abort()

    # -- inside

    async def _serve(
        self, client: ClientStream, exchange: Exchange, rules: Runtime, asked: OriginalRequest
    ) -> SentResponse:
        decision = decide(client.head, rules.table, asked)
        if isinstance(decision, Refuse):
            raise decision.error
        check_size(client, rules.settings.limits.body)
        upstream = rules.upstreams[decision.upstream]
        exchange.upstream, exchange.route = decision.upstream, decision.route
        if not isinstance(decision, Upgrade) and client.head.get(b"sec-websocket-key") is not None:
            self._tell_of_lost_upgrade(exchange, client.peer.address)
        ours = self._told(asked, client, exchange, upstream)
        is_handshake = isinstance(decision, Upgrade)
        if is_handshake:
            await self._admit(exchange, rules.settings.limits)
        guard = rules.guards.guard(decision.target, client.head.get(b"host") or b"")
        if guard is not None:
            told = self._told(asked, client, exchange, rules.upstreams["dash"])
            word = await rules.auth.ask(guard, client.head, decision.target, told, is_handshake=is_handshake)
            if isinstance(word, Denied):
                exchange.detail = f"{guard.name}: {guard.ask} answered {word.answer.status}"
                return await self._relay_refusal(client, word, exchange, rules.upstreams["dash"])
            ours = (*ours, *word)
        client.head = rules.guards.without_claims(client.head)
        if not isinstance(decision, Upgrade):
            written = await forward(
                client,
                decision.target,
                ours,
                upstream,
                exchange,
                rules.settings,
                self.uploads,
            )
        else:
            answered = await self._answer_of(
                client, decision, ours, upstream, exchange, rules.settings.timeouts, is_secure=asked.is_secure
            )
            if answered is None:
                return SentResponse(keep_alive=False)
            connection, answer = answered
            if answer.status == 101:
                return self._open_tunnel(client, upstream, connection, answer, exchange, rules.settings)
            with upstream.lent(connection):
                written = await relay(client, connection, answer, exchange)
        return written

    def _tell_of_lost_upgrade(self, exchange: Exchange, address: str) -> None:
        """Say that a handshake has lost its Upgrade field on the way; it is served as the GET that it is now."""
        exchange.detail = "Sec-WebSocket-Key without Upgrade: websocket"
        self._log.say("lost upgrade", logging.WARNING, _LOST_UPGRADE, address)

    def _told(self, asked: OriginalRequest, client: ClientStream, exchange: Exchange, upstream: Upstream) -> Fields:
        """Return the fields that tell an upstream who asks for what."""
        fields = asked.fields_of(exchange.id, upstream.name)
        if client.head.get(b"host") is None:  # HTTP/1.0, which old health checks speak; ours is 1.1 and needs one
            return ((b"Host", upstream.authority), *fields)
        return fields

    async def _relay_refusal(
        self, client: ClientStream, refusal: Denied, exchange: Exchange, upstream: Upstream
    ) -> SentResponse:
        """Give the client what Dash has answered about it."""
        answer = refusal.answer
        with upstream.lent(refusal.connection):
            if client.head.method != "HEAD":
                return await relay(client, refusal.connection, answer, exchange)
            # The question was a GET: its body is not for whoever asks with HEAD.
            client.write(response_head(answer.status, answer.reason, answer.headers, ours=((b"Connection", b"close"),)))
            exchange.status, exchange.outcome = answer.status, Outcome.SERVED
            return SentResponse(keep_alive=False)

    async def _admit(self, exchange: Exchange, limits: Limits) -> None:
        """Count a WebSocket in before it is one; wait if its client is fast. Raises TooMany."""
        verdict = self._admission.websocket(exchange.client, limits, time.monotonic())
        if isinstance(verdict, Rejected):
            if verdict.notice:
                logger.warning("%s", verdict.notice)
            raise verdict.error
        exchange.slot = verdict.slot
        if verdict.delay:
            await asyncio.sleep(verdict.delay)

    async def _answer_of(
        self,
        client: ClientStream,
        decision: Upgrade,
        ours: Fields,
        upstream: Upstream,
        exchange: Exchange,
        timeouts: Timeouts,
        *,
        is_secure: bool,
    ) -> tuple[UpstreamConnection, Response] | None:
        """Return what the upstream answers to a handshake; None when the service has taken the socket itself.

        Waits for an upstream that is away, and tries both ways again: a socket that came while the service was
        restarting is to be handed over like any other.
        """
        is_first = True

        async def attempt() -> tuple[UpstreamConnection, Response] | None:
            nonlocal is_first
            if decision.upstream == "ws":
                if not is_first:
                    await self.handoff.greet()
                is_first = False
                if await self._hand_off(client, decision, ours, exchange, timeouts, is_secure):
                    return None
            if self._lifecycle.is_ending:  # it would be told to come back as soon as it is open
                raise Stopping("This gateway is stopping.", headers=[(b"Retry-After", b"1")])
            return await shake_hands(client.head, decision.target, decision.key, ours, upstream, timeouts)

        return await hold(upstream, attempt, timeouts.hold)

    async def _hand_off(
        self,
        client: ClientStream,
        decision: Upgrade,
        ours: Fields,
        exchange: Exchange,
        timeouts: Timeouts,
        is_secure: bool,
    ) -> bool:
        """Give the client's socket to the service, if it can be; False leaves everything to the tunnel."""
        if not self.handoff.is_on:
            return False
        if client.has_tls:  # not the scheme: a proxy that has ended TLS itself may have announced it
            return self.handoff.fall_back("tls", "its TLS ends in this process, and cannot be handed over")
        head = request_head(client.head, decision.target, ours, upgrade=True)
        descriptor, leftover = client.hold()
        try:
            is_taken = await self.handoff.offer(
                exchange,
                descriptor,
                head,
                leftover,
                is_secure=is_secure,
                timeout=timeouts.handshake,
                send=timeouts.send,
            )
        except BaseException:
            client.let_go()  # nothing more may be said on it
            exchange.detail = "the service may have the socket"
            raise
        if not is_taken:
            client.go_on()
            return False
        client.let_go()
        exchange.is_handed_off = True
        exchange.outcome = Outcome.HANDED_OFF
        exchange.opened = time.monotonic()
        self._observe(exchange)
        return True

    def _open_tunnel(
        self,
        client: ClientStream,
        upstream: Upstream,
        connection: UpstreamConnection,
        answer: Response,
        exchange: Exchange,
        settings: Settings,
    ) -> SentResponse:
        to_upstream, from_upstream = upstream.detach(connection)
        try:
            to_client, from_client = client.take()
        except ConnectionError:
            to_upstream.abort()
            raise
        exchange.connection = client.take_slot()
        try:
            tunnel = Tunnel(
                to_client,
                to_upstream,
                buffer=settings.buffer,
                send=settings.timeouts.send,
                hold=partial(self.lease_buffer, exchange.client),
                on_end=self._on_tunnel_end,
            )
            self._tunnels[tunnel] = exchange
            self._idle_watch.watch(tunnel)
            client.watch_tls(to_client, lambda: tunnel.bytes_from_client, tunnel.abort)
            tunnel.open(upgrade_response_head(101, answer.reason, answer.headers), from_upstream, from_client)
        except BaseException:
            # Neither connection has a protocol that would tell of its end.
            to_client.abort()
            to_upstream.abort()
            raise
        exchange.is_tunnel = True
        exchange.status = 101
        exchange.opened = time.monotonic()
        self._slow_readers.wake()
        self._vanished.wake()
        self._observe(exchange)
        if self._lifecycle.is_ending:  # the drain began while the upstream made up its mind
            tunnel.say_goodbye(1012, Outcome.DRAINED)
        return SentResponse(keep_alive=False)

    def lease_buffer(self, address: str, size: int) -> Lease | None:
        """Count bytes that wait on a client's connection; None when they are more than may: then it is to be cut."""
        settings = self._rules.settings
        most = None if is_trusted(address, settings.trusted_proxies) else settings.limits.buffered_per_client
        verdict = self._admission.buffer(address, size, most, time.monotonic())
        if isinstance(verdict, Rejected):
            if verdict.notice:
                logger.warning("%s", verdict.notice)
            return None
        return verdict.slot

    def _legs(self) -> Iterator[Leg]:
        for tunnel in self._tunnels:
            yield from tunnel.legs

    def _tunnel_ended(self, tunnel: Tunnel) -> None:
        exchange = self._tunnels.pop(tunnel)
        self._idle_watch.forget(tunnel)
        exchange.received, exchange.sent = tunnel.bytes_from_client, tunnel.bytes_from_upstream
        exchange.outcome = tunnel.outcome or Outcome.BUG
        exchange.closed_by, exchange.close_code = tunnel.closed_by, tunnel.close_code
        self._end(exchange)

    def _resume(
        self,
        connection: ClientConnection,
        client: ClientStream,
        exchange: Exchange,
        work: Work,
        give_up: Callable[[], None],
    ) -> asyncio.Task[None]:
        """Go on with an exchange that is not plain after all.

        give_up: gives back what the work would have; called when its task is cancelled before its first step, because
        then nothing of it ever runs.
        """
        has_begun = False

        async def run() -> None:
            nonlocal has_begun
            has_begun = True
            written = SentResponse(keep_alive=False)
            try:
                written = await self._guard(client, exchange, work)
            finally:
                connection.exchange_ended(bool(written.keep_alive))

        def ended(task: asyncio.Task[None]) -> None:
            self._resumed.discard(task)
            if not has_begun:
                work.close()
                give_up()
                self._cut_short(client, exchange)
                self._end(exchange)
                connection.exchange_ended(keep_alive=False)

        task = asyncio.get_running_loop().create_task(run(), name=f"exchange {exchange.id}")
        self._resumed.add(task)
        task.add_done_callback(ended)
        return task

    def _record_of(self, client: ClientStream, asked: OriginalRequest) -> Exchange:
        head = client.head
        exchange = self._record(asked.client, head.method, head.target, (head.get(b"host") or b"").decode("latin-1"))
        reading = max(0.0, exchange.began - client.began)
        exchange.began -= reading
        exchange.when -= reading
        return exchange

    def _record(self, client: str, method: str, target: str, host: str) -> Exchange:
        self._number += 1
        exchange = Exchange(
            f"{self._prefix}{self._number:08x}", time.time(), time.monotonic(), client, method, target, host
        )
        self._lifecycle.enter(exchange)
        return exchange

    def _end(self, exchange: Exchange) -> None:
        exchange.ended = time.monotonic()
        self._lifecycle.leave(exchange)
        for lease in (exchange.slot, exchange.connection, exchange.upload):
            if lease is not None:
                lease.release()
        self._observe(exchange)

    def _answer(self, client: ClientStream, exchange: Exchange, error: ProxyError) -> SentResponse:
        """Write the answer to an error, unless part of another answer is already with the client."""
        is_poll = error.status >= 500 and exchange.target.partition("?")[0].endswith(_RELOAD_HASH)
        if client.has_written or client.is_gone or is_poll:
            exchange.status = exchange.status or (444 if is_poll else 499)
            client.cut(reset=False)
            return SentResponse(keep_alive=False)
        exchange.status = error.status
        keep = not isinstance(error, ClientError | Stopping) and client.wants_keep_alive and client.body.is_eof()
        kind, body = page(error, exchange.upstream) if is_navigation(client.head) else as_json(error)
        fields = [
            (b"Date", formatdate(usegmt=True).encode()),
            (b"Content-Type", kind),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
        ]
        fields += error.headers
        if error.passes and not any(name == b"Retry-After" for name, _ in error.headers):
            fields.append((b"Retry-After", b"%d" % RETRY))
        if not keep:
            fields.append((b"Connection", b"close"))
        phrase = HTTPStatus(error.status).phrase.encode()
        is_head = client.head.method == "HEAD"
        client.write(response_head(error.status, phrase, (), ours=tuple(fields)) + (b"" if is_head else body))
        exchange.sent = 0 if is_head else len(body)
        return SentResponse(keep)
