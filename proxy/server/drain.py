"""The drain: how requests, idle connections and tunnels end, and its progress in the log.

Requests are served to the end. Requests that come on open connections are
served too, with ``Connection: close`` in the response; a 503 would fail what
can be served. Idle connections are closed, but not at once: a FIN that crosses
a POST fails it (nginx's pull request 303), and a connection in use is closed
with its next response. Tunnels get their close frames one after the other,
because clients that are closed together reconnect together.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterator
from typing import Any

from proxy.config import Timeouts
from proxy.errors import Outcome
from proxy.exchange.lifecycle import Lifecycle
from proxy.exchange.record import Exchange
from proxy.gateway.handler import Gateway
from proxy.http1.connection_manager import ConnectionManager
from proxy.websocket.frames import CloseCode

logger = logging.getLogger("proxy")

GRACE = 1.0
"""Seconds without a request after which a connection is closed. Precedent: nginx keepalive_min_timeout 0."""

_PERIOD = 0.25
"""Seconds between two sweeps for such connections."""

_REPORT = 4
"""Sweeps between two lines about the progress."""

_LAST_STEPS = 1.0
"""Seconds for what was cut to end in the log."""


class Drain:
    """Ends the exchanges and connections of a gateway whose listener is closed.

    ``changed`` is to be called when the last exchange, or the last
    connection, has ended.
    """

    def __init__(self, gateway: Gateway, manager: ConnectionManager, lifecycle: Lifecycle[Exchange]) -> None:
        self._gateway = gateway
        self._manager = manager
        self._lifecycle = lifecycle
        self._change = asyncio.Event()
        self._reported = (0, 0, 0)
        self._first = (0, 0, 0)  # at the beginning
        self._deadline: float | None = None  # in seconds of the loop's clock
        self.changed = self._change.set

    async def run(self, timeouts: Timeouts, pending: Coroutine[Any, Any, None]) -> str:
        """Ask all clients to leave, and wait until they have: ``empty``, or until ``timeouts.drain``: ``deadline``.

        pending: ends when the connections that were accepted before the listener closed have their protocol; they have
        the grace for it. Cancelling it asks and waits no more.
        """
        loop = asyncio.get_running_loop()
        window = min(timeouts.drain_window, timeouts.drain / 2)
        self._first, self._deadline = self._counts, loop.time() + timeouts.drain
        self._manager.leave()
        helpers = [
            loop.create_task(pending, name="pending connections"),
            loop.create_task(self._close_tunnels(window), name="closing of the tunnels"),
            loop.create_task(self._sweep(self._deadline), name="progress of the drain"),
        ]
        try:
            async with asyncio.timeout(timeouts.drain):
                await asyncio.wait(helpers[:1], timeout=GRACE)
                while self._lifecycle.in_flight or self._manager.connections:
                    self._change.clear()
                    await self._change.wait()
            return "empty"
        except TimeoutError:
            return "deadline"
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)

    async def cut(self) -> None:
        """End whatever is left, and say what it was."""
        if any(self._counts):
            logger.warning("cutting %s that did not end in time", self._left())
        self._gateway.websockets.abort_tunnels()
        await self._manager.shutdown(0.1)
        try:
            async with asyncio.timeout(_LAST_STEPS):
                while self._lifecycle.in_flight:
                    self._change.clear()
                    await self._change.wait()
        except TimeoutError:
            logger.error("%s did not end even when cut", self._left())

    def progress(self) -> dict[str, float] | None:
        """Return what is left, for the status; None before the drain has begun.

        ``tunnels``, ``requests``: still open, and ``of_tunnels``, ``of_requests`` at the beginning. ``answers``: on the
        way to slow clients. ``seconds``: to the deadline.
        """
        if self._deadline is None:
            return None
        tunnels, requests, answers = self._counts
        of_tunnels, of_requests, _ = map(max, self._first, self._counts)  # requests still come on open connections
        left = max(0.0, self._deadline - asyncio.get_running_loop().time())
        return {
            "tunnels": tunnels,
            "of_tunnels": of_tunnels,
            "requests": requests,
            "of_requests": of_requests,
            "answers": answers,
            "seconds": round(left, 1),
        }

    # -- inside

    async def _close_tunnels(self, window: float) -> None:
        """Begin to close each tunnel at its moment: one sleeper for all of them."""
        loop = asyncio.get_running_loop()
        began, tunnels = loop.time(), self._gateway.websockets.tunnels
        for moment, tunnel in zip(moments(len(tunnels), window), tunnels, strict=True):
            await asyncio.sleep(began + moment - loop.time())
            tunnel.start_closing(CloseCode.SERVICE_RESTART, Outcome.DRAINED)

    async def _sweep(self, deadline: float) -> None:
        """Close connections that are idle, and log the progress."""
        loop = asyncio.get_running_loop()
        began, sweeps = loop.time(), 0
        while True:
            now = loop.time()
            if now - began >= GRACE:
                await self._manager.close_idle(now - GRACE)
            if sweeps % _REPORT == 0:
                self._report(deadline - now)
            sweeps += 1
            await asyncio.sleep(_PERIOD)

    def _report(self, left: float) -> None:
        if self._counts != self._reported:
            self._reported = self._counts
            logger.info("draining: %s left, %.0f s to the deadline", self._left(), left)

    @property
    def _counts(self) -> tuple[int, int, int]:
        tunnels = len(self._gateway.websockets.tunnels)
        return tunnels, len(self._lifecycle.in_flight) - tunnels, self._manager.flushing

    def _left(self) -> str:
        tunnels, requests, answers = self._counts
        slow = f", {_count(answers, 'answer')} on the way to slow clients" if answers else ""
        return f"{_count(tunnels, 'tunnel')} and {_count(requests, 'request')}{slow}"


def moments(count: int, window: float) -> Iterator[float]:
    """Yield ``count`` moments in ascending order, evenly over ``window`` seconds, each somewhere in its own share."""
    for number in range(count):
        yield window * (number + random.random()) / count


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
