"""The area ``auth``: what Dash says of a client, and what happens to the same client where browsers connect."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from proxy.doctor.forward_auth import probe
from proxy.doctor.probe import Outcome, Skipped
from tests.proxy.doctor.site import HTML, Site, page, set_up

RULE = {"path": "/admin", "ask": "/auth"}


class Guarded(Site):
    """Lets a client with a certain cookie pass. blind: it never sees one."""

    blind = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path in self.answers:
            return await super().answer(request)
        return web.Response(status=204 if "user" in request.cookies and not self.blind else 401)


async def outcome_of(
    folder: Path, dash: Site, gateway: Site | None = None, cookie: str = "", **rule: object
) -> Outcome:
    async with set_up(folder, dash, gateway, auth=[{**RULE, **rule}]) as target:
        if cookie:
            target.fields = {"Cookie": cookie}
            for endpoint in (target.dash, target.gateway):
                assert endpoint is not None
                endpoint._fields = target.fields
        return await probe(target)


def ids(outcome: Outcome) -> list[str]:
    return [finding.id for finding in outcome.findings]


async def test_a_client_that_passes_and_one_whose_cookie_does_not_arrive(tmp_path: Path) -> None:
    blind = Guarded()
    blind.blind = True
    assert ids(await outcome_of(tmp_path, Guarded(), Guarded(), "user=ada")) == []
    assert ids(await outcome_of(tmp_path, Guarded(), blind, "user=ada")) == ["DW057"]
    assert ids(await outcome_of(tmp_path, Guarded(), blind, "other=ada")) == []
    outcome = await outcome_of(tmp_path, Guarded())
    assert "give -H 'Cookie: ...'" in outcome.seen


async def test_a_path_that_dash_does_not_know_and_one_that_lets_all_pass(tmp_path: Path) -> None:
    assert ids(await outcome_of(tmp_path, Site({"/auth": (200, HTML, page())}))) == ["DW058"]
    open_to_all = Site({"/auth": (200, HTML, "")})
    assert ids(await outcome_of(tmp_path, open_to_all)) == ["DW059"]
    assert ids(await outcome_of(tmp_path, open_to_all, copy_headers=["X-User"])) == []


async def test_without_a_rule_that_asks_there_is_nothing_to_ask(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="no rule that asks"):
        await outcome_of(tmp_path, Site(), ask=None)
