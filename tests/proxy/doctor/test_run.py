"""Areas are probed one after the other, whatever each of them meets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from proxy.doctor.probe import Area, Outcome, Probe, Skipped
from proxy.doctor.run import AREAS, examine
from proxy.doctor.target import Target
from tests.proxy.doctor.test_target import target_of


def raises(error: BaseException) -> Probe:
    async def probe(_: Target) -> Outcome:
        raise error

    return probe


async def _good(target: Target) -> Outcome:
    return Outcome("all is well", [target.found("DW021", "Dash is away")])


async def _hanging(_: Target) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_probe_that_skips_fails_or_hangs_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    areas = [
        Area("skipped", "?", raises(Skipped("there is none"))),
        Area("broken", "?", raises(aiohttp.ServerDisconnectedError())),
        Area("hanging", "?", _hanging, deadline=0.01),
        Area("good", "?", _good),
    ]
    begun: list[str] = []
    ended: dict[str, Outcome] = {}
    await examine(
        target_of(tmp_path), areas, lambda area: begun.append(area.name), lambda a, o: ended.update({a.name: o})
    )
    assert begun == list(ended) == ["skipped", "broken", "hanging", "good"]
    assert (ended["skipped"].seen, ended["skipped"].is_skipped) == ("there is none", True)
    findings = [finding for outcome in ended.values() for finding in outcome.findings]
    assert [finding.id for finding in findings] == ["DW019", "DW019", "DW021"]
    assert findings[0].seen == "the probe of broken was not finished: ServerDisconnectedError: Server disconnected"
    assert findings[1].seen == "the probe of hanging was not finished: no answer within 0.01 s"


async def test_a_fault_of_a_probe_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        await examine(
            target_of(tmp_path), [Area("a", "?", raises(KeyError()))], lambda _: None, lambda area, outcome: None
        )


def test_names_of_areas_are_short_and_differ() -> None:
    names = [area.name for area in AREAS]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 10 for name in names)


async def test_what_takes_long_runs_beside_the_others_and_is_shown_last(tmp_path: Path) -> None:
    is_done = asyncio.Event()

    async def slow(_: Target) -> Outcome:
        await is_done.wait()
        return Outcome("slow")

    async def fast(_: Target) -> Outcome:
        is_done.set()
        return Outcome("fast")

    areas = [Area("slow", "?", slow, deadline=None, is_beside=True), Area("fast", "?", fast)]
    ended: list[str] = []
    await examine(target_of(tmp_path), areas, lambda _: None, lambda _, outcome: ended.append(outcome.seen))
    assert ended == ["fast", "slow"]
