"""A run: starts what each workload needs, measures in interleaved rounds, and keeps going when one proxy fails."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from sys import executable

from benchmarks import hubs, peers
from benchmarks.effort import Effort
from benchmarks.hubs import HubServer, HubTarget
from benchmarks.load import status
from benchmarks.machine import Placement
from benchmarks.peers import Missing, Peer, Place
from benchmarks.processes import READY, Child, Failed, free_port, started
from benchmarks.results import Cell, Results, Subject
from benchmarks.rounds import interleave
from benchmarks.workloads import WITH_SERVICE, Target, Workload

BASELINES = {
    "direct": Subject("direct", "", "no proxy: the load on the raw origin", None),
    "service": Subject("service", "", "no proxy: the load on a real dash-ws-service", None),
}

TIMEOUT = 150.0
"""Seconds for one measurement. The longest ones open 5,000 sockets, or carry 1 GiB."""

TROUBLE = (Failed, OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, LookupError)
"""What a proxy under load may do to us. It costs that proxy the cell, not everybody the run."""


@dataclass(frozen=True)
class Origin:
    """A running process behind the proxies."""

    child: Child
    port: int


@dataclass
class Run:
    """One run. say: told what happens, one line at a time."""

    folder: Path
    placement: Placement
    effort: Effort
    say: Callable[[str], None]
    found: dict[str, Peer | HubServer] = field(default_factory=dict)

    async def measure(self, workload: Workload, names: Sequence[str], rounds: int) -> list[Cell]:
        """Measure one workload through several proxies; one cell for each."""
        cells = {name: Cell(workload.name, name) for name in names}
        async with AsyncExitStack() as stack:
            origins = await self._origins(workload, stack, needs_service=not WITH_SERVICE.isdisjoint(names))
            targets: dict[str, Target | HubTarget] = {}
            for name in names if not workload.is_fresh else ():
                try:
                    targets[name] = await stack.enter_async_context(self._target(name, origins))
                except TROUBLE as error:
                    self._failed(cells[name], error)
            for number, order in enumerate(interleave(names, rounds), 1):
                began = time.monotonic()
                for name in order:
                    if cells[name].error is not None:
                        continue
                    try:
                        async with asyncio.timeout(TIMEOUT):
                            if workload.is_fresh:
                                async with self._target(name, origins) as target:
                                    figures = await workload.measure(target, self.effort)
                            else:
                                figures = await workload.measure(targets[name], self.effort)
                        cells[name].add(figures)
                    except TROUBLE as error:
                        self._failed(cells[name], error)
                self.say(f"  {workload.title}: round {number} of {rounds}, {time.monotonic() - began:.0f} s")
        return list(cells.values())

    def _failed(self, cell: Cell, error: Exception) -> None:
        cell.error = str(error) or ("it took too long" if isinstance(error, TimeoutError) else type(error).__name__)
        self.say(f"  {cell.subject} failed: {cell.error}")

    async def _origins(self, workload: Workload, stack: AsyncExitStack, *, needs_service: bool) -> dict[str, Origin]:
        """Start what the proxies stand in front of, by the names that targets go by."""
        if workload.behind == "hub":
            return {}
        port = free_port()
        if workload.behind == "dash":
            here = ["--bind", f"127.0.0.1:{port}", "--keep-alive", "75", "--no-control-socket"]
            gunicorn = [executable, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "8", *here]
            argv = [*gunicorn, "benchmarks.dash_page:server"]
        else:
            argv = [executable, "-m", "benchmarks.origin", str(port)]
        run = started("origin", argv, port, folder=self.folder, cores=self.placement.rest)
        origins = {"": Origin(await stack.enter_async_context(run), port)}
        if workload.behind == "both" and needs_service:
            port = free_port()
            # What is measured of hand-off is the service itself, so it stands where proxies stand.
            argv = peers.service(self.folder, port)
            run = started("service", argv, port, folder=self.folder, cores=self.placement.measured)
            try:
                service = Origin(await stack.enter_async_context(run), port)
                origins |= dict.fromkeys(WITH_SERVICE, service)
            except Failed as error:
                self.say(f"  {error}")  # costs those two their cells
        return origins

    @asynccontextmanager
    async def _target(self, name: str, origins: dict[str, Origin]) -> AsyncIterator[Target | HubTarget]:
        peer = self.found.get(name)
        if isinstance(peer, HubServer):
            async with peer.run(hubs.Place(self.folder, self.placement.measured)) as hub:
                yield hub
            return
        origin = origins.get(name if name in WITH_SERVICE else "")
        if origin is None:
            raise Failed("dash-ws-service does not run")
        if peer is None:  # a baseline
            yield Target(origin.port, None, origin.child, origin.port)
            return
        port = free_port()
        place = Place(self.folder, port, origin.port)
        argv = peer.command(place)
        label = name.replace(" ", "-")
        run = started(label, argv, port, folder=self.folder, cores=self.placement.measured, env=peer.env)
        async with run as child:
            await answering_alike(child, port, origin.port)
            metrics = peer.metrics(place) if peer.metrics else None
            yield Target(port, child, origin.child, origin.port, metrics)


async def answering_alike(child: Child, port: int, origin: int) -> None:
    """Wait until a proxy answers as its origin does: Traefik listens before it has read its routes."""
    expected = await status("/", origin)
    deadline = time.monotonic() + READY
    while (got := await status("/", port)) != expected:
        child.check()
        if time.monotonic() > deadline:
            raise Failed(f"{child.name} answers {got} where the origin answers {expected}")
        await asyncio.sleep(0.02)


async def run(
    workloads: Sequence[Workload],
    wanted: Sequence[str],
    *,
    before: Path | None = None,
    rounds: int | None,
    effort: Effort,
    placement: Placement,
    machine: dict[str, str],
    say: Callable[[str], None],
) -> Results:
    """Measure.

    wanted: names of proxies and baselines. before: the checkout of those in ``peers.BEFORE``.
    rounds: of every workload; None is each one's own number.
    machine: passed on to the results. say: told what happens.
    """
    subjects: list[Subject] = []
    found: dict[str, Peer | HubServer] = {}
    for name in wanted:
        if not any(workload.has(name) for workload in workloads):
            continue
        if name in BASELINES:
            subjects.append(BASELINES[name])
            continue
        peer = hubs.find(name) if name in hubs.ORDER else peers.find(name, before)
        if isinstance(peer, Missing):
            subjects.append(Subject(name, "", "", peer.reason))
            say(f"{name} is left out: {peer.reason}")
        else:
            subjects.append(Subject(name, peer.version, peer.log, None))
            found[name] = peer
    cells: list[Cell] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        running = Run(Path(folder), placement, effort, say, found)
        for workload in workloads:
            names = [s.name for s in subjects if s.missing is None and workload.has(s.name)]
            say(f"{workload.title}: {', '.join(names)}")
            cells += await running.measure(workload, names, rounds or workload.rounds)
    return Results(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        seconds=round(time.monotonic() - began),
        is_pinned=placement.is_pinned,
        window=effort.window,
        machine=machine,
        subjects=subjects,
        cells=cells,
    )
