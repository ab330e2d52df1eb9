"""Holding a request while its upstream is away, instead of failing it.

What was not sent can wait, whatever its method: an attempt is made, and when
no connection can be had the request waits in its upstream's room, bounded in
number and time, and tries again when it is called up. What was sent and got
no byte of an answer is another matter. GET, HEAD and WebSocket handshakes may
be asked again (RFC 9110, section 9.2.1), so they wait too. Other methods never do
(docs/decisions/005-retry-while-unreachable.md, 010-retry-unsent-requests.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxy.config import Timeouts
from proxy.errors import ConnectTimeout, UpstreamError, UpstreamLost, UpstreamUnreachable
from proxy.http1.methods import IDEMPOTENT, SAFE
from proxy.http1.response_reader import Response
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.upstream import Upstream

REPEATS = 2
"""How often a request goes out again that an upstream took and did not answer a byte to: enough for one that is
killed, and killed again. Without a bound, a request that kills its upstream would kill every worker of it."""

T = TypeVar("T")


async def hold(
    upstream: Upstream, attempt: Callable[[], Awaitable[T]], seconds: float, *, may_repeat: bool = True
) -> T:
    """Make an attempt, and make it again when the upstream is back.

    attempt: sends a request, and returns when its answer begins. It raises
    UpstreamUnreachable and ConnectTimeout when nothing was sent, and
    UpstreamLost when an answer never began; anything else is final.
    seconds: how long the upstream may be away (``timeouts.hold``); 0 does not wait.
    may_repeat: whether the attempt may be made again after UpstreamLost.

    Raises what the attempt raises, UpstreamUnreachable when the upstream does
    not come back in time, UpstreamFull when too many wait already, Stopping.
    Cancelling leaves the waiting room.
    """
    now = asyncio.get_running_loop().time
    lost = 0
    until: float | None = None
    while True:
        try:
            return await attempt()
        except (UpstreamUnreachable, ConnectTimeout) as error:
            failure: UpstreamError = error
            if not seconds:
                raise
        except UpstreamLost as error:
            failure = error
            lost += 1
            if lost > REPEATS or not seconds or not may_repeat:
                raise
        if until is None:  # from the first failure on, not from the request: that may have been answered for minutes
            until = now() + seconds
        try:
            await upstream.returned(until - now())
        except TimeoutError:
            raise UpstreamUnreachable(
                f"{failure.message} It did not come back within {seconds:g} s.",
                advice=failure.advice or upstream.advice("is it running?"),
                detail=f"{failure.message} {upstream.url} did not come back within {seconds:g} s",
                is_transient=failure.is_transient,
            ) from None


async def begin(
    upstream: Upstream,
    method: str,
    message: bytes,
    timeouts: Timeouts,
    on_interim: Callable[[Response], None] = lambda _: None,
    *,
    is_new: bool = False,
) -> UpstreamConnection:
    """Send a request, or its beginning; the connection is the caller's to release.

    timeouts: for the connection. on_interim: called with each interim answer. is_new: use no idle connection.

    Raises what ``Upstream.acquire`` raises, and UpstreamUnreachable when a new connection has ended before anything was
    sent; then nothing was. Cancelling gives everything back.
    """
    while True:
        connection = await upstream.acquire(timeouts, is_new=is_new)
        try:
            connection.begin(method, on_interim)
            connection.write(message)
            if connection.has_sent:
                return connection
            if not connection.is_reused:
                raise connection.ended_early(None)
        except BaseException:
            upstream.discard(connection)
            raise
        upstream.discard(connection)


async def send(
    upstream: Upstream,
    method: str,
    message: bytes,
    timeouts: Timeouts,
    timeout: float,
    on_interim: Callable[[Response], None] = lambda _: None,
    *,
    lost: UpstreamLost | None = None,
) -> tuple[UpstreamConnection, Response]:
    """Send a whole request and wait for the head of its answer; then the connection is the caller's to release.

    timeouts: for the connection. timeout: seconds for the answer. on_interim: called with each interim one.
    lost: how the request ended that was sent before, on an idle connection; None: it was not sent yet.

    A request that may be repeated goes out again where its connection was an
    idle one, and closed while the request was on its way: once, and on a new
    connection. Behind each idle one may be another worker of the upstream, and
    a request that kills them would kill them all. Raises TimeoutError
    when the answer takes too long, UpstreamLost when something was sent and no answer began, and what
    ``begin`` raises when nothing was sent. Cancelling closes the connection.
    """
    while True:
        try:
            connection = await begin(upstream, method, message, timeouts, on_interim, is_new=lost is not None)
        except (UpstreamUnreachable, ConnectTimeout):
            if lost is None or method in SAFE:
                raise
            raise lost from None  # it was sent once: nobody may take it for one that was not
        try:
            async with asyncio.timeout(timeout):
                return connection, await connection.head()
        except UpstreamLost as error:
            upstream.discard(connection)
            if not (method in IDEMPOTENT and connection.is_reused):
                raise
            lost = error
        except BaseException:
            upstream.discard(connection)
            raise
