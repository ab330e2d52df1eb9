"""Holding a request while its upstream is away, instead of failing it (design D6).

For GET, HEAD and WebSocket handshakes: what they ask for may be asked again
(RFC 9110, section 9.2.1). An attempt is made; when it fails in a way that
passes, the request waits in its upstream's room, bounded in number and time, and tries again
when it is called up. Nothing of an answer has reached the client by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxy.connection import Answer, Connection
from proxy.errors import ConnectTimeout, UpstreamError, UpstreamLost, UpstreamUnreachable
from proxy.upstream import Upstream

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
"""RFC 9110, section 9.2.2: these may be sent again when nobody can tell whether they arrived."""

HELD = frozenset(("GET", "HEAD"))
"""These wait for an upstream that is away. Not PUT and DELETE: sent twice they do no harm, but sent half a minute late
they may undo what the user has done since."""

REPEATS = 2
"""How often a request goes out again that an upstream took and did not answer a byte to: enough for one that is
killed, and killed again. Without a bound, a request that kills its upstream would kill every worker of it."""

T = TypeVar("T")


async def hold(upstream: Upstream, attempt: Callable[[], Awaitable[T]]) -> T:
    """Make an attempt, and make it again when the upstream is back.

    attempt: sends a request, and returns when its answer begins. It raises
    UpstreamUnreachable and ConnectTimeout when nothing was sent, and
    UpstreamLost when an answer never began; anything else is final.

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
            if not upstream.hold_seconds:
                raise
        except UpstreamLost as error:
            failure = error
            lost += 1
            if lost > REPEATS or not upstream.hold_seconds:
                raise
        if until is None:  # from the first failure on, not from the request: that may have been answered for minutes
            until = now() + upstream.hold_seconds
        try:
            await upstream.returned(until - now())
        except TimeoutError:
            raise UpstreamUnreachable(
                f"{failure.message} It did not come back within {upstream.hold_seconds:g} s.",
                advice=failure.advice or upstream.advice("is it running?"),
                detail=f"{failure.message} {upstream.url} did not come back within {upstream.hold_seconds:g} s",
                passes=failure.passes,
            ) from None


async def send(
    upstream: Upstream,
    method: str,
    message: bytes,
    patience: float,
    on_interim: Callable[[Answer], None] = lambda _: None,
) -> tuple[Connection, Answer]:
    """Send a whole request and wait for the head of its answer; then the connection is the caller's to release.

    patience: seconds for the answer. on_interim: called with each interim one.

    A request that may be repeated goes out again where its connection was an
    idle one, and closed while the request was on its way. Raises TimeoutError
    when the answer takes too long, and what ``Upstream.acquire`` raises.
    Cancelling closes the connection.
    """
    while True:
        connection = await upstream.acquire()
        try:
            connection.begin(method, on_interim)
            connection.write(message)
            async with asyncio.timeout(patience):
                return connection, await connection.head()
        except UpstreamLost:
            upstream.discard(connection)
            if not (method in IDEMPOTENT and connection.is_reused):
                raise
        except BaseException:
            upstream.discard(connection)
            raise
