"""What one client can make each process hold: a number, with the default limits (issue 9: A3, A6, A7, A14, A15).

For each kind of ``tests.load.holds``: as many connections as one address may have, all of that kind; what the gateway
and the service hold before, at the worst, and some seconds after all have left.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Failed
from tests.certificates import Authority
from tests.load.checks import Check
from tests.load.holds import KINDS, MIX, TLS, UNREAD_LOG, Kind
from tests.load.stage import Stage
from tests.load.worker import Worker

MIB = 1 << 20

MOST = 256.0
"""MiB that each process may have, its own included, whatever one address does (issue 9)."""

ENOUGH = 1200.0
"""MiB behind which a row is ended: the bound is broken, and the machine is shared."""

TICK = 0.1
"""Seconds between two looks."""

PATIENCE = 60.0
"""Seconds for a thousand WebSockets to be opened at the pace that one client may have."""

PROCESSES = ("gateway", "service")

EVERYTHING = "everything at once"


@dataclass(frozen=True)
class Held:
    """What one row held: MiB of each process, before, at the worst, and after."""

    name: str
    connections: int
    seen: Mapping[str, int]
    base: Mapping[str, float]
    worst: Mapping[str, float]
    after: Mapping[str, float]

    def checks(self) -> list[Check]:
        """Return the worst of each process with its bound."""
        return [
            Check(
                f"{process} with {self.connections:,} {self.name}",
                self.worst[process],
                MOST,
                " MiB",
                f"{self.base[process]:.0f} before, {self.after[process]:.0f} after; "
                f"{self.seen['sent'] / MIB:,.1f} MiB sent, {self.seen['refused']:,} refused",
            )
            for process in PROCESSES
        ]

    def line(self) -> str:
        """Return it as a line of the documents' table."""
        cells = [self.name, f"{self.connections:,}", f"{self.seen['held']:,}", f"{self.seen['sent'] / MIB:,.1f}"]
        cells += [
            " / ".join(f"{one[process]:,.0f}" for one in (self.base, self.worst, self.after)) for process in PROCESSES
        ]
        return "| " + " | ".join(cells) + " |"


HEAD = (
    "| What each connection does | connections | open at the end | MiB sent | gateway before / worst / after, MiB "
    "| service before / worst / after, MiB |\n" + "|---" * 6 + "|"
)


async def hold(folder: Path, *, names: Collection[str] = (), after: float = 5.0) -> list[Check]:
    """Try each kind, or those whose names hold one of ``names``; print the table, and return the checks.

    after: seconds between the end of everybody and the last look.
    """
    rows, checks = [], []
    wanted = {name: {name: kind.count} for name, kind in KINDS.items()}
    wanted[EVERYTHING] = MIX
    for name, counts in wanted.items():
        if names and not any(part in name for part in names):
            continue
        try:
            row = await hold_one(folder / str(len(rows) + len(checks)), name, counts, after=after)
        except Failed as error:
            checks.append(Check(f"what is held with {name}", math.nan, MOST, " MiB", str(error)))
            continue
        print(row.line(), file=sys.stderr, flush=True)
        rows.append(row)
        checks += row.checks()
    print("", HEAD, *(row.line() for row in rows), sep="\n", end="\n\n")
    return checks


async def hold_one(
    folder: Path, name: str, counts: Mapping[str, int], *, after: float, seconds: float | None = None
) -> Held:
    """Let one client have so many connections of each kind, and look at what is held.

    seconds: for which everybody stays; None: what the kinds need. after: seconds behind their end.
    """
    kinds = [KINDS[kind] for kind in counts]
    async with staged_for(folder, kinds) as stage:
        base = memory(stage)
        worst = dict(base)
        ports = map(str, (stage.port, stage.admin_port, stage.service_port))
        client = await Worker.start("tests.load.holds", *ports, *(f"{kind}={count}" for kind, count in counts.items()))
        has_enough = asyncio.Event()
        watching = asyncio.get_running_loop().create_task(watch(stage, worst, has_enough), name="memory at the worst")
        try:
            ready = asyncio.get_running_loop().create_task(client.ready(PATIENCE), name="client comes in")
            enough = asyncio.get_running_loop().create_task(has_enough.wait(), name="memory is beyond all bounds")
            try:
                await asyncio.wait({ready, enough}, return_when=asyncio.FIRST_COMPLETED)
                if ready.done():
                    await ready
                    longest = max(kind.seconds for kind in kinds) if seconds is None else seconds
                    await asyncio.wait({enough}, timeout=longest)
                    client.say("")
                    seen = await client.hear(PATIENCE)
                else:
                    seen = {"sent": 0, "refused": 0, "held": 0}
            finally:
                ready.cancel()
                enough.cancel()
        finally:
            await client.end()
            watching.cancel()
        await asyncio.sleep(after)
        return Held(name, sum(counts.values()), seen, base, worst, memory(stage))


async def watch(stage: Stage, worst: dict[str, float], has_enough: asyncio.Event) -> None:
    """Note the most memory that each process has, until this is cancelled."""
    while True:
        for process, now in memory(stage).items():
            # One that has died holds nothing, and that is no good news.
            worst[process] = math.nan if math.isnan(now) else max(now, worst[process])
        if max(worst.values()) > ENOUGH:
            has_enough.set()
        await asyncio.sleep(TICK)


def memory(stage: Stage) -> dict[str, float]:
    """Return the resident MiB of each process; NaN for one that has died."""
    return {process: resident(stage.pid_of(process)) for process in PROCESSES}


def resident(pid: int) -> float:
    """Return the resident MiB of a process; NaN where there is none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return math.nan
    found = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 1024 if found else math.nan  # a zombie has none


@asynccontextmanager
async def staged_for(folder: Path, kinds: Collection[Kind]) -> AsyncIterator[Stage]:
    """Run a gateway and a service with the default limits, and a sink in Dash's place."""
    folder.mkdir(exist_ok=True)
    stage = Stage(folder, {})
    stage.app = "endpoints:app"
    needs = frozenset[str]().union(*(kind.needs for kind in kinds))
    settings: dict[str, Any] = {"limits": {}, "routes": [{"path": "/to", "to": "dash"}]}
    upstreams = {"dash": f"http://127.0.0.1:{stage.sink_port}", "ws": f"http://127.0.0.1:{stage.service_port}"}
    for kind in kinds:
        upstreams |= kind.settings.get("upstreams", {})
    if TLS in needs:
        settings["tls"] = Authority(folder).issue()
    stage.configure(**settings, upstreams=upstreams)
    log = folder / "gateway.log"
    log.unlink(missing_ok=True)
    unread = None
    if UNREAD_LOG in needs:
        os.mkfifo(log)
        unread = os.open(log, os.O_RDWR)  # without a reader nobody could open it to write
    try:
        await asyncio.gather(*map(stage.start, ("sink", "service")))
        await stage.start("gateway")
        yield stage
    finally:
        stage.abandon()
        if unread is not None:
            os.close(unread)
