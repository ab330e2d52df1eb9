"""One message to a thousand subscribers: what a delivery costs, how late it is, what an idle subscriber holds, and
what arrives where connections break again and again.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.effort import Effort, Figures
from benchmarks.hubs import HubTarget
from benchmarks.processes import Failed
from benchmarks.rounds import quantile
from benchmarks.subscribers import FIRST, Audience, Publisher, Subscriber, open_all

SUBSCRIBERS = 1000

SIZE = 200
"""Bytes of a publication."""

RATE = 20
"""Publications a second: 20,000 deliveries."""

WARM_UP = 20
"""Publications before deliveries are counted. After a pause TCP acknowledges each of the first sixteen segments at once
(TCP_MAX_QUICKACKS of Linux), which costs the sender 3 us each: a cost of the pause, not of the rate."""

WARM = 100
"""Subscribers that are there before memory is counted: what a server sets up once is no cost of a subscriber."""

WINDOWS = 4
"""How many windows of other workloads are measured: eighty publications, or more than thirty in a quick run."""

PATIENCE = 10.0
"""Seconds after the last publication for what is under way to arrive."""

CUT_SUBSCRIBERS = 100

AWAY = 2.0
"""Seconds that a subscriber is without a connection at each cut."""

CUTS = 3
"""How often each subscriber is cut."""

HERE = (0.5, 1.5)
"""Seconds that it is connected between two cuts, at least and at most."""


async def fan_out(target: HubTarget, effort: Effort) -> Figures:
    """Memory of idle subscribers, then deliveries at a fixed rate."""
    audience = Audience(SIZE)
    subscribers: list[Subscriber] = []
    publisher = Publisher(target.publish_port, target.request)
    try:
        await _more(subscribers, audience, target, WARM)
        await _publish(publisher, audience, range(FIRST, FIRST + RATE), WARM)
        held = target.memory()
        await _more(subscribers, audience, target, SUBSCRIBERS - WARM)
        await settle(target)
        idle = (target.memory() - held) / (SUBSCRIBERS - WARM)
        warm_up = range(FIRST + 100, FIRST + 100 + WARM_UP)
        await _publish(publisher, audience, warm_up, SUBSCRIBERS)
        figures = await _deliveries(publisher, audience, target, round(effort.window * WINDOWS * RATE))
    finally:
        _leave(subscribers, audience, publisher)
    return {"idle_kib": idle, **figures}


async def cuts(target: HubTarget, _: Effort) -> Figures:
    """Each subscriber is cut several times, for two seconds each; what share of all publications it gets."""
    audience = Audience(SIZE)
    subscribers: list[Subscriber] = []
    publisher = Publisher(target.publish_port, target.request)
    numbers = itertools.count(FIRST)
    loop = asyncio.get_running_loop()
    try:
        await _more(subscribers, audience, target, CUT_SUBSCRIBERS)
        chance = random.Random(1)
        async with asyncio.TaskGroup() as tasks:
            cutting = [
                tasks.create_task(_come_and_go(subscriber, random.Random(chance.random())), name="a road that breaks")
                for subscriber in subscribers
            ]
            while not all(task.done() for task in cutting):
                began = loop.time()
                await publisher.publish(audience.publishes(next(numbers)))
                await asyncio.sleep(max(0.0, began + 1 / RATE - loop.time()))
        published = range(FIRST, next(numbers))
        await _wait(lambda: all(len(subscriber.got) == len(published) for subscriber in subscribers), 1.0)
    finally:
        _leave(subscribers, audience, publisher)
    target.check()
    got = sum(len(subscriber.got) for subscriber in subscribers)
    return {
        "delivered_percent": 100 * got / (len(published) * len(subscribers)),
        "doubles": float(sum(count - 1 for subscriber in subscribers for count in subscriber.got.values())),
        "published": float(len(published)),
    }


async def settle(target: HubTarget) -> None:
    """Wait until the server has nothing more to do: less than a tenth of a core."""
    deadline = time.monotonic() + PATIENCE
    before = target.cpu()
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        if (now := target.cpu()) - before < 0.01:
            return
        before = now
    raise Failed(f"still busy {PATIENCE:g} s after the last change")


async def _more(subscribers: list[Subscriber], audience: Audience, target: HubTarget, count: int) -> None:
    added = [Subscriber(audience, target.dialect(), target.path, target.port) for _ in range(count)]
    subscribers += added
    await open_all(added)


async def _deliveries(publisher: Publisher, audience: Audience, target: HubTarget, count: int) -> Figures:
    audience.reset()
    with _undisturbed():
        cpu, began = target.cpu(), time.perf_counter()
        await _publish(publisher, audience, range(FIRST + 1000, FIRST + 1000 + count), SUBSCRIBERS)
        cpu, passed = target.cpu() - cpu, time.perf_counter() - began
    target.check()
    ordered = sorted(audience.latencies)
    return {
        "cpu_us": cpu / audience.delivered * 1e6,
        "rate_per_s": audience.delivered / passed,
        "p50_us": quantile(ordered, 0.5) * 1e6,
        "p99_us": quantile(ordered, 0.99) * 1e6,
        "proxy_busy": cpu / passed,
    }


async def _publish(publisher: Publisher, audience: Audience, numbers: range, subscribers: int) -> None:
    """Publish at the fixed rate, and wait until every subscriber has all of it. Failed when something is missing."""
    loop = asyncio.get_running_loop()
    began, wanted = loop.time(), audience.delivered + len(numbers) * subscribers
    for turn, number in enumerate(numbers):
        await asyncio.sleep(max(0.0, began + turn / RATE - loop.time()))
        await publisher.publish(audience.publishes(number))
    await _wait(lambda: audience.delivered >= wanted, PATIENCE)
    audience.check()
    if audience.delivered != wanted:
        raise Failed(f"{audience.delivered - wanted} deliveries more than there should be")


async def _wait(is_done: Callable[[], bool], timeout: float) -> None:
    """Look again and again for some time; what is missing after it is for the caller to see."""
    for _ in range(round(timeout * 100)):
        if is_done():
            return
        await asyncio.sleep(0.01)


async def _come_and_go(subscriber: Subscriber, chance: random.Random) -> None:
    for _ in range(CUTS):
        await asyncio.sleep(chance.uniform(*HERE))
        subscriber.cut()
        await asyncio.sleep(AWAY)
        await subscriber.open()


def _leave(subscribers: list[Subscriber], audience: Audience, publisher: Publisher) -> None:
    audience.counter.is_over = True
    publisher.close()
    for subscriber in subscribers:
        subscriber.cut()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Have no collection of garbage: a pause of the load would be a latency of the server."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
