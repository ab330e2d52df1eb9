"""Retrying a request while its upstream is unreachable, instead of failing it.

Where the upstream has another address that takes connections, the request goes
there at once. Where it has none, it waits.

What was not sent can wait, whatever its method: an attempt is made, and when
there is no connection the request waits in its upstream's queue, bounded in
number and time, and is tried again when the upstream is back. What was sent
and got no byte of a response is another matter. GET, HEAD and WebSocket
handshakes may be sent again (RFC 9110, section 9.2.1), so they wait too. Other
methods never do (docs/decisions/010-retry-unsent-requests.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxy.config import Timeouts
from proxy.errors import ConnectTimeout, UpstreamError, UpstreamLost, UpstreamUnreachable
from proxy.exchange.record import Exchange
from proxy.http1.response_reader import Response
from proxy.upstream.connection import IDEMPOTENT, SAFE, UpstreamConnection
from proxy.upstream.upstream import Upstream

RETRYABLE = (UpstreamUnreachable, ConnectTimeout)
"""How an attempt ends of which nothing was sent: it may be made again, whatever the method."""

MAX_RETRIES = 2
"""How often a request is sent again that an upstream took and did not answer a byte to: enough for one that is killed,
and killed again. Without a bound, a request that kills its upstream would kill every worker of it."""

T = TypeVar("T")


async def retry(
    upstream: Upstream,
    attempt: Callable[[], Awaitable[T]],
    timeout: float,
    exchange: Exchange,
    *,
    may_resend: bool = True,
) -> T:
    """Make an attempt, and make it again when the upstream is back.

    attempt: sends a request, and returns when its response begins. It raises one of RETRYABLE when nothing was sent,
    and UpstreamLost when a response never began; anything else is final.
    timeout: seconds that the upstream may be unreachable (``timeouts.hold``); 0 does not wait, and tries each of its
    addresses once.
    exchange: its record gets the time that it has waited.
    may_resend: whether the attempt may be made again after UpstreamLost.

    Raises what the attempt raises, UpstreamUnreachable when the upstream does
    not come back in time, UpstreamFull when too many requests wait already,
    Stopping. Cancelling leaves the queue.
    """
    now = asyncio.get_running_loop().time
    lost = at_once = 0
    until: float | None = None
    while True:
        try:
            return await attempt()
        except (*RETRYABLE, UpstreamLost) as error:
            failure: UpstreamError = error
            if isinstance(error, UpstreamLost):
                lost += 1
            if (lost and not may_resend) or lost > MAX_RETRIES:
                raise
            if at_once < upstream.others:
                at_once += 1
                continue
            if not timeout:
                raise
        began = now()
        if until is None:  # from the first failure on, not from the request: that may have been answered for minutes
            until = began + timeout
        at_once = 0
        try:
            await upstream.wait_for_return(until - began)
        except TimeoutError:
            raise UpstreamUnreachable(
                f"{failure.message} It did not come back within {timeout:g} s.",
                advice=failure.advice or upstream.advice("is it running?"),
                detail=f"{failure.message} {upstream.urls} did not come back within {timeout:g} s",
                is_transient=failure.is_transient,
            ) from None
        finally:
            exchange.held = (exchange.held or 0.0) + now() - began


async def start_request(
    upstream: Upstream,
    method: str,
    message: bytes,
    timeouts: Timeouts,
    on_interim: Callable[[Response], None] = lambda _: None,
    *,
    exchange: Exchange | None = None,
    is_new: bool = False,
) -> UpstreamConnection:
    """Send a request, or its beginning; the connection is the caller's to release.

    timeouts: for the connection. on_interim: called with each interim response. exchange: whose record gets the address
    that it goes to; None: none does. is_new: use no idle connection.

    Raises what ``Upstream.acquire`` raises, and UpstreamUnreachable when a new connection has ended before anything was
    sent; then nothing was. Cancelling gives everything back.
    """
    while True:
        connection = await upstream.acquire(timeouts, is_new=is_new)
        if exchange is not None:
            exchange.address = connection.owner.which
        try:
            connection.begin(method, on_interim)
            connection.write(message)
            if connection.has_sent:
                return connection
            if not connection.is_reused:
                connection.owner.doubt()
                raise connection.ended_early(None)
        except BaseException:
            upstream.discard(connection)
            raise
        upstream.discard(connection)


async def send_request(
    upstream: Upstream,
    method: str,
    message: bytes,
    timeouts: Timeouts,
    timeout: float,
    on_interim: Callable[[Response], None] = lambda _: None,
    *,
    exchange: Exchange | None = None,
    lost: UpstreamLost | None = None,
) -> tuple[UpstreamConnection, Response]:
    """Send a whole request and wait for the head of its response; then the connection is the caller's to release.

    timeouts: for the connection. timeout: seconds for the response. on_interim: called with each interim one.
    exchange: as for ``start_request``.
    lost: how the request ended that was sent before, on an idle connection; None: it was not sent yet.

    A request that may be repeated goes out again where its connection was an
    idle one, and closed while the request was on its way: once, and on a new
    connection. At each idle one there may be another worker of the upstream, and
    a request that kills them would kill them all. Raises TimeoutError
    when the response takes too long, UpstreamLost when something was sent and no response began, and what
    ``start_request`` raises when nothing was sent. Cancelling closes the connection.
    """
    while True:
        try:
            connection = await start_request(
                upstream, method, message, timeouts, on_interim, exchange=exchange, is_new=lost is not None
            )
        except RETRYABLE:
            if lost is None or method in SAFE:
                raise
            raise lost from None  # it was sent once: it must not be taken for one that was not
        try:
            async with asyncio.timeout(timeout):
                return connection, await connection.head()
        except UpstreamLost as error:
            upstream.discard(connection)
            connection.owner.doubt()
            if not (method in IDEMPOTENT and connection.is_reused):
                raise
            lost = error
        except BaseException:
            upstream.discard(connection)
            raise
