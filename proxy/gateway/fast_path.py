"""The fast path: simple exchanges, served in callbacks of the event loop, without a task.

A simple request needs no parser, no request object and no coroutine; those
cost several times as much as the exchange itself
(docs/decisions/003-fast-path.md). When an exchange turns out not to be simple
(a response in pieces, an upstream that closes), it continues on the ordinary
path, in a task, from its present state.
"""

from __future__ import annotations

import time

from proxy.config import Settings
from proxy.errors import Outcome, UpstreamError, UpstreamLost
from proxy.exchange.record import Exchange
from proxy.gateway.completion import Completion, Work
from proxy.gateway.forward import OutgoingRequest, finish, forward, too_slow
from proxy.gateway.recorder import Recorder
from proxy.gateway.runtime import Runtime
from proxy.gateway.uploads import Uploads
from proxy.http1.client_connection import ClientConnection
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.forwarded import OriginalRequest
from proxy.http1.headers import Head, response_head
from proxy.http1.response_reader import Response
from proxy.net.timers import Deadlines
from proxy.upstream.connection import IDEMPOTENT, UpstreamConnection
from proxy.upstream.upstream import Upstream


class FastPath:
    """Serves simple exchanges.

    recorder: opens and closes the records of exchanges. completion: continues those that turn out not to be simple.
    uploads: counts bodies that are still arriving.
    """

    def __init__(self, runtime: Runtime, recorder: Recorder, completion: Completion, uploads: Uploads) -> None:
        self._runtime = runtime
        self.uploads = uploads
        self._open_record = recorder.open
        self.waiting = Deadlines[_FastPathExchange](_FastPathExchange.took_too_long)
        """Exchanges whose response has not begun: one timer for all, because one for each is expensive."""
        self.close_record = recorder.close
        self.resume = completion.resume

    def reconfigure(self, runtime: Runtime) -> None:
        """Use another configuration from now on; exchanges under way keep the one that they began with."""
        self._runtime = runtime

    def offer(self, connection: ClientConnection, head: Head, body: bytes) -> _FastPathExchange | None:
        """Serve a simple request, or decline it: then it takes the ordinary path from its first byte.

        Declined are requests for which a connection would have to be made, or
        Dash asked first (``auth``), those that have to wait for a slot, those
        whose response must say that it is the last, and those that are too
        large.
        """
        if connection.manager.is_leaving:
            return None
        runtime = self._runtime
        target, host, fields = head.target, head.block.host, head.block.end_to_end
        if runtime.auth_rules.apply_to(target, host, fields):
            return None
        if body and (most := runtime.settings.limits.body) is not None and len(body) > most:
            return None  # the ordinary path refuses it with a reason
        name, rule = runtime.table.match(target, host, [], upgrade=False)
        if runtime.table.is_for_own_pages(name, target):
            return None  # the ordinary path checks the origin
        upstream = runtime.upstreams[name]
        link = upstream.try_acquire()
        if link is None:
            return None
        original = runtime.reader.read(head, connection.peer)
        exchange = self._open_record(original.client, head)
        exchange.upstream, exchange.route, exchange.received = name, rule, len(body)
        exchange.address = link.owner.which
        active = _FastPathExchange(self, runtime.settings, connection, head, body, original, upstream, link, exchange)
        self.waiting.begin(active, runtime.settings.timeouts.response)
        try:
            line = f"{head.method} {target} HTTP/1.1\r\n".encode("latin-1")
            link.write(b"".join((line, fields, original.lines_of(exchange.id, name), b"\r\n", body)))
        except BaseException:
            active.abandon(Outcome.STOPPING)
            raise
        return active


