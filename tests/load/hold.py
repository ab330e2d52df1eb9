"""What one client can make each process hold: a number, with the default limits (issue 9: A3, A6, A7, A14, A15).

For each kind of ``tests.load.holds``: as many connections as one address may have, all of that kind; what the gateway
and the service hold before, at the worst, and some seconds after all have left.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import Failed
from tests.certificates import Authority
from tests.load.checks import Check
from tests.load.holds import KINDS, MIX, SERVICE, TLS, UNREAD_LOG, Kind
from tests.load.stage import Stage
from tests.load.worker import Worker

MIB = 1 << 20

MOST = 256.0
"""MiB that each process may have, its own included, whatever one address does (issue 9)."""

ENOUGH = 1200.0
"""MiB behind which a row is ended: the bound is broken, and the machine is shared."""

QUIET, GROWTH = 2.0, 1.0
"""Seconds in which no process may have grown by so many MiB before a row is over: a thousand connections take their
time to fill what they fill."""

LONGEST = 40.0
"""Seconds behind which a row is over though something grows still."""

TICK = 0.1
"""Seconds between two looks."""

PACE = 90.0
"""Handshakes a second: below what one client may have."""

TIMEOUT = 60.0
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
            for process in self.base
        ]

    def line(self) -> str:
        """Return it as a line of the documents' table."""
        cells = [self.name, f"{self.connections:,}", f"{self.seen['held']:,}", f"{self.seen['sent'] / MIB:,.1f}"]
        cells += [
            " / ".join(f"{one[process]:,.0f}" for one in (self.base, self.worst, self.after) if process in one)
            for process in PROCESSES
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
    folder: Path,
    name: str,
    counts: Mapping[str, int],
    *,
    after: float,
    seconds: float | None = None,
    quiet: float = QUIET,
    longest: float = LONGEST,
    enough: float = ENOUGH,
    pace: float = PACE,
) -> Held:
    """Let one client have so many connections of each kind, and look at what is held.

    after: seconds between their end and the last look. seconds: for which they stay at least; None: what the kinds
    need. quiet: seconds without growth that end a row. longest: seconds that end it in any case. enough: MiB that do.
    pace: handshakes a second; 0 for as many as there are, with the limit for them lifted.
    """
    kinds = [KINDS[kind] for kind in counts]
    async with staged_for(folder, kinds, is_paced=pace > 0) as (stage, processes):
        base = memory(stage, processes)
        worst = dict(base)
        ports = map(str, (stage.port, stage.admin_port, stage.service_port))
        words = (f"{kind}={count}" for kind, count in counts.items())
        client = await Worker.start("tests.load.holds", *ports, str(pace), *words)
        watching = asyncio.get_running_loop().create_task(watch(stage, worst, enough), name="memory at the worst")
        least = max(kind.seconds for kind in kinds) if seconds is None else seconds
        staying = asyncio.get_running_loop().create_task(
            stay(client, worst, least, quiet, longest), name="client that stays"
        )
        try:
            await asyncio.wait({staying, watching}, return_when=asyncio.FIRST_COMPLETED)
            if staying.done():
                await staying
            else:
                watching.result()
                staying.cancel()
                await asyncio.wait({staying})
            client.say("")
            seen = await client.hear(TIMEOUT)
        finally:
            staying.cancel()
            watching.cancel()
            await client.end()
        await asyncio.sleep(after)
        left = memory(stage, processes)
        note(worst, left)  # a guard that ends a row does not end what is under way
        return Held(name, sum(counts.values()), seen, base, worst, left)


async def stay(client: Worker, worst: Mapping[str, float], least: float, quiet: float, longest: float) -> None:
    """Wait until all clients have come, so long after that, and until nothing grows any more. Raises Failed."""
    await client.ready(TIMEOUT)
    end = time.monotonic() + longest
    await asyncio.sleep(least)
    before = 0.0
    while (now := sum(worst.values())) - before >= GROWTH and time.monotonic() < end:
        before = now
        await asyncio.sleep(quiet)


async def watch(stage: Stage, worst: dict[str, float], enough: float) -> None:
    """Note the most memory that each process has, until this is cancelled, or one has enough MiB."""
    while not max(worst.values()) >= enough:
        note(worst, memory(stage, worst))
        await asyncio.sleep(TICK)


def note(worst: dict[str, float], now: Mapping[str, float]) -> None:
    """Take what is more than the worst so far. A process that has died holds nothing, and that is no good news: NaN."""
    for process, mib in now.items():
        worst[process] = math.nan if math.isnan(mib) else max(mib, worst[process])


def memory(stage: Stage, processes: Iterable[str]) -> dict[str, float]:
    """Return the resident MiB of each process; NaN for one that has died."""
    return {process: resident(stage.pid_of(process)) for process in processes}


def resident(pid: int) -> float:
    """Return the resident MiB of a process; NaN where there is none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return math.nan
    found = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 1024 if found else math.nan  # a zombie has none


@asynccontextmanager
async def staged_for(
    folder: Path, kinds: Collection[Kind], *, is_paced: bool = True
) -> AsyncIterator[tuple[Stage, Collection[str]]]:
    """Run a gateway with the default limits, a sink in Dash's place, and a service if one is needed; say which."""
    stage = Stage(folder, {})
    stage.app = "endpoints:app"
    needs = frozenset[str]().union(*(kind.needs for kind in kinds))
    settings: dict[str, Any] = {
        "limits": {} if is_paced else {"handshakes_per_second": None},
        "routes": [{"path": "/to", "to": "dash"}],
        "timeouts": {},
    }
    upstreams = {"dash": f"http://127.0.0.1:{stage.sink_port}", "ws": f"http://127.0.0.1:{stage.service_port}"}
    for kind in kinds:
        upstreams |= kind.settings.get("upstreams", {})
        settings["limits"] |= kind.settings.get("limits", {})
        settings["timeouts"] |= kind.settings.get("timeouts", {})
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
        processes = PROCESSES if SERVICE in needs else PROCESSES[:1]
        await asyncio.gather(*map(stage.start, ("sink", *processes[1:])))
        await stage.start("gateway")
        yield stage, processes
    finally:
        stage.abandon()
        if unread is not None:
            os.close(unread)
