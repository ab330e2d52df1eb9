"""The body of a request: sent with the head if it has arrived already, piece by piece if not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from proxy.errors import BodyStalled, ClientError, UpstreamTimeout
from proxy.exchange.record import Exchange
from proxy.http1.chunked import LAST_CHUNK, ProtocolError, chunk
from proxy.http1.client_stream import ClientStream
from proxy.http1.headers import response_head, tokens
from proxy.http1.response_reader import Response
from proxy.upstream.connection import UpstreamConnection
from ws_service.net.unacknowledged import MIN_RATE

_SHORT_WAIT = 0.25
"""Seconds to wait for a small body, as a callback has; browsers send it in its own segments after the head. A body that
has not arrived by then is an upload, and counts as one. A response before the body's end is read no later than that."""

_CONTINUE_TIMEOUT = 1.0
"""Seconds to wait for an upstream's 100 before the gateway sends one itself. curl waits as long for the gateway's."""


class OutgoingBody:
    """The body of one request.

    max_size: bytes; None: any number.

    ``is_whole``: all of it has arrived, so it is sent with the head. ``is_sent``: all of it is sent to the upstream.
    ``field``: the field that frames it; empty: a Content-Length travels as the client wrote it.
    """

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

    async def wait_briefly(self) -> None:
        """Wait for a small body whose length is known, so that it need not count as an upload."""
        body, length = self._client.body, self._client.head.get(b"content-length") or b""
        # More than the capacity would not come before it is read.
        if self.is_whole or self._may_continue is not None or not length.isdigit() or int(length) > body.capacity:
            return
        # A broken body is an error when it is read.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHORT_WAIT):
                await body.wait_whole()
        self.is_whole = self.is_sent = body.is_whole

    def read_whole(self) -> bytes:
        """Return the body, framed, if the whole of it has come; nothing otherwise."""
        if not self.is_whole or not self._client.head.has_body:
            return b""
        data = self._client.body.read_nowait()
        self._exchange.received = len(data)
        return chunk(data, is_last=True) if self._chunked else data

    def on_interim(self, response: Response) -> None:
        """Pass an interim response on (RFC 9110, section 15.2); a 100 only to a client that waits for one."""
        if response.status == 100:
            self._continue(response)
        elif self._client.head.version >= (1, 1):
            self._client.write_interim(response_head(response.status, response.reason, response.headers))

    def start(self, connection: UpstreamConnection, timeout: float, on_sent: Callable[[], None]) -> asyncio.Task[None]:
        """Start to send it piece by piece; the caller cancels and awaits.

        timeout: seconds between two pieces, from the client and to the upstream. on_sent: called when all of it is sent
        to the upstream. An error is raised to the reader of the response.
        """

        async def run() -> None:
            try:
                await self._send(connection, timeout)
                self.is_sent = True
                on_sent()
            except Exception as error:
                connection.fail(error)
            except asyncio.CancelledError:
                connection.fail(ConnectionAbortedError("the request's body is sent no further"))
                raise

        return asyncio.get_running_loop().create_task(run(), name=f"request body of {self._exchange.id}")

    async def _send(self, connection: UpstreamConnection, timeout: float) -> None:
        if self._may_continue is not None and self._client.body.size == 0:
            try:
                async with asyncio.timeout(_CONTINUE_TIMEOUT):
                    await self._may_continue.wait()
            except TimeoutError:
                self._continue(None)
        while piece := await self._read(timeout):
            self._exchange.received += len(piece)
            if self._max_size is not None and self._exchange.received > self._max_size:
                raise _too_large(self._max_size)
            connection.write(chunk(piece) if self._chunked else piece)
            try:
                async with asyncio.timeout(timeout):
                    await connection.drain()
            except TimeoutError:
                raise UpstreamTimeout(f"The upstream took nothing of the body for {timeout:g} s.") from None
        if self._chunked:
            connection.write(LAST_CHUNK)

    async def _read(self, timeout: float) -> bytes:
        """Wait for the next piece; nothing at the end. The client has the timeout, and a least rate over all of it."""
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

    def _continue(self, response: Response | None) -> None:
        """Tell the client to send the body. response: the upstream's 100; None: the gateway's own."""
        if self._may_continue is None or self._may_continue.is_set():
            return
        self._may_continue.set()
        headers = response.headers if response else ()
        self._client.write_interim(response_head(100, response.reason if response else b"Continue", headers))


def check_size(client: ClientStream, max_body: int | None) -> None:
    """Refuse a body that is known to be too large, before anything else is done.

    max_body: bytes; None: any number. Raises ClientError.
    """
    if max_body is None or not client.head.has_body:
        return
    # Not bytes that are no digits: the routing refuses them, and says why.
    length = client.head.get(b"content-length") or b""
    if client.body.size > max_body or (length.isdigit() and int(length) > max_body):
        raise _too_large(max_body)


def _too_large(max_body: int) -> ClientError:
    return ClientError(
        f"The request's body is larger than {max_body} bytes.",
        advice="For the operator: gateway.limits.body in the configuration is the limit.",
        status=413,
        limit="body",
    )
