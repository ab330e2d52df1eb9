"""The work that is measured, each as a function from a target to figures."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import accounting
from benchmarks.effort import Effort, Figures
from benchmarks.fan_out import cuts, fan_out
from benchmarks.hubs import ORDER as HUBS
from benchmarks.load import (
    TIMEOUT,
    ChunkedRequester,
    Counter,
    Download,
    Requester,
    Sockets,
    Upload,
    ask,
    repeat_handshakes,
    start_echo,
    start_listening,
    start_requests,
    transfer,
)
from benchmarks.origin import PUSHED
from benchmarks.peers import WITHOUT_METRICS
from benchmarks.processes import Child, Failed
from benchmarks.rounds import quantile
from benchmarks.scraping import scraped
from benchmarks.wire import CALLBACK, EVENTS, PATTERN, SMALL, chunked_request, expecting_request, request

MIB = 1 << 20

SCALE = (10, 100, 1000, 5000)
"""Open WebSockets, from few to many."""

BULK = 1 << 30
"""Bytes of a large body."""

LISTENERS = 1000
"""WebSockets that are pushed to."""


@dataclass(frozen=True)
class Target:
    """What is measured. port: where the load connects.

    proxy: the process whose costs count; None measures the origin alone.
    origin: the process behind it, and origin_port, where it can be asked directly.
    metrics: the unix socket that is asked for /metrics; None: there is none.
    """

    port: int
    proxy: Child | None
    origin: Child
    origin_port: int
    metrics: Path | None = None

    def cpu(self) -> float:
        """Return the seconds of CPU that the proxy has used."""
        return accounting.cpu(self.proxy.session) if self.proxy else 0.0

    def memory(self) -> float:
        """Return the KiB that the proxy holds."""
        return float(accounting.pss(self.proxy.session)) if self.proxy else 0.0


@dataclass(frozen=True)
class Workload:
    """One kind of work.

    name: for the command line. title: for tables. behind: what answers: ``origin``, ``dash``, or ``both``
    (the raw origin, and a real dash-ws-service for direct and handed-off sockets); ``hub``: the servers of
    ``hubs.ORDER``, one by one, instead of the proxies.
    rounds: of a full run. is_fresh: each measurement starts its proxy anew, because it is about memory.
    but_not: proxies that it makes no sense for.
    """

    name: str
    title: str
    measure: Callable[[Any, Effort], Awaitable[Figures]]
    behind: str = "origin"
    rounds: int = 5
    is_fresh: bool = False
    but_not: frozenset[str] = frozenset()

    def has(self, subject: str) -> bool:
        """Tell whether a subject is measured."""
        return subject not in self.but_not and (subject in HUBS) == (self.behind == "hub")


async def observe(target: Target, counter: Counter, effort: Effort) -> Figures:
    """Warm up, measure, and return the figures of what is counted. Raises Failed when something is wrong."""
    await asyncio.sleep(effort.warm_up)
    counter.check()
    gc.collect()
    gc.disable()  # a pause of the load would be a latency of the proxy
    try:
        counter.reset()
        cpu, mine, origin = target.cpu(), time.process_time(), accounting.cpu(target.origin.session)
        began = time.perf_counter()
        await asyncio.sleep(effort.window)
        count, passed = counter.count, time.perf_counter() - began
        cpu = target.cpu() - cpu
        load = time.process_time() - mine + accounting.cpu(target.origin.session) - origin
    finally:
        gc.enable()
    counter.check()
    if target.proxy:
        target.proxy.check()
    ordered = sorted(counter.latencies[:count])
    return {
        "cpu_us": cpu / count * 1e6,
        "rate_per_s": count / passed,
        "p50_us": quantile(ordered, 0.5) * 1e6,
        "p99_us": quantile(ordered, 0.99) * 1e6,
        "proxy_busy": cpu / passed,
        "load_busy": load / passed,
    }


@asynccontextmanager
async def websockets(target: Target, path: str = "/ws") -> AsyncIterator[Sockets]:
    """Have WebSockets to a target; they are closed behind the ``with`` block."""
    sockets = Sockets(path, target.port, Counter())
    try:
        yield sockets
    finally:
        sockets.counter.is_over = True
        await sockets.resize(0)


def echo(size: int) -> Callable[[Target, Effort], Awaitable[Figures]]:
    """Messages of ``size`` bytes there and back on 64 connections."""

    async def measure(target: Target, effort: Effort) -> Figures:
        async with websockets(target) as sockets:
            await sockets.resize(64)
            start_echo(sockets, _payload(size), in_flight=64)
            return await observe(target, sockets.counter, effort)

    return measure


async def scale(target: Target, effort: Effort) -> Figures:
    """Memory of idle sockets, then what a message costs with many and with few of them: 10 under way at any time."""
    figures: Figures = {}
    few, middle, many = SCALE[0], SCALE[-2], SCALE[-1]
    async with websockets(target) as sockets:

        async def cost(count: int) -> None:
            await sockets.resize(count)
            await settle(target)  # closing 4,000 takes some proxies a second
            sockets.counter.is_over = False
            start_echo(sockets, _payload(100), in_flight=10)
            figures[f"cpu_{count}_us"] = (await observe(target, sockets.counter, effort))["cpu_us"]
            sockets.counter.is_over = True
            await settle(target)  # what is under way ends

        await cost(few)  # whatever a proxy sets up for its first connections is no cost of the others
        held = [target.memory()]
        cpu = target.cpu()
        for count in (middle, many):
            await sockets.resize(count)
            await settle(target)
            held.append(target.memory())
        figures["open_us"] = (target.cpu() - cpu) / (many - few) * 1e6
        figures["idle_kib"] = (held[2] - held[0]) / (many - few)
        # What an allocator takes once, for many handshakes at a time, is no cost of a socket.
        figures["further_kib"] = (held[2] - held[1]) / (many - middle)
        figures["base_mib"] = held[0] / 1024
        for count in reversed(SCALE[1:]):
            await cost(count)
    if figures[f"cpu_{few}_us"] > 1:  # of what costs nothing there is no multiple
        figures["growth"] = figures[f"cpu_{many}_us"] / figures[f"cpu_{few}_us"]
    return figures


async def settle(target: Target) -> None:
    """Wait until proxy and origin have nothing more to do: less than a tenth of a core. Failed if they go on."""

    def used() -> float:
        return target.cpu() + accounting.cpu(target.origin.session)

    deadline = time.monotonic() + TIMEOUT
    before = used()
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        now = used()
        if now - before < 0.01:
            return
        before = now
    raise Failed(f"still busy {TIMEOUT:g} s after the last change")


async def handshakes(target: Target, effort: Effort) -> Figures:
    """Connect, shake hands, close; 32 clients at a time."""
    counter, loop = Counter(), asyncio.get_running_loop()
    clients = [
        loop.create_task(repeat_handshakes(counter, "/ws", target.port), name=f"handshakes {number}")
        for number in range(32)
    ]
    try:
        return await observe(target, counter, effort)
    finally:
        counter.is_over = True
        await asyncio.wait(clients)  # each ends within TIMEOUT, whatever the proxy does


async def get(target: Target, effort: Effort) -> Figures:
    """A small answer to a request with a browser's headers and cookies, on 32 connections; metrics are asked for."""
    before = await _accepted(target)
    async with scraped(target.metrics):
        figures = await _requests(target, effort, request("/", host=f"127.0.0.1:{target.port}"), SMALL, 32)
    dialled = await _accepted(target) - before - 1
    # Keep-alive to the upstream is part of the comparison: without it a proxy would measure its connects.
    figures["dials_per_request"] = dialled / (figures["rate_per_s"] * (effort.window + effort.warm_up))
    return figures


