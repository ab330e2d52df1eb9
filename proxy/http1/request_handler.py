"""The interfaces between a client's connection, the gateway, and the exchange that is being served.

The gateway implements ``RequestHandler``; ``http1`` knows nothing else of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from proxy.net.client_limits import Lease

if TYPE_CHECKING:
    from proxy.http1.client_connection import ClientConnection
    from proxy.http1.client_stream import ClientStream, SentResponse
    from proxy.http1.headers import Head


class ActiveExchange(Protocol):
    """The exchange that a connection serves; a connection serves one at a time.

    At its end it calls ``exchange_ended`` on the connection, also after ``client_left`` and ``cut``, at once or later.
    """

    def client_left(self) -> None:
        """The client's connection has ended."""

    def cut(self) -> None:
        """End at once: the gateway stops, and the timeout of its drain has passed."""

    def client_is_slow(self, is_slow: bool) -> None:
        """The client reads too slowly, or has caught up."""


class RequestHandler(Protocol):
    """Serves requests, for all connections of clients: the gateway.

    For each request a connection calls ``offer_simple``, if it is simple and
    whole, and ``handle``, if it is not or was declined. For bytes that are no
    request it calls ``refuse``, and serves nothing more.
    """

    def offer_simple(self, connection: ClientConnection, head: Head, body: bytes) -> ActiveExchange | None:
        """Serve a simple request that has come whole without a task, or return None to decline it."""

    async def handle(self, stream: ClientStream) -> SentResponse:
        """Serve one request. Cancelled when the client leaves, and when the gateway has stopped waiting for it.

        Returns when the client has read the response, except for what fits into the write buffer; raises nothing but
        CancelledError.
        """

    def refuse(self, stream: ClientStream, status: int, message: str) -> None:
        """Write the response to a request that cannot be read, or is too large or too slow. The connection is closed
        then.

        message: one sentence. It reaches the client if it is about a limit, and the log if not.
        """

    def lease_buffer(self, address: str, size: int) -> Lease | None:
        """Count bytes that wait on a connection of a client; None when the client has too many: then it is to be cut.

        address: the client's. size: bytes.
        """
