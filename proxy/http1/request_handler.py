"""The interfaces between a client's connection, the gateway, and the exchange that is being served.

The gateway implements ``RequestHandler``; ``http1`` knows nothing else of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from proxy.net.client_limits import Lease

if TYPE_CHECKING:
    from proxy.http1.client_connection import ClientConnection
    from proxy.http1.client_stream import ClientStream, SentResponse
    from proxy.http1.headers import Head


logger = logging.getLogger("proxy")


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


class TaskExchange:
    """An ``ActiveExchange`` in a task of its own: its request has come whole.

    work: what the task does. name: of the task. ended: called at its end, with whether another request may follow.
    """

    __slots__ = ("_ended", "_task")

    def __init__(self, work: Coroutine[Any, Any, SentResponse], name: str, ended: Callable[[bool], None]) -> None:
        self._ended = ended
        self._task = asyncio.get_running_loop().create_task(work, name=name)
        self._task.add_done_callback(self._done)

    def client_left(self) -> None:
        """Cancel the task."""
        self._task.cancel()

    cut = client_left

    def client_is_slow(self, is_slow: bool) -> None:
        """Do nothing: the task waits itself."""

    def _done(self, task: asyncio.Task[SentResponse]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ConnectionError):
            logger.error("a fault of the gateway itself", exc_info=error)
        self._ended(not task.cancelled() and error is None and task.result().keep_alive)


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
