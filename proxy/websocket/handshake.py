"""Opening a tunnel: the handshake goes to the upstream as it came, and its response is checked before it is relayed.

Only after the upstream's 101 does the client get one (docs/decisions/012-verbatim-handshake.md). Whatever else the
upstream answers is an ordinary response.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib

from proxy.config import Timeouts
from proxy.errors import UpstreamError, UpstreamLost, UpstreamTimeout
from proxy.http1.headers import Fields, Head, request_head, tokens
from proxy.http1.response_reader import Response
from proxy.upstream.address import Address
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.upstream import Upstream

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def forward_handshake(
    head: Head, target: str, key: bytes, added: Fields, upstream: Upstream, timeouts: Timeouts, address: Address
) -> tuple[UpstreamConnection, Response]:
    """Pass a WebSocket handshake on and return the upstream's response.

    key: the client's Sec-WebSocket-Key. timeouts: of them ``handshake`` for the response, and those for a connection.
    address: where it is to go; to another one where that takes no connection.

    Returns the connection too: to detach after a valid 101, to read the
    refusal's body from otherwise, and in both cases to release. Raises
    UpstreamError when there is no response, or a 101 that does not fit the
    request. Cancelling it closes the connection.
    """
    connection = await upstream.acquire(timeouts, is_new=True, preferred=address)
    try:
        connection.begin("GET", may_switch=True)
        connection.write(request_head(head, target, added, upgrade=True))
        async with asyncio.timeout(timeouts.handshake):
            response = await connection.head()
        if response.status == 101 and (wrong := _what_is_wrong(response, key)):
            raise UpstreamError(f"The upstream {upstream.name} accepted the handshake wrongly: {wrong}.")
    except TimeoutError:
        upstream.discard(connection)
        raise UpstreamTimeout(
            f"The upstream {upstream.name} did not answer the WebSocket handshake within {timeouts.handshake:g} s.",
            advice="For the operator: gateway.timeouts.handshake in the configuration is the limit.",
        ) from None
    except BaseException as error:
        upstream.discard(connection)
        if isinstance(error, UpstreamLost):
            connection.owner.doubt()
        raise
    return connection, response


def accept_for(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that answers a key (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _what_is_wrong(response: Response, key: bytes) -> str:
    """Check a 101 as a client must (RFC 6455, section 4.1); return what is wrong with it, or nothing."""
    if tokens(response.all(b"upgrade")) != [b"websocket"]:
        return "Upgrade is not websocket"
    if b"upgrade" not in tokens(response.all(b"connection")):
        return "Connection is not Upgrade"
    if response.all(b"sec-websocket-accept") != [accept_for(key)]:
        return "Sec-WebSocket-Accept does not answer the key"
    return ""
