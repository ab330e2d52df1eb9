"""The area ``sockets``: handshakes for the service, of the app's pages and of another site's."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from proxy.doctor.probe import Outcome, Skipped
from proxy.doctor.sockets import probe
from proxy.doctor.target import OTHER_SITE, Target
from tests.proxy.doctor.site import HTML, Site, page, set_up

HUB = "/connection/websocket"

PAGE = {"/": (200, HTML, page())}


async def outcome_of(folder: Path, site: Site, **settings: object) -> Outcome:
    async with set_up(folder, site, **settings) as target:  # type: ignore[arg-type]
        return await probe(target)


def ids(outcome: Outcome) -> list[str]:
    return [finding.id for finding in outcome.findings]


def without_hub(target: Target) -> None:
    target.service = target.service.model_copy(update={"hub": target.service.hub.model_copy(update={"enabled": False})})


async def test_a_hub_that_opens_for_the_apps_pages_alone(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, Site(PAGE, {HUB: {"{gateway}"}}))
    assert (outcome.seen, outcome.findings) == (f"the hub opens at {HUB}", [])
    below = Site({"/": (200, HTML, page(prefix="/x/"))}, {f"/x{HUB}": {"{gateway}"}})
    assert (await outcome_of(tmp_path, below)).seen == f"the hub opens at /x{HUB}"


async def test_a_hub_asked_as_one_of_the_sites_that_may(tmp_path: Path) -> None:
    site = Site(PAGE, {HUB: {"https://app.example.com"}})
    assert ids(await outcome_of(tmp_path, site, origins=["https://app.example.com"])) == []
    assert ids(await outcome_of(tmp_path, site)) == ["DW042"]


async def test_a_hub_that_is_sent_elsewhere_or_open_to_all(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, Site({**PAGE, HUB: (404, HTML, "")}))
    assert ids(outcome) == ["DW042"]
    assert outcome.findings[0].place is not None and outcome.findings[0].place.key == "gateway.routes"
    assert ids(await outcome_of(tmp_path, Site(PAGE, {HUB: {"*"}}))) == ["DW043"]


async def test_a_handshake_that_gets_a_page(tmp_path: Path) -> None:
    site = Site({"*": (200, HTML, page())})
    (finding,) = (await outcome_of(tmp_path, site)).findings
    assert finding.id == "DW041"
    (finding,) = (await outcome_of(tmp_path, site, is_public=True)).findings
    assert "proxy_set_header Upgrade" in finding.fix


async def test_without_a_hub_any_path_tells_whether_handshakes_arrive(tmp_path: Path) -> None:
    for answers, expected in ((PAGE, []), ({"*": (200, HTML, page())}, ["DW041"])):
        async with set_up(tmp_path, Site(answers)) as target:
            without_hub(target)
            assert ids(await probe(target)) == expected


@pytest.mark.parametrize(("status", "expected"), [(200, ["DW041"]), (400, ["DW044"]), (500, ["DW044"]), (403, [])])
async def test_routes_that_send_websockets_to_dash_are_tried(tmp_path: Path, status: int, expected: list[str]) -> None:
    site = Site({**PAGE, "/live": (status, HTML, "")}, {HUB: {"{gateway}"}})
    routes = [{"path": "/other", "to": "ws"}, {"path": "/live", "to": "dash"}]
    outcome = await outcome_of(tmp_path, site, routes=routes)
    assert ids(outcome) == expected
    for finding in outcome.findings:
        assert finding.place is not None and finding.place.key == "gateway.routes[1]"


@pytest.mark.parametrize("status", [401, 302])
async def test_a_login_is_no_finding(tmp_path: Path, status: int) -> None:
    site = Site({**PAGE, HUB: (status, HTML, ""), "/login": (200, HTML, "")}, headers={"Location": "/login"})
    with pytest.raises(Skipped, match="it needs a login"):
        await outcome_of(tmp_path, site)


async def test_without_the_service_there_is_nothing_to_ask(tmp_path: Path) -> None:
    async with set_up(tmp_path, Site(PAGE)) as target:
        target.reachable.remove(target.ws)
        with pytest.raises(Skipped, match="the WebSocket service cannot be reached"):
            await probe(target)


class Judging(Site):
    """Refuses the origins that ``refused`` names with 403, and every path of the others with 404."""

    refused: tuple[str, ...] = ()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            return await super().answer(request)
        return web.Response(status=403 if request.headers["Origin"] in self.refused else 404)


async def test_without_a_hub_a_path_that_no_app_has_tells_which_origins_may(tmp_path: Path) -> None:
    service = Judging(PAGE)
    for number, expected in enumerate((["DW043"], [], ["DW066"])):
        gateway = Judging(PAGE)
        async with set_up(tmp_path, service, gateway) as target:
            without_hub(target)
            target.ws = target.dash
            gateway.refused = ((), (OTHER_SITE,), (OTHER_SITE, gateway.url))[number]
            assert ids(await probe(target)) == expected
