"""Hostile input, and what others' requests take beside it: no client makes the loop stand still (issue 9, A2 and A13).

For each input of ``tests.load.inputs``: one connection sends it at 2 MB/s, and others ask at a steady rate meanwhile.
Then the CPU for so many bytes, and for twice as many: twice the bytes may take twice the time, and no more.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Failed
from tests.certificates import Authority
from tests.load.checks import Check, percentile
from tests.load.gets import cpu
from tests.load.inputs import INPUTS, MIB, Input
from tests.load.stage import LIMITS, Stage
from tests.load.worker import Worker

RATE = 2e6
"""Bytes a second that the hostile connection sends."""

ASKED = 200.0
"""Requests a second of the others."""

TWICE = 2.6
"""What twice the bytes may cost, in terms of once: linear, and the noise of a shared machine."""

FIRST, LAST = MIB // 8, 8 * MIB
"""Bytes of which the CPU is measured: the fewest that are tried, and the most of which twice as many are tried."""

TELLING = 0.15
"""Seconds of CPU that are told from noise."""

NOISE = 0.03
"""Seconds of CPU that are spent on other things meanwhile. What is refused at once costs less than that, once or twice,
and no ratio could be told."""

TIMEOUT = 20.0
"""Seconds for one amount to be worked off."""

QUIET = 0.3
"""Seconds without work behind which everything has been worked off."""

ROUTES = [{"path": "/to", "to": "ws"}]


@dataclass(frozen=True)
class Row:
    """What one input did. Latencies in seconds. each: seconds of CPU for a byte. ratio: of twice the bytes."""

    given: Input
    idle: list[float]
    beside: list[float]
    echoes: list[float]
    rate: float
    comings: int
    each: float
    ratio: float

    def checks(self) -> list[Check]:
        """Return the figures with their bounds."""
        found = [Check(f"GET p99 beside {self.given.name}", p99(self.beside), self.given.most, " ms", self._note())]
        if self.given.is_handed:
            note = f"max {max(self.echoes) * 1000:.1f} ms"
            found.append(Check(f"echo p99 beside {self.given.name}", p99(self.echoes), self.given.most, " ms", note))
        # How many segments are read at once, and so what a byte costs, is a matter of luck where they are tiny.
        if not math.isnan(self.each) and self.given.piece is None:
            note = f"{self.each * 1e9:,.0f} ns of CPU a byte"
            found.append(Check(f"CPU of twice the bytes, {self.given.name}", self.ratio, TWICE, " x", note))
        return found

    def line(self) -> str:
        """Return it as a line of the documents' table."""
        echoes = f"{p99(self.echoes):,.1f} / {max(self.echoes) * 1000:,.1f}" if self.echoes else ""
        cells = [
            self.given.name,
            f"{self.rate / 1e6:.2f}",
            f"{self.comings}",
            f"{p99(self.idle):,.1f}",
            f"{percentile(self.beside, 0.5) * 1000:,.1f} / {p99(self.beside):,.1f} / {max(self.beside) * 1000:,.1f}",
            echoes,
            "-" if math.isnan(self.each) else f"{self.each * 1e9:,.0f}",
            "-" if math.isnan(self.ratio) else f"{self.ratio:.1f}",
        ]
        return "| " + " | ".join(cells) + " |"

    def _note(self) -> str:
        shown_out = f", {self.comings} connections" if self.comings > max(1, self.given.pulls) else ""
        return (
            f"p50 {percentile(self.beside, 0.5) * 1000:.1f}, max {max(self.beside) * 1000:.1f}, "
            f"idle p99 {p99(self.idle):.1f}; {self.rate / 1e6:.2f} MB/s{shown_out}"
        )


HEAD = (
    "| Input of one connection | MB/s reached | connections | GET p99 idle, ms | GET p50 / p99 / max beside it, ms "
    "| echo p99 / max, ms | CPU, ns a byte | twice the bytes |\n" + "|---" * 8 + "|"
)


async def stall(folder: Path, *, seconds: float, names: Collection[str] = ()) -> list[Check]:
    """Try each input, or those whose names hold one of ``names``; print the table, and return the checks."""
    rows, checks = [], []
    for given in chosen(names):
        try:
            row = await try_one(folder, given, seconds=seconds)
        except Failed as error:
            checks.append(Check(f"GET p99 beside {given.name}", math.nan, given.most, " ms", str(error)))
            continue
        rows.append(row)
        checks += row.checks()
    print("", HEAD, *(row.line() for row in rows), sep="\n", end="\n\n")
    return checks


def chosen(names: Collection[str]) -> list[Input]:
    """Return the inputs whose names hold one of ``names``; all of them where there are none."""
    return [given for given in INPUTS.values() if not names or any(name in given.name for name in names)]


