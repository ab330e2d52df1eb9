"""When an upstream is looked at: now and then, and again and again while somebody waits for it.

One task does all the looking, so however many wait, one connection at a time is tried.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from math import inf

logger = logging.getLogger("proxy")

SHORTEST = 0.05
"""Seconds between two looks at an upstream that somebody waits for, at first."""

LONGEST = 0.25
"""And later: what the first request pays, at most, beyond the upstream's own absence. Precedent: Caddy's
lb_try_interval 250ms."""


class HealthCheck:
    """Looks at one upstream, in a task of its own.

    name: for the task. look: looks once, and raises nothing. is_awaited:
    whether somebody waits for what it finds.
    interval: seconds between two looks that nobody waits for. 0: there are none.
    """

    def __init__(
        self, name: str, look: Callable[[], Awaitable[None]], is_awaited: Callable[[], bool], interval: float
    ) -> None:
        self._name = name
        self._look = look
        self._is_awaited = is_awaited
        self._interval = interval
        self._pace = SHORTEST
        self._looked = -inf
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def reconfigure(self, interval: float) -> None:
        """Change how often it looks from here on; counted from the last look."""
        self._interval = interval
        self._wanted.set()

    def start(self) -> None:
        """Look now, and go on looking; with an interval of 0 only when it is wanted."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"watch of the upstream {self._name}")
        self._task.add_done_callback(_tell_if_broken)

    def want(self) -> None:
        """Look soon, unless it is stopped. Whoever wants it must be waiting before the loop goes on."""
        if self._is_stopped:
            return
        if self._task is None or self._task.done():
            self.start()
        self._wanted.set()

    def stop(self) -> None:
        """Look no more."""
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()

    async def stopped(self) -> None:
        """Wait until its task has ended, behind ``stop``."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def has_just_looked(self) -> bool:
        """Whether the last look is so young that another one would find the same."""
        return asyncio.get_running_loop().time() - self._looked < SHORTEST

    async def _run(self) -> None:
        while True:
            await self._pause()
            await self._look()
            self._looked = asyncio.get_running_loop().time()

    async def _pause(self) -> None:
        now = asyncio.get_running_loop().time
        while not self._is_awaited():
            self._pace = SHORTEST
            self._wanted.clear()
            due = self._looked + self._interval * random.uniform(0.9, 1.1)
            try:
                async with asyncio.timeout(due - now() if self._interval else None):
                    await self._wanted.wait()
            except TimeoutError:
                return
        await asyncio.sleep(self._looked + self._pace * random.uniform(0.8, 1.2) - now())
        self._pace = min(self._pace * 1.5, LONGEST)


def _tell_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a fault of the gateway itself, in the %s", task.get_name(), exc_info=error)
