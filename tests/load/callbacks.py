"""A real Dash is killed and comes back, under GETs, callbacks and handshakes at a steady rate.

Nothing fails that was not sent, and no callback is sent twice: the app writes each of them into a book.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from tests.load.checks import Check, percentile
from tests.load.clients import Asker, Ended, Refused, Socket, address_of, ask
from tests.load.stage import Stage
from tests.load.trials import end_of
from tests.processes import ROOT, python

SOCKET = "/_dash-ws-callback"

NOT_SENT = re.compile(r"upstream (?:unreachable|full|timed out)")
"""What the access log says of a request that failed and of which nothing was sent, or too late."""

SENT = re.compile(r"upstream (?:failed|cut)")


class DashStage(Stage):
    """A stage with a real Dash."""

    def _argv(self, name: str) -> list[str]:
        if name != "origin":
            return super()._argv(name)
        (self.folder / "ordering.py").write_text((ROOT / "tests/load/ordering.py").read_text())
        return python("-m", "uvicorn", "--port", str(self.origin_port), "--log-level", "warning", "ordering:server")


async def callbacks(
    folder: Path,
    *,
    gets: float = 100,
    posts: float = 100,
    handshakes: float = 20,
    down: float = 5.0,
    around: float = 5.0,
) -> list[Check]:
    """Kill Dash, and start it again ``down`` seconds later.

    gets, posts, handshakes: a second. around: seconds before and after it.
    """
    stage = DashStage(folder, {"routes": []})
    load = Load(stage)
    try:
        await stage.start("origin")
        await stage.start("gateway")
        await ask(stage.port, "GET /")  # Dash 4.4.1 is not safe for several requests before its first page
        async with asyncio.TaskGroup() as group:
            over = group.create_task(kill_and_start(stage, down, around), name="restart")
            for one, rate in ((load.get, gets), (load.post, posts), (load.shake_hands, handshakes)):
                group.create_task(load.come(one, rate, over), name="arrivals")
        lines = stage.log("gateway").splitlines()
    finally:
        load.leave()
        stage.close()
    not_sent = [line for line in lines if NOT_SENT.search(line)]
    sent = [line for line in lines if SENT.search(line)]
    orders = Counter(stage.book.read_text().split())
    lost = [order for order in load.taken if order not in orders]
    failed = sum(counts.total() - counts["answered"] for counts in load.counts_by_kind.values())
    how = f"Dash killed, away for {down:g} s"
    return [
        *(
            Check(f"{kind}s that were not answered, {how}", counts.total() - counts["answered"], note=_kinds(counts))
            for kind, counts in load.counts_by_kind.items()
        ),
        Check("failed of which nothing was sent", len(not_sent), 0, note=" | ".join(not_sent[:3])),
        Check("failed without a line that says it was sent", max(0, failed - len(sent)), 0, note=f"{len(sent)} lines"),
        Check("GETs that failed", _failed(load.counts_by_kind["GET"], but="cut"), 0),
        Check("handshakes that failed", _failed(load.counts_by_kind["handshake"]), 0),
        Check(
            "callbacks that were sent twice", sum(times > 1 for times in orders.values()), 0, note=f"{len(orders)} came"
        ),
        Check("callbacks that were answered and never came", len(lost), 0),
        Check(
            "longest wait", max(load.waits), unit=" s", note=f"half waited up to {percentile(load.waits, 0.5):.3f} s"
        ),
        Check("faults in the gateway's log", len(stage.faults("gateway")), 0),
    ]


async def kill_and_start(stage: Stage, down: float, around: float) -> None:
    """Kill the origin, and start it again."""
    await asyncio.sleep(around)
    await asyncio.to_thread(stage.kill, "origin")
    await asyncio.sleep(down)
    await stage.start("origin")
    await asyncio.sleep(around)


class Load:
    """What comes, and what becomes of it."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._idle: list[Asker] = []
        self._numbers = count(1)
        self.counts_by_kind: dict[str, Counter[str]] = {kind: Counter() for kind in ("GET", "POST", "handshake")}
        self.taken: list[str] = []
        self.waits: list[float] = []

    async def come(self, one: Callable[[int], Awaitable[None]], rate: float, over: asyncio.Task[None]) -> None:
        """Have ``rate`` of them come each second until something is over, and wait for their end."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in count(1):
                if over.done():
                    return
                group.create_task(one(next(self._numbers)), name=f"arrival {number}")
                await asyncio.sleep(began + number / rate - time.monotonic())

    def leave(self) -> None:
        """Close every connection."""
        while self._idle:
            self._idle.pop().leave()

    async def get(self, number: int) -> None:
        """Ask for the page."""
        await self._ask("GET", number, f"GET /?{number}")

    async def post(self, number: int) -> None:
        """Ask for a callback."""
        body = {
            "output": "taken.children",
            "outputs": {"id": "taken", "property": "children"},
            "inputs": [{"id": "order", "property": "value", "value": f"order-{number}"}],
            "changedPropIds": ["order.value"],
        }
        said = await self._ask("POST", number, "POST /_dash-update-component", json.dumps(body).encode())
        if f"taken order-{number}".encode() in said:
            self.taken.append(f"order-{number}")

    async def shake_hands(self, number: int) -> None:
        """Open a WebSocket of Dash's own, and close it."""
        began, counts, port = time.monotonic(), self.counts_by_kind["handshake"], self._stage.port
        try:
            async with asyncio.timeout(60):
                socket = await Socket.open(port, SOCKET, f"Origin: http://127.0.0.1:{port}", source=address_of(number))
        except Refused as error:
            counts[f"answered with {error.status}"] += 1
        except (OSError, EOFError, Ended, TimeoutError) as error:
            counts[type(error).__name__] += 1
        else:
            counts["answered"] += 1
            self.waits.append(time.monotonic() - began)
            with suppress(Ended):  # after its 101 it may end as it likes
                socket.begin_to_close()
            await end_of(socket)

    async def _ask(self, kind: str, number: int, line: str, body: bytes = b"") -> bytes:
        asker = self._idle.pop() if self._idle else Asker(self._stage.port, source=address_of(number))
        began, fields = time.monotonic(), ("Content-Type: application/json",) if body else ()
        try:
            async with asyncio.timeout(60):
                answer = await asker.ask(line, *fields, body=body)
        except (OSError, EOFError, TimeoutError) as error:
            self.counts_by_kind[kind]["cut" if isinstance(error, EOFError) else type(error).__name__] += 1
            return b""
        self._idle.append(asker)
        self.waits.append(time.monotonic() - began)
        self.counts_by_kind[kind]["answered" if answer.status == 200 else f"answered with {answer.status}"] += 1
        return answer.body


def _failed(counts: Counter[str], but: str = "") -> int:
    return counts.total() - counts["answered"] - counts[but]


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {times}" for kind, times in counts.most_common())
