"""What the gateway is tried with: many sockets, slow clients, clients that do not read, an upstream that restarts.

Each returns its figures with their bounds; the numbers are arguments, so that the ordinary suite can run small ones.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.load.checks import Check, percentile
from tests.load.clients import Asker, Ended, Refused, Socket, address_of, connect
from tests.load.crowd import crowd, some_at_a_time
from tests.load.origin import page
from tests.load.stage import HANDED, TUNNEL, Stage, staged
from tests.wire.messages import request

MIB = 1 << 20

TIMES_SLOWER = 3.0
"""What the p99 of ordinary requests may be under load, in terms of the idle p99 of the same run."""

COMES_BACK = (1001, 1012, 1013)
"""Close codes after which the clients of Dash and of others come back, and know why. 1006 (none at all) says nothing;
1000 and 4001 make Dash's stay away."""


class Figures:
    """Latencies of ordinary GETs."""

    def __init__(self, latencies: list[float], wrong: int) -> None:
        self._latencies = latencies
        self.p50, self.p99 = (percentile(latencies, share) * 1000 for share in (0.5, 0.99))
        self.count = len(latencies)
        self.wrong = wrong

    def __add__(self, other: Figures) -> Figures:
        return Figures(self._latencies + other._latencies, self.wrong + other.wrong)

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} ms, p99 {self.p99:.2f} ms of {self.count}"


async def ordinary_gets(stage: Stage, seconds: float, *, rate: float = 200, clients: int = 4) -> Figures:
    """Ask for pages at a steady rate, and check each."""
    latencies: list[float] = []
    wrong = 0

    async def client(number: int) -> None:
        nonlocal wrong
        asker = Asker(stage.port, source=address_of(number))
        due = time.monotonic() + number / rate
        end = due + seconds
        while due < end:
            await asyncio.sleep(due - time.monotonic())
            due = max(due + clients / rate, time.monotonic())
            began = time.perf_counter()
            answer = await asker.ask(f"GET /page/{number}")
            latencies.append(time.perf_counter() - began)
            wrong += answer.body != page(str(number)).encode()
        asker.leave()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number))
    return Figures(latencies, wrong)


def as_idle(what: str, idle: Figures, during: Figures) -> list[Check]:
    """Compare the latencies of ordinary requests under load with the idle ones, of before and after it."""
    ratio = during.p99 / idle.p99
    return [
        Check(f"GET p99 {what}", ratio, TIMES_SLOWER, " x the idle one", f"{during}; idle {idle}"),
        Check(f"wrong GETs {what}", during.wrong + idle.wrong, 0),
    ]


