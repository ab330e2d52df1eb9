"""When an upstream is probed, and how: at intervals, and more often while requests wait for it.

One task does all the probing, so however many requests wait, one connection at a time is tried.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from math import inf

from proxy.errors import UpstreamError, UpstreamLost
from proxy.upstream.dialer import Dialer, DialError

logger = logging.getLogger("proxy")

SHORTEST = 0.05
"""Seconds between two probes of an upstream that requests wait for, at first."""

LEFT_OUT = 1.0
"""Seconds at most between two probes of one that is left out, whatever the interval: it could do its part again."""

LONGEST = 0.25
"""And later: what the first request waits, at most, after the upstream's return. Precedent: Caddy's lb_try_interval
250ms."""


class HealthCheck:
    """Checks one address of an upstream, in a task of its own.

    name: for the task. check: checks once; what it raises is logged, and the next one comes all the same.
    is_awaited: whether requests wait for what it finds. interval: as for ``reconfigure``. is_left_out: whether it is
    unreachable, and others are used.
    """

    def __init__(
        self,
        name: str,
        check: Callable[[], Awaitable[None]],
        is_awaited: Callable[[], bool],
        interval: float,
        is_left_out: Callable[[], bool] = lambda: False,
    ) -> None:
        self._name = name
        self._check = check
        self._is_awaited = is_awaited
        self._is_left_out = is_left_out
        self._interval = interval
        self._pause_seconds = SHORTEST
        self._checked = -inf
        self._requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def reconfigure(self, interval: float) -> None:
        """Change how often it checks from here on, counted from the last check.

        interval: seconds between two checks that nothing waits for. 0: there are none.
        """
        self._interval = interval
        self._requested.set()

    def start(self) -> None:
        """Check now, and go on checking; with an interval of 0 only on request."""
        name = f"health check of the upstream {self._name}"
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def request(self) -> None:
        """Check soon if anything waits for it, unless it is stopped. The caller must be waiting before the loop goes
        on."""
        if self._is_stopped:
            return
        if self._task is None or self._task.done():
            self.start()
        self._requested.set()

    def stop(self) -> None:
        """Check no more."""
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()

    async def stopped(self) -> None:
        """Wait until its task has ended, after ``stop``."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def has_ended(self) -> bool:
        """Whether its task has ended, or has not begun."""
        return self._task is None or self._task.done()

    @property
    def has_just_checked(self) -> bool:
        """Whether the last check is so young that another one would find the same."""
        return asyncio.get_running_loop().time() - self._checked < SHORTEST

    async def _run(self) -> None:
        while True:
            await self._pause()
            try:
                await self._check()
            except Exception:  # without checks, what waits for one would wait for ever
                logger.exception("a fault of the gateway itself, in the health check of the upstream %s", self._name)
            self._checked = asyncio.get_running_loop().time()

    async def _pause(self) -> None:
        now = asyncio.get_running_loop().time
        while not self._is_awaited():
            self._pause_seconds = SHORTEST
            self._requested.clear()
            interval = min(self._interval or LEFT_OUT, LEFT_OUT) if self._is_left_out() else self._interval
            due = self._checked + interval * random.uniform(0.9, 1.1)
            try:
                async with asyncio.timeout(due - now() if interval else None):
                    await self._requested.wait()
            except TimeoutError:
                return
        await asyncio.sleep(self._checked + self._pause_seconds * random.uniform(0.8, 1.2) - now())
        self._pause_seconds = min(self._pause_seconds * 1.5, LONGEST)


async def probe(dialer: Dialer, authority: bytes, path: str | None, timeout: float) -> None:
    """Connect to an upstream, and ask for a path.

    authority: for the Host field. path: None: that it takes a connection is enough. timeout: seconds for the
    connection, and as many for the response. Raises DialError, and UpstreamError when it is there and degraded.
    """
    connection = await dialer.dial(timeout)
    try:
        if path is None:
            return
        connection.begin("GET")
        fields = b"Host: %b\r\nUser-Agent: dash-ws-proxy\r\nConnection: close" % authority
        connection.write(b"GET %b HTTP/1.1\r\n%b\r\n\r\n" % (path.encode(), fields))
        async with asyncio.timeout(timeout):
            response = await connection.head()
        if not 200 <= response.status < 400:
            raise UpstreamError(f"{path} answered {response.status}")
    except UpstreamLost as error:
        # As a port does that another program keeps open: Docker's proxy takes connections for a container that is
        # down, and closes them.
        raise DialError("it closes connections without an answer") from error
    except TimeoutError:
        raise UpstreamError(f"{path} did not answer within {timeout:g} s") from None
    finally:
        connection.abort()