async def chunked(target: Target, effort: Effort) -> Figures:
    """A chunked POST, on 32 connections: no proxy knows its length beforehand."""
    message = chunked_request("/chunked", host=f"127.0.0.1:{target.port}", body=SMALL)
    return await _requests(target, effort, message, b"%d" % len(SMALL), 32)


async def expect(target: Target, effort: Effort) -> Figures:
    """A POST of one pattern of 256 bytes whose client waits for 100 before it sends it, on 32 connections."""
    body = PATTERN[:256]
    message = expecting_request("/sink", host=f"127.0.0.1:{target.port}", length=len(body))
    return await _requests(target, effort, message, b"%d" % len(body), 32, later=body)


async def events(target: Target, effort: Effort) -> Figures:
    """An event stream of four events that come one by one, on 32 connections."""
    message = request("/events", host=f"127.0.0.1:{target.port}")
    return await _requests(target, effort, message, b"".join(EVENTS), 32, ChunkedRequester)


async def callback(target: Target, effort: Effort) -> Figures:
    """A callback of a real Dash app, on 16 connections: more than Dash has threads, so that it never waits for us."""
    body = json.dumps(CALLBACK, separators=(",", ":")).encode()
    message = request("/_dash-update-component", host=f"127.0.0.1:{target.port}", body=body)
    answer = await ask(target.port, message)
    if json.loads(answer)["response"] != {"greeting": {"children": "Hello, Ada"}}:
        raise Failed(f"Dash answered {answer[:200]!r}")
    return await _requests(target, effort, message, answer, 16)


