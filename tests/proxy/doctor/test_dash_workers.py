"""The area ``workers``: processes of Dash that are not the same."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web

from proxy.doctor.dash_workers import AT_ONCE, ROUNDS, probe
from proxy.doctor.probe import Skipped
from tests.proxy.doctor.site import HTML, JSON, Site, page, set_up


class Workers(Site):
    """Each request is taken by the next of three processes, which differ in what ``differing`` names."""

    def __init__(self, *differing: str) -> None:
        hot = {"interval": 1000, "max_retry": 8}
        super().__init__({"/": (200, HTML, page(hot_reload=hot)), "/_dash-dependencies": (200, JSON, "[]")})
        self._differing, self._numbers = differing, count()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        process = next(self._numbers) % 3
        if request.path == "/_reload-hash":
            value = process if "reload" in self._differing else 0
            return web.json_response({"reloadHash": f"hash-{value}"})
        if request.path == "/_dash-dependencies" and "callbacks" in self._differing:
            return web.json_response([process])
        response = await super().answer(request)
        if request.path == "/":
            key = str(process if "key" in self._differing else 0)
            if not request.cookies.get("session", "").endswith(key):
                response.headers["Set-Cookie"] = f"session=made-by-{key}; Path=/"
        return response


@pytest.mark.parametrize(("differing", "expected"), [("callbacks", "DW053"), ("reload", "DW054"), ("key", "DW055")])
async def test_each_difference_is_a_finding(tmp_path: Path, differing: str, expected: str) -> None:
    async with set_up(tmp_path, Workers(differing)) as target:
        assert [finding.id for finding in (await probe(target)).findings] == [expected]


async def test_processes_that_are_the_same_and_a_dash_that_does_not_answer(tmp_path: Path) -> None:
    async with set_up(tmp_path, Workers()) as target:
        outcome = await probe(target)
        assert (outcome.seen, outcome.findings) == (f"{AT_ONCE * ROUNDS} requests got the same app", [])
    async with set_up(tmp_path, Site({"/": (200, HTML, page())})) as target:
        with pytest.raises(Skipped, match="does not answer what pages ask for"):
            await probe(target)


async def test_a_session_that_aiohttp_reads_and_does_not_send_is_not_shown(tmp_path: Path) -> None:
    """Control characters are read in a field; to send them is a ValueError."""
    async with set_up(tmp_path, Workers()) as target:
        read = await target.page(target.dash)
        answer = replace(read.answer, fields=(("Set-Cookie", "session=a\x1bb; Path=/"),))
        target._pages[target.dash, target.page_path] = replace(read, answer=answer)
        assert (await probe(target)).findings == []