async def many_sockets(folder: Path, *, tunnels: int, handed: int, seconds: float) -> list[Check]:
    """Hold tunnels, then handed-off sockets beside them, a twentieth of each talking, and ask for pages meanwhile."""
    async with staged(folder) as stage:
        await ordinary_gets(stage, seconds / 4)  # everything is loaded and made once
        idle = await ordinary_gets(stage, seconds)
        files, memory = stage.descriptors(), stage.memory()
        async with crowd("sockets", stage.port, TUNNEL, tunnels, tunnels // 20) as through:
            there = (await stage.ready())["in_flight"]
            each = (stage.memory() - memory) / tunnels / 1024
            with_tunnels = await ordinary_gets(stage, seconds)
            files_with_tunnels = stage.descriptors()
            async with crowd("sockets", stage.port, HANDED, handed, handed // 20) as away:
                with_all = await ordinary_gets(stage, seconds)
                await settled(stage, files_with_tunnels)  # idle connections to the upstreams are not of the sockets
                more_files = stage.descriptors() - files_with_tunnels
        await settled(stage, files)
        left = leftovers(stage, files)
        idle += await ordinary_gets(stage, seconds)
        lost = through.counts["lost"] + through.counts["wrong"] + away.counts["lost"] + away.counts["wrong"]
        echoes = through.counts["echoes"] + away.counts["echoes"]
        return [
            Check("tunnels that are not open", tunnels - there, 0, note=f"{there:,} are"),
            *as_idle(f"with {tunnels:,} tunnels", idle, with_tunnels),
            Check("descriptors per socket handed over", more_files / handed, 0.01, note=f"{handed:,} sockets"),
            *as_idle(f"with {handed:,} handed-off sockets too", idle, with_all),
            Check("messages lost or wrong", lost, 0, note=f"{echoes:,} came back"),
            Check(
                "sockets that did not close with 1000", other_codes(through.counts + away.counts, tunnels + handed), 0
            ),
            Check("memory per tunnel", each, unit=" KiB"),
            *left,
        ]


async def slow_clients(folder: Path, *, count: int, seconds: float, pause: float = 1.0) -> list[Check]:
    """Let connections trickle heads and bodies or say nothing, and ask for pages meanwhile."""
    async with staged(folder, has_service=False) as stage:
        await ordinary_gets(stage, seconds / 4)
        idle = await ordinary_gets(stage, seconds)
        files, memory = stage.descriptors(), stage.memory()
        async with crowd("slow", stage.port, count, pause) as slow:
            during = await ordinary_gets(stage, seconds)
            each = (stage.memory() - memory) / count / 1024
            most = stage.descriptors() - files
        await settled(stage, files)
        left = leftovers(stage, files)
        idle += await ordinary_gets(stage, seconds)
        ways = ", ".join(f"{what} {n}" for what, n in sorted(slow.counts.items()))
        return [
            *as_idle(f"with {count:,} slow clients", idle, during),
            Check("memory per slow client", each, 64, " KiB"),
            Check("descriptors for the slow clients", most, note=ways),
            *left,
        ]


async def unread(folder: Path, *, count: int, size: int, read: int) -> list[Check]:
    """Have the origin send to clients that do not read, over tunnels and as downloads; then some read all of it.

    size: bytes for each. read: how many of them read in the end; the others vanish.
    """
    checks = []
    async with staged(folder, has_service=False) as stage:
        for what, begin in (("tunnel", flooded), ("download", downloading)):
            reader, leave = await begin(stage, 1)
            await reader.read()
            leave()  # everything is loaded and made once
            memory, sent = stage.memory(), await stage.sent()
            clients = [await begin(stage, size) for _ in range(count)]
            held = await until_it_stops(stage) - sent
            stalled = stage.memory() - memory
            peak = await read_all([reader for reader, _ in clients[:read]], size, stage) - memory
            for _, leave in clients:
                leave()
            note = f"{count} at once, {size / MIB:,.0f} MiB each, {held / count / MIB:.1f} MiB each sent into the wait"
            checks += [
                Check(f"memory per {what} that is not read", stalled / count / MIB, 4, " MiB", note),
                Check(f"memory per {what} while {read} are read", peak / count / MIB, 4, " MiB"),
            ]
        checks.append(Check("faults in the gateway's log", len(stage.faults("gateway")), 0))
    return checks


Begun = tuple[asyncio.StreamReader, Callable[[], None]]


async def flooded(stage: Stage, size: int) -> Begun:
    """Open a WebSocket that is sent ``size`` bytes, and read nothing of it."""
    socket = await Socket.open(stage.port, f"/flood/{size}", receive_buffer=65536)
    return socket.reader, socket.reset


async def downloading(stage: Stage, size: int) -> Begun:
    """Ask for ``size`` bytes, and read nothing of them."""
    reader, writer = await connect(stage.port, receive_buffer=65536)
    writer.write(request(f"GET /bytes/{size}", "Connection: close"))
    return (
        reader,
        lambda: writer.transport.abort(),
    )  # the writer must live: it closes the connection when it is collected


async def until_it_stops(stage: Stage) -> int:
    """Wait until the origin has been kept from sending for a second; return how much it has sent."""
    before = -1
    while (now := await stage.sent()) != before:
        before = now
        await asyncio.sleep(1)
    return now


async def read_all(readers: list[asyncio.StreamReader], size: int, stage: Stage) -> int:
    """Read everything, in fits and starts; return the most memory that the gateway had meanwhile."""
    peak = stage.memory()

    async def read_one(reader: asyncio.StreamReader) -> None:
        got = 0
        while data := await reader.read(MIB):
            if got // (64 * MIB) != (got + len(data)) // (64 * MIB):
                await asyncio.sleep(0.2)
            got += len(data)
        if got < size:
            raise AssertionError(f"{got} of {size} bytes came")

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, stage.memory())
            await asyncio.sleep(0.1)

    watching = asyncio.get_running_loop().create_task(watch(), name="peak of the gateway's memory")
    try:
        await asyncio.gather(*map(read_one, readers))
    finally:
        watching.cancel()
    return peak


async def restart(
    folder: Path, *, name: str, is_polite: bool, down: float = 5.0, rate: float = 100, sockets: int = 200
) -> list[Check]:
    """Restart an upstream while GETs and handshakes arrive at a steady rate.

    name: ``origin`` or ``service``. is_polite: SIGTERM; otherwise SIGKILL. down: seconds between its end and its
    start. sockets: that are open when it goes.
    """
    async with staged(folder) as stage:
        arrivals = Arrivals(stage, TUNNEL if name == "origin" else HANDED)
        await arrivals.hold(sockets)
        async with asyncio.TaskGroup() as group:
            changing = group.create_task(_restart(stage, name, is_polite=is_polite, down=down), name="restart")
            await arrivals.come(rate, changing)
        never = await arrivals.still_open()
        codes = arrivals.codes
        seen = ", ".join(f"{code} {count}" for code, count in sorted(codes.items()))
        silent = never + sum(count for code, count in codes.items() if code not in COMES_BACK)
        longest, half = max(arrivals.waits), percentile(arrivals.waits, 0.5)
        how = f"{name} {'stopped' if is_polite else 'killed'}, away for {down:g} s"
        return [
            _failed(f"GETs that failed, {how}", arrivals.gets),
            _failed(f"handshakes that failed, {how}", arrivals.handshakes),
            Check(f"open sockets that nothing calls back, {how}", silent, 0, note=f"{seen}; {never} never closed"),
            Check("longest wait", longest, unit=" s", note=f"half waited up to {half:.3f} s"),
            Check("faults in the gateway's log", len(stage.faults("gateway")), 0),
        ]


class Arrivals:
    """GETs and handshakes that come at a steady rate, sockets that are open meanwhile, and what became of each.

    target: of the handshakes.
    """

    def __init__(self, stage: Stage, target: str) -> None:
        self._stage = stage
        self._target = target
        self._kept: list[Asker] = []
        self._held: list[asyncio.Task[None]] = []
        self.gets: Counter[str] = Counter()
        self.handshakes: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.waits: list[float] = []

    async def hold(self, count: int) -> None:
        """Open so many sockets, and listen on each to its end."""
        await some_at_a_time(self._hold(number) for number in range(count))

    async def come(self, rate: float, meanwhile: asyncio.Task[None]) -> None:
        """Have ``rate`` of them come each second while something is done; every fifth is a handshake."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            number = 0
            while not meanwhile.done():
                number += 1
                one = self._get(number) if number % 5 else self._shake_hands(number)
                counts = self.gets if number % 5 else self.handshakes
                group.create_task(self._count(one, counts), name=f"arrival {number}")
                await asyncio.sleep(began + number / rate - time.monotonic())

    async def still_open(self, timeout: float = 10.0) -> int:
        """Return how many of the sockets held have not ended within so many seconds, and let go of them."""
        await asyncio.wait(self._held, timeout=timeout)
        staying = [task for task in self._held if not task.done()]
        for task in staying:
            task.cancel()
        return len(staying)

    async def _count(self, one: Awaitable[str], counts: Counter[str]) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(60):
                counts[await one] += 1
        except Refused as error:
            counts[f"answered with {error.status}"] += 1
        except (OSError, EOFError, Ended, TimeoutError) as error:
            counts[type(error).__name__] += 1
        self.waits.append(time.monotonic() - began)

    async def _get(self, number: int) -> str:
        asker = self._kept.pop() if self._kept and number % 2 else Asker(self._stage.port, source=address_of(number))
        answer = await asker.ask(f"GET /page/{number}")
        self._kept.append(asker)
        is_right = answer.status == 200 and answer.body == page(str(number)).encode()
        return "answered" if is_right else f"answered with {answer.status}"

    async def _shake_hands(self, number: int) -> str:
        socket = await Socket.open(self._stage.port, self._target, source=address_of(number))
        socket.begin_to_close()
        await end_of(socket)
        return "answered"

    async def _hold(self, number: int) -> None:
        socket = await Socket.open(self._stage.port, self._target, source=address_of(number))
        listening = self._note_end(socket)
        self._held.append(asyncio.get_running_loop().create_task(listening, name="socket that is open meanwhile"))

    async def _note_end(self, socket: Socket) -> None:
        self.codes[await end_of(socket)] += 1


async def _restart(stage: Stage, name: str, *, is_polite: bool, down: float) -> None:
    await asyncio.sleep(3)  # before, and behind: both sides of it are part of the load
    await asyncio.to_thread(stage.stop if is_polite else stage.kill, name)
    await asyncio.sleep(down)
    await stage.start(name)
    await asyncio.sleep(3)


async def end_of(socket: Socket) -> int:
    """Wait for the end of a socket; return its close code."""
    try:
        while True:
            await socket.hear()
    except Ended as end:
        return end.code
    finally:
        socket.close()


async def settled(stage: Stage, files: int, *, timeout: float = 20.0) -> None:
    """Wait until the gateway has no more files open than it had, or until timeout ends."""
    deadline = time.monotonic() + timeout
    while stage.descriptors() > files and time.monotonic() < deadline:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.2)


def leftovers(stage: Stage, files: int) -> list[Check]:
    """Check that nothing is left of a load."""
    return [
        Check("descriptors left over", stage.descriptors() - files, 0),
        Check("faults in the gateway's log", len(stage.faults("gateway")), 0, note=" | ".join(stage.faults("gateway"))),
    ]


def other_codes(counts: Counter[str], count: int) -> int:
    """Count sockets that did not end with 1000."""
    return count - counts["closed with 1000"]


def _failed(what: str, counts: Counter[str]) -> Check:
    kinds = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
    return Check(what, counts.total() - counts["answered"], 0, note=kinds)
