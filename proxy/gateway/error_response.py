"""An error becomes a response: the only place where the gateway itself answers a request."""

from __future__ import annotations

import time

from proxy.errors import ClientError, ProxyError, Stopping
from proxy.exchange.record import Exchange
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.error_pages import error_message

_RELOAD_HASH = "/_reload-hash"
"""What a page of Dash in debug mode polls. Any response of ours would count as the state of its code, and the next good
one would make the page reload, and the user's input would be lost. A connection that ends is ignored, and that is also
what the page would see without a gateway (dash-renderer, Reloader.react.js)."""


def send_error(client: ClientStream, exchange: Exchange, error: ProxyError) -> SentResponse:
    """Send the response to an error; cut the connection if part of another one is with the client already."""
    is_poll = error.status >= 500 and exchange.target.partition("?")[0].endswith(_RELOAD_HASH)
    if client.has_written or client.is_gone or is_poll:
        exchange.status = exchange.status or (444 if is_poll else 499)
        client.cut(reset=False)
        return SentResponse(keep_alive=False)
    keep_alive = not isinstance(error, ClientError | Stopping) and client.wants_keep_alive and client.body.is_whole
    message, exchange.sent = error_message(error, client.head, exchange.upstream, keep_alive=keep_alive)
    exchange.status, exchange.responded = error.status, time.monotonic()
    client.write(message)
    return SentResponse(keep_alive)
