"""Work on an exchange comes to its end: the client has its response, and the record is closed, whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any

from proxy.errors import Outcome, ProxyError
from proxy.exchange.lifecycle import State
from proxy.exchange.record import Exchange
from proxy.gateway.error_response import send_error
from proxy.gateway.recorder import Recorder
from proxy.http1.client_connection import ClientConnection
from proxy.http1.client_stream import ClientStream, SentResponse
from proxy.http1.request_handler import TaskExchange

logger = logging.getLogger("proxy")

Work = Coroutine[Any, Any, SentResponse]
"""The work for one exchange: it writes the response, or raises."""


class Completion:
    """Carries the work of exchanges to its end. recorder: closes their records."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def run(self, client: ClientStream, exchange: Exchange, work: Work) -> SentResponse:
        """Do the work of an exchange in the caller's task.

        It ends when the client has read the response, except for what fits into the write buffer: no other request of
        its connection is served before (issue 9, A3). It is cancelled when the client leaves, which ends the exchange.
        """
        written, is_taken = SentResponse(keep_alive=False), False
        try:
            written = await _answered(client, exchange, work)
            if not (exchange.is_tunnel or exchange.is_handed_off):
                await client.drain()
            is_taken = True
        except (asyncio.CancelledError, ConnectionError) as error:
            if not is_taken:
                self._cut_short(client, exchange)
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            if not exchange.is_tunnel:
                self._recorder.close(exchange)
        return written

    def resume(
        self,
        connection: ClientConnection,
        client: ClientStream,
        exchange: Exchange,
        work: Work,
        abandon: Callable[[], None],
    ) -> None:
        """Do the work of an exchange in a task, which the connection serves from now on.

        abandon: releases what the work would have released; called when its task is cancelled before its first step,
        because then the work never runs.
        """

        def ended(keep_alive: bool) -> None:
            if getcoroutinestate(work) == CORO_CREATED:
                work.close()
                abandon()
                self._cut_short(client, exchange)
                self._recorder.close(exchange)
            connection.exchange_ended(keep_alive)

        run = self.run(client, exchange, work)
        connection.exchange = TaskExchange(run, f"request of {connection.peer.address}", ended)

    def _cut_short(self, client: ClientStream, exchange: Exchange) -> None:
        """Note which side ended an exchange whose response the client does not have, unless it is known."""
        if exchange.outcome in (Outcome.BUG, Outcome.SERVED):
            is_cut = self._recorder.lifecycle.state is State.STOPPED or not client.is_gone
            exchange.outcome = Outcome.STOPPING if is_cut else Outcome.CLIENT_GONE
            if client.was_too_slow:
                exchange.outcome = Outcome.TOO_SLOW
            exchange.status = exchange.status or 499


async def _answered(client: ClientStream, exchange: Exchange, work: Work) -> SentResponse:
    """Do the work of an exchange, and answer what goes wrong with it."""
    try:
        return await work
    except ProxyError as error:
        exchange.outcome, exchange.limit = error.outcome, error.limit
        exchange.detail = error.detail or error.message
        return send_error(client, exchange, error)
    except ConnectionError:
        raise
    except Exception as error:
        logger.exception("a fault of the gateway itself, in exchange %s", exchange.id)
        exchange.detail = repr(error)
        return send_error(client, exchange, ProxyError("The gateway has failed.", advice="Its log says why."))
