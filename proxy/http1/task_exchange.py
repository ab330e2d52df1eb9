"""An exchange that a task serves: its request has come whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from proxy.http1.client_stream import SentResponse

if TYPE_CHECKING:
    from proxy.http1.client_connection import ClientConnection

logger = logging.getLogger("proxy")


class TaskExchange:
    """An ``ActiveExchange`` in a task of its own.

    work: what the task does. on_end: called at its end, before the connection is told.
    """

    __slots__ = ("_connection", "_on_end", "_task")

    def __init__(
        self,
        connection: ClientConnection,
        work: Coroutine[Any, Any, SentResponse],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._on_end = on_end
        self._task = connection.manager.loop.create_task(work, name=f"request of {connection.peer.address}")
        self._task.add_done_callback(self._ended)

    def client_left(self) -> None:
        """Cancel the task."""
        self._task.cancel()

    def cut(self) -> None:
        """Cancel the task."""
        self._task.cancel()

    def client_is_slow(self, is_slow: bool) -> None:
        """Do nothing: the task waits itself."""

    def _ended(self, task: asyncio.Task[SentResponse]) -> None:
        keep_alive = False
        if not task.cancelled():
            error = task.exception()
            if error is None:
                keep_alive = task.result().keep_alive
            elif not isinstance(error, ConnectionError):
                logger.error("a fault of the gateway itself", exc_info=error)
        self._on_end()
        self._connection.exchange_ended(keep_alive)
