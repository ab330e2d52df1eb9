"""One exchange as the gateway sees it: the request of a client, its body, and raw bytes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from proxy.http1.client_socket import Pause
from proxy.http1.headers import Head, tokens
from proxy.net.client_limits import Slot

if TYPE_CHECKING:
    from proxy.http1.client_connection import ClientConnection

_LONGEST_CONNECTION = 4096
"""Bytes of Connection fields that are read; a longer list is refused by the routing, or ends its connection."""


class SentResponse(NamedTuple):
    """What is left to say when the response to a request has been sent.

    keep_alive: whether another request may come on this connection.
    """

    keep_alive: bool


class RequestBody:
    """The body of a request, decoded from its transfer coding and from nothing else; here one that came with its head.

    data: all of it; may be empty.

    ``size``: bytes of it that have come. ``capacity``: bytes of a body that come before any of it is read.
    """

    __slots__ = ("_left", "capacity", "size")

    def __init__(self, data: bytes = b"") -> None:
        self._left = data
        self.size = self.capacity = len(data)

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return True

    def read_nowait(self) -> bytes:
        """Return what has come and was not read yet."""
        left, self._left = self._left, b""
        return left

    async def read(self) -> bytes:
        """Wait for the next bytes; nothing at the end. Raises ProtocolError when the framing is broken."""
        return self.read_nowait()

    async def wait_whole(self) -> None:
        """Wait until all of it has come, or until it is known that it never will."""


class ClientStream:
    """The client's side of one exchange.

    wants_keep_alive: whether the client's version and Connection field allow another request.
    has_written: whether a part of the final response is with the client.
    """

    __slots__ = ("_connection", "began", "body", "has_written", "head", "peer")

    def __init__(
        self, connection: ClientConnection, head: Head, body: RequestBody, *, began: float, has_written: bool = False
    ) -> None:
        self._connection = connection
        self.peer = connection.peer
        self.head = head
        self.body = body
        self.began = began
        """When the first byte of the request was read; monotonic seconds."""
        self.has_written = has_written

    @property
    def wants_keep_alive(self) -> bool:
        """Whether another request may come on this connection: the client would, and the gateway does not stop."""
        return not self._connection.manager.is_leaving and _wants_keep_alive(self.head)

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed, or about to be."""
        return self._connection.socket.is_gone

    @property
    def has_tls(self) -> bool:
        """Whether TLS ends in this process."""
        return self._connection.socket.has_tls

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait to be sent, of this answer or of the one before."""
        return self._connection.socket.is_flushing

    @property
    def was_too_slow(self) -> bool:
        """Whether it was cut because it took nothing for too long."""
        return self._connection.socket.was_too_slow

    def write(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionResetError when the client has left."""
        if self.is_gone:
            raise ConnectionResetError("the client has left")
        self.has_written = True
        self._connection.socket.write(data)

    def write_interim(self, data: bytes) -> None:
        """Send an interim response: the final one can still be anything."""
        if not self.is_gone and not self.has_written:
            self._connection.socket.write(data)

    @property
    def is_slow(self) -> bool:
        """Whether more waits for the client than may."""
        return self._connection.socket.is_slow

    async def drain(self) -> None:
        """Wait until the client takes more bytes. Raises ConnectionResetError when it leaves instead."""
        if self._connection.socket.is_slow:
            await self._connection.socket.drain()

    def cut(self, *, reset: bool) -> None:
        """Close the connection so that the client cannot take what it has for the whole.

        reset: with a TCP reset, for a response whose end is the connection's.
        """
        if reset:
            self._connection.socket.reset()
        else:
            self._connection.socket.close()

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Take the socket for good: its transport, paused, and the bytes that were read after the head.

        The connection still counts as one of the client's until ``take_slot`` has taken that as well.
        Raises ConnectionResetError when the client has left.
        """
        return self._connection.detach()

    def watch_tls(self, transport: asyncio.Transport, received: Callable[[], int], cut: Callable[[], None]) -> None:
        """Go on with the check for floods of empty TLS records on a connection that was detached, if it has TLS.

        received: returns the bytes that have come from it since. cut: ends it.
        """
        if transport.get_extra_info("sslcontext") is not None:
            before = self._connection.received
            self._connection.manager.tls_floods.add(transport, lambda: before + received(), cut)

    def take_slot(self) -> Slot | None:
        """Take what the connection counts as, to release it later than the connection; None: it is not counted."""
        slot, self._connection.slot = self._connection.slot, None
        return slot

    def lend_socket(self) -> tuple[int, bytes]:
        """Stop reading, to offer the socket to another process: its descriptor, and what was read after the head.

        ``resume`` or ``abandon`` follows. What the client sends meanwhile stays in the kernel.
        Raises ConnectionResetError when the client has left.
        """
        return self._connection.socket.lend()

    def resume(self) -> None:
        """Read on after ``lend_socket``: the socket was not taken."""
        self._connection.socket.resume(Pause.LENT)

    def abandon(self) -> None:
        """Close this process's copy of the descriptor and nothing else: no FIN is sent where another has the socket."""
        try:
            transport, _ = self._connection.detach()
        except ConnectionResetError:
            return
        transport.set_protocol(asyncio.Protocol())
        transport.abort()


def _wants_keep_alive(head: Head) -> bool:
    """Ask Connection alone (RFC 9112, section 9.3), and not Proxy-Connection."""
    values = head.all(b"connection")
    if not values:
        return head.version >= (1, 1)
    if sum(map(len, values)) > _LONGEST_CONNECTION:
        return False
    options = tokens(values)
    return b"close" not in options and (head.version >= (1, 1) or b"keep-alive" in options)
