"""``make soak``: everything goes wrong for ten minutes, and nothing may be lost or left over.

Sockets open, talk and end in seven ways, half of them through the tunnel and half handed over; pages are asked for,
orders are given, events are listened to. Meanwhile the origin and the service are killed again and again, and the
gateway's config is read again, also when it is wrong. Exit code 1 when a bound is not held.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.load.checks import Check, all_held, table
from tests.load.stage import LIMITS, Stage, staged
from tests.soak.ledger import done_twice, not_done
from tests.soak.troubles import Pace, Troubles
from tests.soak.visitors import Seen, Visitors

MIB = 1 << 20

GROWTH = 16 * MIB
"""Bytes of memory that the gateway may have more at the end than behind the warm-up. The allocator keeps what was used
at once, which takes some minutes to reach its height (6 to 8 MiB with 2,000 sockets). Ten minutes are 60,000 sockets:
whatever would be forgotten of each of them, be it 280 bytes, goes beyond this."""

LEAVING = 60.0
"""Seconds for everybody to leave when a round is over."""

QUIET = 20.0
"""Seconds for the gateway to close what nobody uses any more."""


@dataclass(frozen=True)
class Base:
    """What the gateway has when nobody is there."""

    descriptors: int
    tasks: int
    in_flight: int
    connections: int
    websockets: int
    private: int
    pss: int


async def soak(folder: Path, *, seconds: float, warm_up: float, sockets: int, pace: Pace) -> list[Check]:
    """Run two rounds, and compare what the gateway has after each."""
    # Half of the sockets may wait for an upstream that is away, and all the requests.
    async with staged(folder, limits={**LIMITS, "waiting": 2 * sockets}) as stage:
        await a_round(stage, "warm-up", warm_up, sockets, pace)
        base = await quiet(stage, None)
        seen = await a_round(stage, "soak", seconds, sockets, pace)
        end = await quiet(stage, base)
        book = stage.book.read_text().split()
        return [*lasting(seen, book), *back_to(base, end), *said(stage)]


async def a_round(stage: Stage, name: str, seconds: float, sockets: int, pace: Pace) -> Seen:
    """Let everybody come, everything go wrong, and everybody leave."""
    seen = Seen()
    visitors = Visitors(stage, seen, name)
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(visit, name=f"visitor {n}") for n, visit in enumerate(visitors.all(sockets))]
    troubles = loop.create_task(Troubles(stage, seen, seconds, pace).run(), name="troubles")
    watching = loop.create_task(watch(stage, seen, name, seconds), name="watch")
    try:
        await asyncio.wait({watching, troubles}, return_when=asyncio.FIRST_EXCEPTION)
        await watching
        await troubles
        visitors.is_over.set()
        _, staying = await asyncio.wait(tasks, timeout=LEAVING)
        if staying:
            seen.breach("a visitor cannot leave", f"{len(staying)} of them")
        for task in set(tasks) - staying:
            if (fault := task.exception()) is not None:
                seen.breach("a fault of the soak itself", repr(fault))
    finally:
        for task in (watching, troubles, *tasks):
            task.cancel()
        await asyncio.gather(watching, troubles, *tasks, return_exceptions=True)
    return seen


async def watch(stage: Stage, seen: Seen, name: str, seconds: float) -> None:
    """Wait for the end of a round; say twenty times how it goes. Raises Failed when the gateway has ended."""
    began = time.monotonic()
    for part in range(1, 21):
        while (left := began + seconds * part / 20 - time.monotonic()) > 0:
            stage.check()
            await asyncio.sleep(min(1.0, left))
        print(
            f"{name}: {seconds * part / 20:.0f} of {seconds:.0f} s, {seen.handshakes['answered']:,} sockets, "
            f"{seen.messages:,} messages, {seen.breaches.total()} breaches, "
            f"{stage.descriptors():,} descriptors, {stage.memory() / MIB:.1f} MiB",
            file=sys.stderr,
            flush=True,
        )


async def quiet(stage: Stage, base: Base | None) -> Base:
    """Wait until the gateway has let go of everything, at most ``QUIET`` seconds; return what it still has.

    base: what to wait for. None: until nothing has changed for two seconds.
    """
    deadline = time.monotonic() + QUIET
    before: Base | None = None
    while True:
        ready = await stage.ready()
        counted = (ready[key] for key in ("tasks", "in_flight", "connections", "websockets"))
        now = Base(stage.descriptors(), *counted, private=stage.memory(), pss=stage.pss())
        is_steady = before is not None and (now.descriptors, now.tasks) == (before.descriptors, before.tasks)
        is_back = base is not None and now.descriptors <= base.descriptors and now.tasks <= base.tasks
        if is_back or (base is None and is_steady and not now.in_flight) or time.monotonic() > deadline:
            return now
        before = now
        await asyncio.sleep(2)  # longer than the gateway keeps an idle connection to an upstream


def lasting(seen: Seen, book: list[str]) -> list[Check]:
    """Check that nothing that was acknowledged is lost, and nothing was done twice."""
    twice, missing = done_twice(book), not_done(seen.acknowledged, book)
    kills = ", ".join(f"{name} killed {count} times" for name, count in seen.kills.items())
    failed_gets = seen.gets.total() - seen.gets["answered"]
    failed_handshakes = seen.handshakes.total() - seen.handshakes["answered"]
    return [
        Check("sockets opened", seen.handshakes["answered"], note=kills),
        Check("configs read again", seen.reloads.total(), note=_kinds(seen.reloads)),
        Check("ways they ended", len(seen.ends), note=_kinds(seen.ends)),
        Check("messages that came back, in order, once", seen.messages),
        Check("handshakes that failed", failed_handshakes, 0, note=_kinds(seen.handshakes)),
        Check("GETs that failed", failed_gets, 0, note=_kinds(seen.gets)),
        Check("POSTs", seen.posts.total(), note=_kinds(seen.posts)),
        Check("POSTs done twice", len(twice), 0, note=" ".join(twice[:10])),
        Check("POSTs acknowledged and not done", len(missing), 0, note=" ".join(missing[:10])),
        Check("event streams", seen.streams.total(), note=_kinds(seen.streams)),
        Check("what may never happen", seen.breaches.total(), 0, note=_kinds(seen.breaches)),
        *(Check(f"  {example}", 1, 0) for example in seen.examples),
    ]


def back_to(base: Base, end: Base) -> list[Check]:
    """Check that the gateway has no more than it had."""
    private = f"{base.private / MIB:.1f} before, {end.private / MIB:.1f} now"
    return [
        Check("requests in flight", end.in_flight, 0),
        Check("connections still counted", end.connections, 0),
        Check("WebSockets still counted", end.websockets, 0),
        Check("descriptors more than before", end.descriptors - base.descriptors, 0, note=f"{base.descriptors} before"),
        Check("tasks more than before", end.tasks - base.tasks, 0, note=f"{base.tasks} before"),
        Check("private memory more than before", (end.private - base.private) / MIB, GROWTH / MIB, " MiB", private),
        Check("proportional memory more than before", (end.pss - base.pss) / MIB, unit=" MiB"),
    ]


def said(stage: Stage) -> list[Check]:
    """Check that no log tells of a fault."""
    return [
        Check(f"faults in the {whose} log", len(faults), 0, note=" | ".join(faults[:3]))
        for whose, faults in (("gateway's", stage.faults("gateway")), ("service's", stage.faults("service")))
    ]


def _kinds(counted: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(counted.items(), key=lambda item: -item[1]))


async def main(options: argparse.Namespace, folder: Path) -> list[Check]:
    """Soak until it is over, or until a signal."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    seconds = options.minutes * 60
    short = min(1.0, seconds / 180)  # of a short run each trouble is still a part
    return await soak(
        folder,
        seconds=seconds,
        warm_up=max(10.0, seconds / 10),
        sockets=options.sockets,
        pace=Pace(20 * short, 60 * short, 15 * short),
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="beside the warm-up, which takes a tenth more")
    parser.add_argument("--sockets", type=int, default=2000, help="open at the same time")
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse()
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as name:
            checks = uvloop.run(main(asked, Path(name)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("soak: stopped before its end; nothing is shown by it", file=sys.stderr)
        sys.exit(130)
    print(table(checks))
    sys.exit(0 if all_held(checks) else 1)