@dataclass
class Scene:
    """The processes for one way in, and those who ask beside the hostile client: for pages, and for echoes."""

    stage: Stage
    others: list[Worker]

    async def ask(self, seconds: float, *, in_cpu: bool = False) -> tuple[list[float], list[float]]:
        """Have everybody ask for so long; return the latencies of pages, and of echoes, in seconds.

        in_cpu: count the CPU time of the process that answers, for a machine that does other things besides.
        """
        for other, program in zip(self.others, ("gateway", "service"), strict=False):
            pid = f" {self.stage.pid_of(program)}" if in_cpu else ""
            other.say(f"{seconds} {ASKED}{pid}")
        pages, *echoes = [await other.hear(seconds + 2 * TIMEOUT) for other in self.others]
        return pages, [latency for one in echoes for latency in one]

    async def beside(
        self, given: Input, seconds: float, *, in_cpu: bool = False
    ) -> tuple[list[float], list[float], dict[str, Any]]:
        """Have everybody ask while one client sends an input; return the latencies, and what it has sent.

        in_cpu: as for ``ask``.
        """
        hostile = await Worker.start("tests.load.pour", given.name, str(self.stage.port), str(seconds), str(RATE))
        try:
            await hostile.ready(TIMEOUT)
            pages, echoes = await self.ask(seconds, in_cpu=in_cpu)
            # Who is kept from its last look at the clock by a server that stands still has said nothing yet.
            return pages, echoes, await hostile.hear(2 * TIMEOUT)
        finally:
            await hostile.end()


async def try_one(folder: Path, given: Input, *, seconds: float) -> Row:
    """Try one input on processes of its own."""
    async with scene_for(folder, given) as scene:
        idle, _ = await scene.ask(seconds / 2)
        pages, echoes, poured = await scene.beside(given, seconds)
    each, ratio = (math.nan, math.nan) if given.burst is not None else await cpu_of(folder, given)
    rate = poured["taken"] / max(poured["seconds"], seconds)
    row = Row(given, idle, pages, echoes, rate, poured["comings"], each, ratio)
    print(row.line(), file=sys.stderr, flush=True)
    return row


@asynccontextmanager
async def scene_for(folder: Path, given: Input) -> AsyncIterator[Scene]:
    """Set the scene for inputs that come in as this one does."""
    async with staged_for(folder, given) as stage:
        kinds = [["get", str(stage.port), *(["tls"] if given.is_tls else [])]]
        if given.is_handed:
            kinds.append(["echo", str(stage.port)])
        scene = Scene(stage, [await Worker.start("tests.load.gets", *words) for words in kinds])
        try:
            await scene.ask(0.5)  # everything is loaded and made once
            yield scene
        finally:
            for other in scene.others:
                await other.end()


def p99(latencies: list[float]) -> float:
    """Return the 99th percentile, in milliseconds."""
    return percentile(latencies, 0.99) * 1000


async def cpu_of(folder: Path, given: Input) -> tuple[float, float]:
    """Return the seconds of CPU that a byte costs, and how many times as much twice the bytes cost as once.

    Once is taken for ``NOISE`` where it is less. NaN where an amount is not worked off in time.
    """
    async with staged_for(folder, given) as stage:
        pid = stage.pid_of("service" if given.is_handed else "gateway")
        await cpu_for(pid, stage.port, given, FIRST)  # everything is loaded and made once
        few, taken = await cpu_for(pid, stage.port, given, FIRST)
        if math.isnan(few):
            return math.nan, math.nan
        amount = min(LAST, max(FIRST, int(taken * TELLING / max(few, TELLING / 1000))))
        once, _ = await cpu_for(pid, stage.port, given, amount)
        twice, taken = await cpu_for(pid, stage.port, given, 2 * amount)
        return twice / taken, twice / max(once, NOISE)


async def cpu_for(pid: int, port: int, given: Input, amount: int) -> tuple[float, int]:
    """Return the seconds of CPU until an amount is worked off, and the bytes that were taken."""
    began = cpu(pid)
    hostile = await Worker.start("tests.load.pour", given.name, str(port), str(amount))
    try:
        await hostile.ready(TIMEOUT)
        taken = (await hostile.hear(2 * TIMEOUT))["taken"]
        is_done = await worked_off(pid)
        return (cpu(pid) - began if is_done else math.nan), max(1, taken)
    finally:
        await hostile.end()


async def worked_off(pid: int) -> bool:
    """Wait until a process has nothing to do; return whether that came within ``TIMEOUT``."""
    deadline = time.monotonic() + TIMEOUT
    before = -1.0
    while time.monotonic() < deadline:
        now = cpu(pid)
        if now - before < QUIET / 50 and before >= 0:
            return True
        before = now
        await asyncio.sleep(QUIET)
    return False


@asynccontextmanager
async def staged_for(folder: Path, given: Input) -> AsyncIterator[Stage]:
    """Run what an input needs: a gateway in front of an origin that is fast, and of a sink that takes everything."""
    stage = Stage(folder, {})
    stage.app = "endpoints:app"
    try:
        ws = stage.service_port if given.is_handed else stage.sink_port
        given_limits = given.settings.get("limits", {})
        upstreams = {"dash": f"http://127.0.0.1:{stage.origin_port}", "ws": f"http://127.0.0.1:{ws}"}
        settings: dict[str, Any] = {
            **given.settings,
            "routes": ROUTES,
            "limits": {**LIMITS, **given_limits},
            "upstreams": {**upstreams, **given.settings.get("upstreams", {})},
            "origins": ["same"],
        }
        if not given.is_handed:
            settings["handoff"] = "off"
        if given.is_tls:
            settings["tls"] = Authority(folder).issue()
        stage.configure(**settings)
        await asyncio.gather(*map(stage.start, ["origin", "service" if given.is_handed else "sink"]))
        await stage.start("gateway")
        yield stage
    finally:
        stage.abandon()
