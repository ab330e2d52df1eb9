"""Event streams: ``GET …/connection/uni_sse``, for EventSource, curl and components that know no protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from ws_service.hub.codes import SHUTDOWN
from ws_service.hub.event_stream import FIELDS, EventStream, Refusal, retry_line
from ws_service.hub.handshake import ConnectionHub, Handshake, Receiver
from ws_service.hub.stream_query import BadQuery, Wanted, read_query
from ws_service.net.client_key import client_key
from ws_service.net.json_response import answer_error
from ws_service.websocket.listener import ABORT

PER_CLIENT = 256
"""Streams of one client (an IPv4 address, an IPv6 /64) at a time; 429 above it. A browser has 6 of a site over
HTTP/1.1. Danger: many users can have one address."""


class EventStreams:
    """An ASGI app for the paths of event streams."""

    def __init__(self, hub: ConnectionHub) -> None:
        self._hub = hub
        self._open: set[EventStream] = set()
        self._of_client: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def stop(self) -> None:
        """End all streams; their clients come back."""
        for stream in list(self._open):
            stream.close(SHUTDOWN.code, SHUTDOWN.reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            await answer_error(send, 405, "An event stream is got with GET.", (b"allow", b"GET, HEAD"))
            return
        handshake = _handshake(scope)
        try:
            wanted = self._read(handshake)
        except BadQuery as error:
            await answer_error(send, 400, f"{error}.")
            return
        if method == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": FIELDS})
            await send({"type": "http.response.body"})
        elif self._hub.is_closing:
            await _come_back(send, "the service stops")
        else:
            await self._count(wanted, handshake, scope, receive, send)

    def _read(self, handshake: Handshake) -> Wanted:
        wanted = read_query(handshake.query, handshake.field("last-event-id"))
        most = self._hub.limits.subscriptions
        if len(wanted.topics) > most:
            raise BadQuery(f"a stream has at most {most} topics")
        return wanted

    async def _count(self, wanted: Wanted, handshake: Handshake, scope: Scope, receive: Receive, send: Send) -> None:
        key = client_key(handshake.address)
        if self._of_client[key] >= PER_CLIENT:
            await answer_error(send, 429, f"A client has at most {PER_CLIENT} event streams.", (b"retry-after", b"10"))
            return
        stream = EventStream(wanted, self._hub.limits.queue, self._hub.counts, scope.get("extensions", {}).get(ABORT))
        self._of_client[key] += 1
        self._open.add(stream)
        try:
            refusal = await stream.run(_connecting(self._hub, handshake), receive, send)
        finally:
            self._open.discard(stream)
            self._of_client[key] -= 1
            if not self._of_client[key]:
                del self._of_client[key]
        if refusal is not None:
            await _answer(send, refusal)


def _connecting(hub: ConnectionHub, handshake: Handshake) -> Callable[[EventStream], Receiver]:
    return lambda stream: hub.connect(stream, handshake, answers_pings=False)


def _handshake(scope: Scope) -> Handshake:
    client = scope.get("client")
    address = client[0] if client and client[0] else "unix"
    query = scope.get("query_string", b"").decode("latin-1")
    return Handshake(address, scope["path"], query, tuple(map(tuple, scope["headers"])))


async def _answer(send: Send, refusal: Refusal) -> None:
    if refusal.status is None:
        await _come_back(send, refusal.message)
    else:
        await answer_error(send, refusal.status, f"{refusal.message}.")


async def _come_back(send: Send, why: str) -> None:
    """Answer with a stream that ends at once: after any other status than 200 an EventSource gives up for good."""
    await send({"type": "http.response.start", "status": 200, "headers": FIELDS})
    await send({"type": "http.response.body", "body": retry_line() + f": {why}; come back\n\n".encode()})
