"""Dash's own requests to two addresses."""

from __future__ import annotations

import json
from itertools import count

import pytest
from aiohttp import web

from proxy.doctor.compare import Compared, NoDash, as_json, compare, lines_of
from proxy.doctor.endpoint import Endpoint
from tests.proxy.doctor.site import HTML, JSON, Site, page, serving

ASSET = "/assets/a.css"


def dash() -> Site:
    html = page(html=f'<link href="{ASSET}">')
    return Site(
        {"/": (200, HTML, html), ASSET: (200, "text/css", "body {}"), "*": (200, JSON, "[]")}, headers={"ETag": "1"}
    )


async def compared(direct: Site, gateway: Site) -> list[Compared]:
    async with serving(direct), serving(gateway):
        ends = Endpoint("direct", f"{direct.url}/"), Endpoint("gateway", f"{gateway.url}/")
        try:
            return [each async for each in compare(*ends)]
        finally:
            for end in ends:
                await end.close()


async def test_two_that_are_the_same_and_one_that_loses_an_asset() -> None:
    found = await compared(dash(), dash())
    assert [str(each.request) for each in found if each.differences] == []
    assert "GET /assets/a.css (conditional, asset)" in [str(each.request) for each in found]
    broken = dash()
    broken.answers[ASSET] = (404, HTML, "none")
    found = await compared(dash(), broken)
    assert {each.request.path for each in found if each.differences} == {ASSET}
    values = json.loads(json.dumps(as_json(("a", "b"), found, 1)))
    assert {each["what"] for each in values["requests"][-1]["differences"]} == set()
    (asset,) = (each for each in found if each.request.about == "asset")
    lines = list(lines_of(asset))
    assert lines[0].startswith("✗ GET /assets/a.css (asset): 200, ")
    assert lines[1] == "    status: 200 direct, 404 through the gateway"
    assert lines[-1] == "    body: 7 bytes, from byte 0: body {} direct, 4 bytes, from byte 0: none through the gateway"


class Counting(Site):
    """Its layout is another one each time."""

    numbers = count()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/_dash-layout":
            return web.json_response(next(self.numbers))
        return await super().answer(request)


async def test_a_body_that_varies_by_itself_is_not_compared() -> None:
    found = await compared(Counting(dash().answers), Counting(dash().answers))
    (layout,) = (each for each in found if each.request.about == "layout")
    assert (layout.differences, layout.is_body_left_out) == ([], True)
    assert next(lines_of(layout)).endswith("; the body varies by itself")


async def test_no_page_of_dash() -> None:
    with pytest.raises(NoDash, match="/ answers 404 text/plain, and that is no page of Dash"):
        await compared(Site(), Site())
