"""aiohttp's low-level server, for requests whose body is still arriving.

aiohttp parses the framing of the body, keeps it in its stream reader, makes
the client wait when that is full, and cancels the handler when the client
leaves. It never sees the client's socket or head: its protocol stands on a
transport that a connection lends it, and gets a head of ours that says how
the body is framed. It writes nothing; answers are the gateway's own bytes.

Only aiohttp's documented interface is used: ``web.Server``,
``BaseRequest.content`` and ``.transport``, a ``StreamResponse`` of our own,
and asyncio's own interface between a protocol and its transport.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter

from proxy.http1.chunked import ProtocolError, chunk
from proxy.http1.client_socket import Pause
from proxy.http1.client_stream import ClientStream, RequestBody, SentResponse
from proxy.http1.headers import Head

if TYPE_CHECKING:
    from proxy.http1.client_connection import ClientConnection

logger = logging.getLogger("proxy")

_HEAD = b"POST / HTTP/1.1\r\nHost: -\r\n"
"""What aiohttp's parser gets of every head, with the framing of the body after it. It knows a list of methods, refuses
white space that is allowed, and stops at an Upgrade that is only an offer
(docs/decisions/006-strict-request-reader.md)."""

_NEVER = 1e6
"""Seconds: a protocol of aiohttp serves one request here, so it is never idle."""


class _NothingToSend(web.StreamResponse):
    """What a handler returns to aiohttp: the response is with the client already."""

    @property
    def keep_alive(self) -> bool | None:
        """Let aiohttp close the lent transport: the next request has another one."""
        return False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


class StreamedBody(RequestBody):
    """A body that is still arriving, in aiohttp's stream reader."""

    __slots__ = ("_content", "_error")

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._content: StreamReader
        self._error: ProtocolError | None = None
        self.capacity = capacity

    def begin(self, content: StreamReader) -> None:
        """Read from a stream of aiohttp."""
        self._content = content

    def fail(self, error: ProtocolError) -> None:
        """Let the next read raise."""
        self._error = error

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return self._content.is_eof() and self._error is None

    def read_nowait(self) -> bytes:
        """Return what has come and was not read yet."""
        return self._content.read_nowait()

    async def read(self) -> bytes:
        """Wait for the next bytes; nothing at the end. Raises ProtocolError when the framing is broken."""
        piece = b"" if self._error else await self._content.readany()
        if self._error is not None:
            raise self._error
        return piece

    async def wait_whole(self) -> None:
        """Wait until all of it has come, or until it is known that it never will."""
        await self._content.wait_eof()


class StreamedExchange(asyncio.Transport):
    """An exchange that aiohttp serves, and the transport on which its protocol stands.

    began: when the first byte of the request was read; monotonic seconds. length: of the body, in bytes; None: it is
    chunked.
    """

    def __init__(self, connection: ClientConnection, head: Head, began: float, length: int | None) -> None:
        super().__init__()
        self._connection = connection
        # What aiohttp takes, by the settings in force: the connection may have begun with others.
        self._body = StreamedBody(2 * connection.manager.settings.buffer)
        self._stream = ClientStream(connection, head, self._body, began=began)
        self._is_chunked = length is None
        self._is_closing = self._has_begun = False
        self._protocol = connection.manager.streaming()
        self._protocol.connection_made(self)
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        self._protocol.data_received(_HEAD + framing + b"\r\n\r\n")

    # -- what the connection calls

    def body_received(self, data: bytes, is_last: bool) -> None:
        """Pass on bytes of the body. is_last: there are no more after them."""
        self._body.size += len(data)
        if self._is_chunked:
            data = chunk(data, is_last=is_last)
        if data and not self._is_closing:
            self._protocol.data_received(data)

    def body_broken(self, error: ProtocolError) -> None:
        """Let reading the body raise an error; a handler that waits for more of it is woken."""
        self._body.fail(error)
        self.body_received(b"", is_last=True)

    def client_left(self) -> None:
        """Cancel the handler."""
        self._end(ConnectionResetError("the client has left"))

    def cut(self) -> None:
        """Cancel the handler."""
        self._end(None)

    def client_is_slow(self, is_slow: bool) -> None:
        """Do nothing: the handler waits itself."""

    # -- what aiohttp's server calls

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve the request."""
        self._has_begun = True
        sent = SentResponse(keep_alive=False)
        try:
            self._body.begin(request.content)
            sent = await self._connection.manager.handler.handle(self._stream)
        except ConnectionError:
            pass
        except Exception:
            logger.exception("a fault of the gateway itself")
        finally:
            self._connection.exchange_ended(sent.keep_alive)
        return _NothingToSend()

    # -- asyncio's interface of a transport, for aiohttp's protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the client's own transport; not its socket, which is not aiohttp's to set up."""
        transport = self._connection.socket.transport
        return default if transport is None or name == "socket" else transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        return self._is_closing

    def close(self) -> None:
        """End for aiohttp. The client's connection goes on, or ends, as the exchange has."""
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)
            if not self._has_begun:
                self._connection.exchange_ended(keep_alive=False)

    abort = close

    def pause_reading(self) -> None:
        """Pause the client: its body arrives faster than it is read."""
        self._connection.socket.pause(Pause.BODY)

    def resume_reading(self) -> None:
        """Take more of the body."""
        self._connection.socket.resume(Pause.BODY)

    def write(self, data: Any) -> None:
        """Refuse: answers are the gateway's own bytes."""
        raise RuntimeError("aiohttp writes nothing here")

    # -- inside

    def _end(self, error: ConnectionError | None) -> None:
        has_closed, self._is_closing = self._is_closing, True
        if has_closed:
            return
        self._protocol.connection_lost(error)
        if not self._has_begun:  # its task is cancelled before its first step
            self._connection.exchange_ended(keep_alive=False)


def make_server(read_buffer: int) -> web.Server:
    """Return a factory of aiohttp's protocols.

    read_buffer: bytes of a body; about twice as many are held before the client is made to wait.
    """
    return web.Server(
        _serve,
        handler_cancellation=True,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=_NEVER,
        lingering_time=0,  # the connection discards what is left of a body
        tcp_keepalive=False,
        read_bufsize=read_buffer,
    )


async def _serve(request: web.BaseRequest) -> web.StreamResponse:
    return await cast(StreamedExchange, request.transport).serve(request)
