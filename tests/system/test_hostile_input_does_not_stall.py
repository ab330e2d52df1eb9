"""No client makes the loop stand still (issue 9, A2 and A13): hostile input at 2 MB/s, and others' requests beside it.

The input is that of ``make load``, and so is the measurement: requests at a steady rate, from another process, each
timed from the moment at which it is due. The suite shares its machine, so what is counted is the CPU time that the
process has had since then, and the bound is wider; the code that this was written against was busy for 0.4 to 50 s.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.load.checks import percentile
from tests.load.inputs import INPUTS, Input
from tests.load.stall import Scene, cpu_of, scene_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECONDS = 0.6

MOST = 0.25
"""Seconds of CPU that a request may take. One in twenty may take longer: a stall that is longer than this by a tenth of
a second is seen by one request in seven."""

TWICE = 2.6
"""What twice the bytes may cost, in terms of once."""

LARGE = {
    "chunks of 1 byte behind zeros",
    "chunks with extensions, again when refused",
    "chunks in segments of 1 byte",
    "128 fields of one name",
    "TE of 60 KB",
    "Upgrade of 60 KB",
    "Sec-WebSocket-Extensions of 60 KB",
    "Cookie of 60 KB",
    "path of %25, no query",
    "refused requests: 403",
    "pings of 125 bytes",
    "frames cut at odd places",
    "empty frames, TLS",
    "pings of 125 bytes, handed over",
    "frames cut at odd places, handed over",
    "to the hub: 60,000 lists in one another",
    "to the hub: objects of 60 KB",
    "to the hub: texts of 60 KB, all escapes",
}
"""What ``make load`` alone has: each is like one of the others."""

ALONE = {"answer in chunks of 1 byte"}
"""More of it comes at once where the gateway has to wait for a CPU, and then it is busy for as long as the bound."""

SMALL = [
    pytest.param(name, marks=[pytest.mark.alone] if name in ALONE else [])
    for name, given in INPUTS.items()
    if name not in LARGE and not given.settings
]
"""Those that need no settings of their own share the processes."""


class Scenes:
    """One scene for each way in; a new one behind a failure, so that one stall is one failure."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scenes: dict[tuple[bool, bool], tuple[AsyncExitStack, Scene]] = {}

    async def of(self, given: Input) -> Scene:
        key = (given.is_tls, given.is_handed)
        if key not in self._scenes:
            stack = AsyncExitStack()
            folder = self._folder / f"scene{len(list(self._folder.iterdir()))}"
            self._scenes[key] = stack, await stack.enter_async_context(scene_for(folder, given))
        return self._scenes[key][1]

    async def spoil(self, given: Input) -> None:
        """Have a new scene set for the next one."""
        stack, _ = self._scenes.pop((given.is_tls, given.is_handed))
        await stack.aclose()

    async def close(self) -> None:
        for stack, _ in self._scenes.values():
            await stack.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scenes]:
    scenes = Scenes(tmp_path_factory.mktemp("stall"))
    try:
        yield scenes
    finally:
        await scenes.close()


@pytest.mark.parametrize("name", SMALL)
async def test_no_client_waits_for_another(scenes: Scenes, name: str) -> None:
    given = INPUTS[name]
    scene = await scenes.of(given)
    pages, echoes, poured = await scene.beside(given, SECONDS, in_cpu=True)
    slowest = {what: percentile(found, 0.95) for what, found in (("pages", pages), ("echoes", echoes)) if found}
    faults = scene.stage.faults("gateway")
    if max(slowest.values()) > MOST or faults:
        await scenes.spoil(given)
    assert max(slowest.values()) <= MOST, f"p95 in seconds: {slowest}; {poured}"
    assert poured["taken"] > 1000, f"the input has hardly come in: {poured}"
    assert not faults, faults


async def test_what_is_left_out_is_in_the_large_table() -> None:
    assert set(INPUTS) >= LARGE


@pytest.mark.parametrize("name", ["chunks of 1 byte", "trailers of 4 bytes", "empty frames"])
async def test_twice_the_bytes_cost_twice_the_time(tmp_path: Path, name: str) -> None:
    each, ratio = await cpu_of(tmp_path, INPUTS[name])
    assert not math.isnan(ratio), "so many bytes were not worked off in time"
    assert ratio <= TWICE, f"{each * 1e9:.0f} ns a byte"
