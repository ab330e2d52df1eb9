"""One HTTP exchange on the ordinary path: the request to the upstream, its response to the client, bodies streamed.

No body is collected, and nothing is decoded but the transfer coding, which
belongs to each hop. A piece of a body is forwarded as soon as it has arrived,
so server-sent events and Dash's streams of lines pass as they are produced.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from proxy.config import Settings
from proxy.errors import Outcome, UpstreamLost, UpstreamTimeout
from proxy.exchange.leases import Leases
from proxy.exchange.record import Exchange
from proxy.gateway.request_body import OutgoingBody
from proxy.gateway.uploads import Uploads
from proxy.http1.chunked import chunk
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.headers import Fields, request_head, response_head
from proxy.http1.response_reader import Framing, Response
from proxy.net.peer import is_trusted
from proxy.upstream.connection import SAFE, UpstreamConnection
from proxy.upstream.retry import retry, send_request, start_request
from proxy.upstream.upstream import Upstream


class OutgoingRequest(NamedTuple):
    """One request on its way to an upstream. settings: those that its exchange began with."""

    client: ClientStream
    exchange: Exchange
    upstream: Upstream
    settings: Settings


async def forward(
    request: OutgoingRequest, target: str, added: Fields, uploads: Uploads, *, lost: UpstreamLost | None = None
) -> SentResponse:
    """Carry one exchange to its end.

    target: the request target for the upstream. added: the fields that the gateway adds. uploads: counts a body that
    is still arriving. lost: how the request ended that was sent before, on an idle connection; None: it was
    not sent yet.

    It waits for an upstream that is unreachable (``retry``). Raises ProxyError when there is no response to relay.
    It is cancelled when the client leaves, which ends the exchange with the upstream.
    """
    client, exchange, _, settings = request
    body = OutgoingBody(client, exchange, settings.limits.body)
    await body.wait_briefly()
    message = request_head(client.head, target, added, body=body.field) + body.read_whole()
    if body.is_whole:
        return await _forward_whole(request, message, body, lost)
    is_free = is_trusted(exchange.client, settings.trusted_proxies)
    most = None if is_free else settings.limits.uploads_per_client
    with Leases(await uploads.acquire(exchange.client, most, settings.timeouts.queue)) as leases:
        return await _forward_stream(request, message, body, leases)


async def _forward_whole(
    request: OutgoingRequest, message: bytes, body: OutgoingBody, lost: UpstreamLost | None
) -> SentResponse:
    """Carry an exchange whose request has arrived whole. message: all of it."""
    client, exchange, upstream, settings = request
    method, timeouts, seconds = client.head.method, settings.timeouts, settings.timeouts.response

    async def attempt() -> tuple[UpstreamConnection, Response]:
        nonlocal lost
        try:
            return await send_request(
                upstream, method, message, timeouts, seconds, body.on_interim, exchange=exchange, lost=lost
            )
        except TimeoutError:
            raise too_slow(upstream.name, seconds) from None
        except UpstreamLost as error:
            lost = error
            raise

    connection, response = await retry(upstream, attempt, timeouts.hold, exchange, may_resend=method in SAFE)
    with upstream.lent(connection):
        return await relay(client, connection, response, exchange)


async def _forward_stream(request: OutgoingRequest, message: bytes, body: OutgoingBody, leases: Leases) -> SentResponse:
    """Carry an exchange whose request body is still arriving.

    message: the head. leases: released as soon as the whole body is sent to the upstream.

    No part of the body is read, and no 100 is sent, before there is a connection: the part that has arrived waits in
    the client's read buffer, and the rest at the client.
    """
    client, exchange, upstream, settings = request
    timeouts = settings.timeouts

    async def attempt() -> UpstreamConnection:
        return await start_request(upstream, client.head.method, message, timeouts, body.on_interim, exchange=exchange)

    connection = await retry(upstream, attempt, timeouts.hold, exchange)
    sending: asyncio.Task[None] | None = None
    try:
        with upstream.lent(connection):
            try:
                async with asyncio.timeout(None) as timeout:

                    def sent() -> None:
                        leases.release()
                        if not connection.has_head:  # the upstream has the whole request only now
                            timeout.reschedule(asyncio.get_running_loop().time() + timeouts.response)

                    sending = body.start(connection, timeouts.body, sent)
                    response = await connection.head()
                return await relay(client, connection, response, exchange)
            except TimeoutError:
                raise too_slow(upstream.name, timeouts.response) from None
            finally:
                if not body.is_sent:
                    # The upstream still waits for the rest of this request, and would take the next one for it.
                    connection.abort()
    finally:
        # Only now that the slot is given back: a second cancellation may come while this waits (issue 9, A1).
        if sending is not None and not sending.done():
            sending.cancel()
            await asyncio.wait([sending])


async def finish(request: OutgoingRequest, connection: UpstreamConnection) -> SentResponse:
    """Continue an exchange whose request has been sent and whose response is beginning.

    Raises ProxyError; cancelling it ends the exchange with the upstream.
    """
    client, exchange, upstream, settings = request
    with upstream.lent(connection):
        try:
            async with asyncio.timeout(settings.timeouts.response):
                response = await connection.head()
            return await relay(client, connection, response, exchange)
        except TimeoutError:
            raise too_slow(upstream.name, settings.timeouts.response) from None


async def relay(
    client: ClientStream, connection: UpstreamConnection, response: Response, exchange: Exchange
) -> SentResponse:
    """Pass a response on, head and body.

    Raises UpstreamCut when the upstream breaks off in the body; the client's connection is cut then.
    """
    is_modern = client.head.version >= (1, 1)
    chunked = is_modern and response.framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE)
    is_delimited = chunked or response.framing in (Framing.NONE, Framing.LENGTH)
    keep = is_delimited and client.wants_keep_alive and client.body.is_whole
    hop = _hop_fields(response, chunked, keep, is_modern)
    exchange.status, exchange.responded = response.status, time.monotonic()
    data = response_head(response.status, response.reason, response.headers, added=hop)
    piece = connection.read_nowait()
    try:
        while True:
            data += chunk(piece, is_last=connection.is_complete) if chunked else piece
            client.write(data)
            exchange.sent += len(piece)
            if connection.is_complete:
                break
            if client.is_slow:
                connection.pause_reading()  # else as much again would be read while it waits
                await client.drain()
                connection.resume_reading()
            data, piece = b"", await connection.read()
    except Exception:
        client.cut(reset=not is_delimited)
        raise
    exchange.outcome = Outcome.SERVED
    return SentResponse(keep)


def too_slow(name: str, seconds: float) -> UpstreamTimeout:
    """Return the error for an upstream that does not begin its response."""
    return UpstreamTimeout(
        f"The upstream {name} did not begin to answer within {seconds:g} s.",
        advice="For the operator: gateway.timeouts.response in the configuration is the limit.",
    )


def _hop_fields(response: Response, chunked: bool, keep: bool, is_modern: bool) -> Fields:
    """Return the hop-by-hop fields of a response."""
    fields: list[tuple[bytes, bytes]] = []
    connection = [b"close"] if not keep else [] if is_modern else [b"keep-alive"]
    if response.status == 426:
        # RFC 9110, 15.5.22: such a response must say what to upgrade to.
        fields += [(b"Upgrade", value) for value in response.all(b"upgrade")]
        connection.append(b"upgrade")
    if chunked:
        fields.append((b"Transfer-Encoding", b"chunked"))
    if connection:
        fields.append((b"Connection", b", ".join(connection)))
    return tuple(fields)
