"""One plain HTTP exchange: the request to the upstream, its answer to the client, bodies streamed both ways.

Nothing is collected, and nothing is decoded but the transfer coding, which
belongs to each hop. A piece of a body is on its way as soon as it has
arrived, so that server-sent events and Dash's streams of lines pass as they
are produced.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from proxy.config import Settings, Timeouts
from proxy.errors import BodyStalled, ClientError, Outcome, UpstreamLost, UpstreamTimeout
from proxy.exchange.leases import Leases
from proxy.exchange.record import Exchange
from proxy.gateway.uploads import Uploads
from proxy.http1.chunked import ProtocolError
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.headers import Fields, request_head, response_head, tokens
from proxy.http1.methods import SAFE
from proxy.http1.response_reader import Framing, Response
from proxy.net.peer import is_trusted
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.retry import retry, send_request, start_request
from proxy.upstream.upstream import Upstream
from ws_service.net.unacknowledged import MIN_RATE

_MOMENT = 0.25
"""Seconds that are waited for a small body, as a callback has; browsers send it in segments of its own after the head.
What is not here by then is an upload, and counts as one. An upstream that answers before the body's end is heard no
later than that."""

_CONTINUE_TIMEOUT = 1.0
"""Seconds to wait for an upstream's 100 before the gateway says it itself. curl waits as long for the gateway's."""

_LAST_CHUNK = b"0\r\n\r\n"


async def forward(
    client: ClientStream,
    target: str,
    added: Fields,
    upstream: Upstream,
    exchange: Exchange,
    settings: Settings,
    uploads: Uploads,
    *,
    lost: UpstreamLost | None = None,
) -> SentResponse:
    """Carry one exchange to its end.

    target: the request target for the upstream. added: the fields that the
    gateway adds. uploads: where a body that is still on its way is counted.
    lost: how the request ended that was sent before, on an idle connection; None: it was not sent yet.

    It waits for an upstream that is unreachable (``retry``). Raises
    ProxyError when there is no answer to relay. Cancelling it, which is what
    the client's leaving does, ends the exchange with the upstream.
    """
    head, timeouts, limits = client.head, settings.timeouts, settings.limits
    body = _Body(client, exchange, limits.body)
    if not body.is_whole:
        await body.arrive()
    message = request_head(head, target, added, body=body.field) + body.at_once()
    if not body.is_whole:
        is_free = is_trusted(exchange.client, settings.trusted_proxies)
        most = None if is_free else limits.uploads_per_client
        with Leases(await uploads.acquire(exchange.client, most, timeouts.queue)) as leases:
            return await _stream(client, message, body, upstream, exchange, timeouts, leases)

    async def attempt() -> tuple[UpstreamConnection, Response]:
        nonlocal lost
        try:
            return await send_request(
                upstream, head.method, message, timeouts, timeouts.response, body.on_interim, lost=lost
            )
        except TimeoutError:
            raise too_slow(upstream.name, timeouts.response) from None
        except UpstreamLost as error:
            lost = error
            raise

    connection, answer = await retry(upstream, attempt, timeouts.hold, may_resend=head.method in SAFE)
    with upstream.lent(connection):
        return await relay(client, connection, answer, exchange)


async def _stream(
    client: ClientStream,
    message: bytes,
    body: _Body,
    upstream: Upstream,
    exchange: Exchange,
    timeouts: Timeouts,
    leases: Leases,
) -> SentResponse:
    """Carry an exchange whose request body is still on its way.

    leases: given back as soon as the whole body is with the upstream.

    Nothing of the body is taken, and no 100 is said, before there is a connection: what has come of it waits in the
    client's read buffer, and the rest with the client.
    """

    async def attempt() -> UpstreamConnection:
        return await start_request(upstream, client.head.method, message, timeouts, body.on_interim)

    connection = await retry(upstream, attempt, timeouts.hold)
    pump: asyncio.Task[None] | None = None
    try:
        with upstream.lent(connection):
            try:
                async with asyncio.timeout(None) as timeout:
                    pump = body.pump(connection, timeouts, timeout, leases)
                    answer = await connection.head()
                return await relay(client, connection, answer, exchange)
            except TimeoutError:
                raise too_slow(upstream.name, timeouts.response) from None
            finally:
                if not body.is_sent:
                    # The upstream still waits for the rest of this request, and would take the next one for it.
                    connection.abort()
    finally:
        # Only now that the turn is given back: a second cancellation may come while this waits (issue 9, A1).
        if pump is not None and not pump.done():
            pump.cancel()
            await asyncio.wait([pump])


def check_size(client: ClientStream, max_body: int | None) -> None:
    """Refuse a body that is known to be too large, before anything is done for it.

    max_body: bytes; None: any number. Raises ClientError.
    """
    if max_body is None or not client.head.has_body:
        return
    # Not bytes that are no digits: the routing refuses them, and says why.
    length = client.head.get(b"content-length") or b""
    if client.body.size > max_body or (length.isdigit() and int(length) > max_body):
        raise _too_large(max_body)


async def finish(
    client: ClientStream, connection: UpstreamConnection, upstream: Upstream, exchange: Exchange, timeouts: Timeouts
) -> SentResponse:
    """Carry an exchange on whose request has been sent and whose answer is only beginning.

    Raises ProxyError; cancelling it ends the exchange with the upstream.
    """
    with upstream.lent(connection):
        try:
            async with asyncio.timeout(timeouts.response):
                answer = await connection.head()
            return await relay(client, connection, answer, exchange)
        except TimeoutError:
            raise too_slow(upstream.name, timeouts.response) from None


async def relay(
    client: ClientStream, connection: UpstreamConnection, answer: Response, exchange: Exchange
) -> SentResponse:
    """Pass an answer on, head and body.

    Raises UpstreamCut when the upstream dies in the body; the client's connection is cut then.
    """
    is_modern = client.head.version >= (1, 1)
    chunked = is_modern and answer.framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE)
    is_delimited = chunked or answer.framing in (Framing.NONE, Framing.LENGTH)
    keep = is_delimited and client.wants_keep_alive and client.body.is_whole
    head = response_head(
        answer.status, answer.reason, answer.headers, added=_hop_fields(answer, chunked, keep, is_modern)
    )
    exchange.status = answer.status
    piece = connection.read_nowait()
    try:
        client.write(
            head + (_chunk(piece) if chunked else piece) + (_LAST_CHUNK if chunked and connection.is_complete else b"")
        )
        exchange.sent += len(piece)
        while not connection.is_complete:
            if client.is_slow:
                connection.pause_reading()  # else as much again would be read while it waits
                await client.drain()
                connection.resume_reading()
            piece = await connection.read()
            exchange.sent += len(piece)
            if chunked:
                piece = _chunk(piece) + (_LAST_CHUNK if connection.is_complete else b"")
            client.write(piece)
    except Exception:
        client.cut(reset=not is_delimited)
        raise
    exchange.outcome = Outcome.SERVED
    return SentResponse(keep)


def too_slow(name: str, seconds: float) -> UpstreamTimeout:
    """Return the error for an upstream that does not begin to answer."""
    return UpstreamTimeout(
        f"The upstream {name} did not begin to answer within {seconds:g} s.",
        advice="For the operator: gateway.timeouts.response in the configuration is the limit.",
    )


def _too_large(max_body: int) -> ClientError:
    return ClientError(
        f"The request's body is larger than {max_body} bytes.",
        advice="For the operator: gateway.limits.body in the configuration is the limit.",
        status=413,
    )


class _Body:
    """The request's body on its way to the upstream: with the head if it is here already, pumped behind it if not."""

    def __init__(self, client: ClientStream, exchange: Exchange, max_size: int | None) -> None:
        self._client = client
        self._exchange = exchange
        self._max_size = max_size
        self._waited = 0.0  # seconds, for the client alone
        self._chunked = bool(tokens(client.head.all(b"transfer-encoding")))
        self.is_whole = not client.head.has_body or client.body.is_whole
        self.is_sent = self.is_whole
        self.field = b"Transfer-Encoding: chunked" if self._chunked else b""
        expects = client.head.version >= (1, 1) and b"100-continue" in tokens(client.head.all(b"expect"))
        self._may_continue = asyncio.Event() if expects and not self.is_whole else None

    async def arrive(self) -> None:
        """Wait a moment for a small body whose length is known, so that it need not be counted as an upload."""
        body, length = self._client.body, self._client.head.get(b"content-length") or b""
        if (
            self._may_continue is not None or not length.isdigit() or int(length) > body.capacity
        ):  # more would not come before it is read
            return
        # A body that is broken is told by whoever reads it.
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):
                await body.wait_whole()
        self.is_whole = self.is_sent = body.is_whole

    def at_once(self) -> bytes:
        """Return the body, framed, if the whole of it has arrived with the head; nothing otherwise."""
        if not self.is_whole or not self._client.head.has_body:
            return b""
        data = self._client.body.read_nowait()
        self._exchange.received = len(data)
        return _chunk(data) + _LAST_CHUNK if self._chunked else data

    def on_interim(self, answer: Response) -> None:
        """Pass an interim answer on (RFC 9110, section 15.2); a 100 only to a client that waits for one."""
        if answer.status == 100:
            self._go_on(answer)
        elif self._client.head.version >= (1, 1):
            self._client.write_interim(response_head(answer.status, answer.reason, answer.headers))

    def pump(
        self, connection: UpstreamConnection, timeouts: Timeouts, timeout: asyncio.Timeout, leases: Leases
    ) -> asyncio.Task[None]:
        """Start to send the body; the caller cancels and awaits.

        timeout: the wait for the answer; it has its deadline from the moment when the upstream has the whole
        question. leases: given back then. What goes wrong reaches the reader of the answer.
        """
        loop = asyncio.get_running_loop()

        async def run() -> None:
            try:
                await self._pump(connection, timeouts.body)
                self.is_sent = True
                leases.release()
                if not connection.has_head:
                    timeout.reschedule(loop.time() + timeouts.response)
            except Exception as error:
                connection.fail(error)
            except asyncio.CancelledError:
                connection.fail(ConnectionAbortedError("the request's body is sent no further"))
                raise

        name = f"request body of {self._exchange.id}"
        return loop.create_task(run(), name=name)

    async def _pump(self, connection: UpstreamConnection, timeout: float) -> None:
        if self._may_continue is not None and self._client.body.size == 0:
            try:
                async with asyncio.timeout(_CONTINUE_TIMEOUT):
                    await self._may_continue.wait()
            except TimeoutError:
                self._go_on(None)
        while piece := await self._next(timeout):
            self._exchange.received += len(piece)
            if self._max_size is not None and self._exchange.received > self._max_size:
                raise _too_large(self._max_size)
            connection.write(_chunk(piece) if self._chunked else piece)
            try:
                async with asyncio.timeout(timeout):
                    await connection.drain()
            except TimeoutError:
                raise UpstreamTimeout(f"The upstream took nothing of the body for {timeout:g} s.") from None
        if self._chunked:
            connection.write(_LAST_CHUNK)

    async def _next(self, timeout: float) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        left = timeout + self._exchange.received / MIN_RATE - self._waited
        try:
            async with asyncio.timeout(min(timeout, left)):
                piece = await self._client.body.read()
            self._waited += loop.time() - began
            return piece
        except TimeoutError:
            if left < timeout:
                raise BodyStalled(f"The request's body comes at less than {MIN_RATE} bytes a second.") from None
            raise BodyStalled(f"The request's body stopped coming for {timeout:g} s.") from None
        except ProtocolError as error:
            raise ClientError("The request's body is not framed as HTTP/1.1 asks.") from error

    def _go_on(self, answer: Response | None) -> None:
        if self._may_continue is None or self._may_continue.is_set():
            return
        self._may_continue.set()
        headers = answer.headers if answer else ()
        self._client.write_interim(response_head(100, answer.reason if answer else b"Continue", headers))


def _hop_fields(answer: Response, chunked: bool, keep: bool, is_modern: bool) -> Fields:
    """Return the fields that are about this hop alone."""
    fields: list[tuple[bytes, bytes]] = []
    connection = [b"close"] if not keep else [] if is_modern else [b"keep-alive"]
    if answer.status == 426:
        # RFC 9110, 15.5.22: such an answer must say what to upgrade to.
        fields += [(b"Upgrade", value) for value in answer.all(b"upgrade")]
        connection.append(b"upgrade")
    if chunked:
        fields.append((b"Transfer-Encoding", b"chunked"))
    if connection:
        fields.append((b"Connection", b", ".join(connection)))
    return tuple(fields)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
