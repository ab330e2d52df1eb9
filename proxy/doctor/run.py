"""Run the probes of a set-up, one area after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from proxy.doctor import programs
from proxy.doctor.finding import Finding
from proxy.doctor.probe import Area, Outcome, Skipped
from proxy.doctor.target import Target

AREAS: Sequence[Area] = (Area("programs", "whether the programs run", programs.probe),)
"""In the order in which they are probed: later ones use what earlier ones found out."""


async def examine(
    target: Target, areas: Sequence[Area], begin: Callable[[Area], None], end: Callable[[Area, Outcome], None]
) -> list[Finding]:
    """Probe each area; return what was found.

    begin, end: called before and after each area, to show it. Cancelling ends the probe that runs.
    """
    findings: list[Finding] = []
    async with target.opened():
        for area in areas:
            begin(area)
            outcome = await _outcome(area, target)
            findings += outcome.findings
            end(area, outcome)
    return findings


async def _outcome(area: Area, target: Target) -> Outcome:
    try:
        async with asyncio.timeout(area.deadline):
            return await area.probe(target)
    except Skipped as reason:
        return Outcome(str(reason), is_skipped=True)
    except TimeoutError:
        why = f"no answer within {area.deadline:g} s"
    except (aiohttp.ClientError, OSError) as error:
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    seen = f"the probe of {area.name} was not finished: {why}"
    return Outcome(findings=[target.found("DW019", seen, "repair what is above it, and try again")])