class _FastPathExchange:
    """One simple exchange under way; both of its connections call it."""

    __slots__ = (
        "_body",
        "_connection",
        "_fast_path",
        "_head",
        "_link",
        "_original",
        "_reader",
        "_settings",
        "_upstream",
        "exchange",
    )

    def __init__(
        self,
        fast_path: FastPath,
        settings: Settings,
        connection: ClientConnection,
        head: Head,
        body: bytes,
        original: OriginalRequest,
        upstream: Upstream,
        link: UpstreamConnection,
        exchange: Exchange,
    ) -> None:
        self._fast_path = fast_path
        self._settings = settings
        self._connection = connection
        self._head = head
        self._body = body
        self._original = original
        self._upstream = upstream
        self._link = link
        self._reader = link.begin(head.method, listener=self)
        self.exchange = exchange

    # -- called by the upstream's connection

    def response_received(self, data: bytes) -> None:
        """Forward the part of the response that has arrived, nearly always all of it."""
        exchange, reader = self.exchange, self._reader
        if not reader.status:
            self._fast_path.waiting.end(self)
            message = None if self._connection.manager.is_leaving else reader.read_simple(data)
            if message is None:
                self._go_on_with(data)
                return
            exchange.status, exchange.responded = reader.status, time.monotonic()
        else:
            pieces: list[bytes] = []
            reader.feed(data, pieces)
            message = b"".join(pieces)
        exchange.sent = reader.body_size
        self._connection.socket.write(message)
        if reader.is_complete:
            self._end(Outcome.SERVED)
            self._link.owner.release(self._link)
            self._connection.exchange_ended(keep_alive=True)

    def upstream_lost(self, exc: Exception | None) -> None:
        """Send the request again if nothing was sent, or if no response has begun and it may be repeated; fail
        otherwise."""
        self._fast_path.waiting.end(self)
        self._link.owner.discard(self._link)
        error = self._link.ended_early(exc)
        lost = error if isinstance(error, UpstreamLost) else None
        if lost is not None:
            self._link.owner.doubt()
        if not self._reader.status and (self._head.method in IDEMPOTENT or lost is None):
            client = self._client()
            added = self._original.fields_of(self.exchange.id, self._upstream.name)
            again = forward(self._request(client), self._head.target, added, self._fast_path.uploads, lost=lost)
            self._resume(client, again)
        else:
            self._fail(error)

    # -- called by the client's connection

    def client_left(self) -> None:
        """End the exchange with the upstream."""
        self._leave(Outcome.TOO_SLOW if self._connection.socket.was_too_slow else Outcome.CLIENT_GONE)

    def cut(self) -> None:
        """End the exchange because the gateway has waited long enough for it."""
        self._leave(Outcome.STOPPING)

    def client_is_slow(self, is_slow: bool) -> None:
        """Pause reading from the upstream."""
        if self._reader.status and not self._reader.is_complete:
            (self._link.pause_reading if is_slow else self._link.resume_reading)()

    # -- called by the timer

    def took_too_long(self) -> None:
        """Give the upstream up."""
        self._link.owner.discard(self._link)
        self._fail(too_slow(self._upstream.name, self._settings.timeouts.response))

    def abandon(self, outcome: Outcome) -> None:
        """End the exchange with the upstream."""
        self._fast_path.waiting.end(self)
        self.exchange.status = self.exchange.status or 499
        self._end(outcome)
        self._link.owner.discard(self._link)

    # -- inside

    def _leave(self, outcome: Outcome) -> None:
        self.abandon(outcome)
        self._connection.exchange_ended(keep_alive=False)

    def _end(self, outcome: Outcome) -> None:
        self.exchange.outcome = outcome
        self._fast_path.close_record(self.exchange)

    def _go_on_with(self, data: bytes) -> None:
        client = self._client()

        def on_interim(response: Response) -> None:
            if response.status != 100:  # no client waits for one: a request of one that does is not simple
                client.write_interim(response_head(response.status, response.reason, response.headers))

        self._link.leave_fast_path(data, on_interim)
        self._resume(client, finish(self._request(client), self._link))

    def _fail(self, error: UpstreamError) -> None:
        async def fail() -> SentResponse:
            raise error

        self._resume(self._client(), fail())

    def _request(self, client: ClientStream) -> OutgoingRequest:
        return OutgoingRequest(client, self.exchange, self._upstream, self._settings)

    def _client(self) -> ClientStream:
        return self._connection.stream(self._head, self._body, has_written=bool(self._reader.status))

    def _resume(self, client: ClientStream, work: Work) -> None:
        self._fast_path.resume(self._connection, client, self.exchange, work, self._discard)

    def _discard(self) -> None:
        self._link.owner.discard(self._link)
