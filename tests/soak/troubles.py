"""What goes wrong during the soak: upstreams are killed and come back, and the gateway's config is read again."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from tests.load.clients import ask
from tests.load.stage import ROUTES, Stage
from tests.soak.ledger import moments
from tests.soak.visitors import GONE, Seen

NOTICED = 10.0
"""Seconds for a reload to be seen from outside."""

WRONG = {"listne": "127.0.0.1:8000"}

WHERE = "/where/x"

FACES: tuple[tuple[dict[str, object], int], ...] = (
    ({"routes": [*ROUTES, {"path": "/where", "to": "ws"}], "timeouts": {"tunnel_idle": "2h"}}, 404),
    ({"trusted_proxies": ["10.0.0.0/8"]}, 200),
)
"""Two valid configs, and what a GET of ``WHERE`` is answered under each: the service has no page for it."""


@dataclass(frozen=True)
class Pace:
    """Seconds between two troubles of a kind."""

    origin: float
    service: float
    reload: float


class Troubles:
    """Everything that goes wrong in one round of so many seconds."""

    def __init__(self, stage: Stage, seen: Seen, seconds: float, pace: Pace) -> None:
        self._stage = stage
        self._seen = seen
        self._seconds = seconds
        self._pace = pace
        self._chance = random.Random(f"troubles of {seconds}")

    async def run(self) -> None:
        """Have it all happen; every upstream runs again when this returns."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kills("origin", self._pace.origin), name="kills of the origin")
            group.create_task(self._kills("service", self._pace.service), name="kills of the service")
            group.create_task(self._reloads(self._pace.reload), name="reloads")

    async def _kills(self, name: str, period: float) -> None:
        began = time.monotonic()
        for moment in moments(self._seconds, period, self._chance):
            await asyncio.sleep(began + moment - time.monotonic())
            self._seen.kills[name] += 1  # before it: whoever came earlier may be cut from here on
            self._seen.away.add(name)
            await asyncio.to_thread(self._stage.kill, name)
            await asyncio.sleep(self._chance.uniform(0.2, 2))
            await self._stage.start(name)
            self._seen.away.discard(name)

    async def _reloads(self, period: float) -> None:
        began = time.monotonic()
        for number, moment in enumerate(moments(self._seconds, period, self._chance)):
            await asyncio.sleep(began + moment - time.monotonic())
            settings, status = FACES[number % 2]
            self._stage.configure(**settings)
            self._stage.reload()
            await self._noticed(status, "a reload did not show")
            self._seen.reloads["valid"] += 1
            if number % 3 == 2:
                self._stage.configure(**WRONG)
                self._stage.reload()
                await asyncio.sleep(1)  # to be wrong; nothing tells that it was not
                await self._noticed(status, "a wrong config was taken")
                self._seen.reloads["wrong, and refused"] += 1

    async def _noticed(self, status: int, breach: str) -> None:
        """Wait until ``WHERE`` is answered so; an upstream that is away meanwhile answers otherwise."""
        deadline = time.monotonic() + NOTICED
        got: object = None
        while got != status:
            if time.monotonic() > deadline:
                self._seen.breach(breach, f"{WHERE} is answered with {got}, not {status}")
                return
            try:
                got = (await ask(self._stage.port, f"GET {WHERE}")).status
            except GONE as error:
                got = error
            await asyncio.sleep(0.2)