async def push(target: Target, effort: Effort) -> Figures:
    """The origin sends a message to every socket, ten times a second."""
    async with websockets(target, "/push") as sockets:
        await sockets.resize(LISTENERS)
        start_listening(sockets, PUSHED)
        ticks = round((effort.window + effort.warm_up) * 10) + 3
        host = f"127.0.0.1:{target.origin_port}"
        async with asyncio.timeout(effort.window + 20):
            asking = ask(target.origin_port, request(f"/push/{ticks}/100", host=host))
            pushing = asyncio.get_running_loop().create_task(asking, name="the origin pushes")
            try:
                return await observe(target, sockets.counter, effort)
            finally:
                await pushing


def bulk(kind: type[Download] | type[Upload]) -> Callable[[Target, Effort], Awaitable[Figures]]:
    """One body of 1 GiB; how much memory the proxy takes for it, and how much CPU."""

    async def measure(target: Target, effort: Effort) -> Figures:
        host = f"127.0.0.1:{target.port}"

        async def carry(size: int) -> None:
            down = kind is Download
            head = request(f"/bytes/{size}", host=host) if down else request("/sink", host=host, length=size)
            await transfer(kind, target.port, head, size, timeout=60)

        await carry(MIB)
        before, cpu, began = target.memory(), target.cpu(), time.perf_counter()
        carrying = asyncio.get_running_loop().create_task(carry(BULK), name="a large body")
        peak = before
        try:
            while not carrying.done():
                await asyncio.wait({carrying}, timeout=0.1)
                peak = max(peak, target.memory())
        finally:
            carrying.cancel()
        await carrying
        passed = time.perf_counter() - began
        if target.proxy:
            target.proxy.check()
        return {
            "cpu_s": target.cpu() - cpu,
            "growth_mib": (peak - before) / 1024,
            "rate_mib_per_s": BULK / MIB / passed,
        }

    return measure


async def _requests(
    target: Target,
    effort: Effort,
    message: bytes,
    body: bytes,
    clients: int,
    kind: type[Requester] = Requester,
    later: bytes = b"",
) -> Figures:
    counter = Counter()
    made = await start_requests(lambda: kind(counter, target.port, message, body, later), target.port, clients)
    try:
        return await observe(target, counter, effort)
    finally:
        counter.is_over = True
        for client in made:
            client.leave()


async def _accepted(target: Target) -> int:
    return int(await ask(target.origin_port, request("/accepted", host=f"127.0.0.1:{target.origin_port}")))


def _payload(size: int) -> bytes:
    return (SMALL * (size // len(SMALL) + 1))[:size]


_SECOND = frozenset({"nginx unbuffered", WITHOUT_METRICS})
"""nginx a second time, which matters to large bodies alone, and the gateway a second time, which matters to small
requests alone."""

WITH_SERVICE = frozenset({"hand-off", "hand-off before", "service"})
"""Those with a real dash-ws-service behind them, whose WebSockets echo and do nothing else."""

ALL = (
    Workload("echo-100", "WebSocket echo, 100 B", echo(100), "both", but_not=_SECOND),
    Workload("echo-4k", "WebSocket echo, 4 KiB", echo(4096), "both", but_not=_SECOND),
    Workload("echo-64k", "WebSocket echo, 64 KiB", echo(65536), "both", but_not=_SECOND),
    Workload("scale", "10 to 5,000 WebSockets", scale, "both", 3, True, _SECOND | {"direct", "service"}),
    Workload("handshakes", "WebSocket handshakes", handshakes, "both", 3, but_not=_SECOND),
    Workload("push", "Push to 1,000 WebSockets", push, rounds=3, but_not=_SECOND | WITH_SERVICE),
    Workload("get", "Small GET", get, but_not=frozenset({"nginx unbuffered"}) | WITH_SERVICE),
    Workload("chunked", "Chunked POST", chunked, rounds=3, but_not=_SECOND | WITH_SERVICE),
    Workload("expect", "POST that expects 100", expect, rounds=3, but_not=_SECOND | WITH_SERVICE),
    Workload("events", "Event stream", events, rounds=3, but_not=_SECOND | WITH_SERVICE),
    Workload("callback", "Dash callback", callback, "dash", but_not=_SECOND | WITH_SERVICE),
    Workload("down", "1 GiB down", bulk(Download), rounds=3, is_fresh=True, but_not=WITH_SERVICE | {WITHOUT_METRICS}),
    Workload("up", "1 GiB up", bulk(Upload), rounds=3, is_fresh=True, but_not=WITH_SERVICE | {WITHOUT_METRICS}),
    Workload("fan-out", "Fan-out to 1,000 subscribers", fan_out, "hub", 3, True),
    Workload("cuts", "Fan-out over connections that break", cuts, "hub", 1, True),
)

QUICK = ("echo-100", "get")
"""The two that a quick run is about."""
