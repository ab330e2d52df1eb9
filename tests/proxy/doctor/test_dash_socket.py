"""The area ``callbacks``: handshakes of Dash's own page and of another site's."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.doctor.dash_socket import probe
from proxy.doctor.probe import Outcome, Skipped
from tests.proxy.doctor.site import HTML, JSON, SOCKET, Site, page, set_up

PATH = "/_dash-ws-callback"


def dash(*origins: str, socket: object = SOCKET) -> Site:
    """origins: those for which its WebSocket opens."""
    html = page(websocket=socket)
    return Site({"/": (200, HTML, html), "/_dash-dependencies": (200, JSON, "[]")}, {PATH: set(origins)})


async def outcome_of(folder: Path, *sites: Site, is_public: bool = False) -> Outcome:
    async with set_up(folder, *sites, is_public=is_public) as target:
        return await probe(target)


async def test_its_own_pages_get_in_and_others_do_not(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, dash("{dash}"))
    assert outcome.findings == []
    assert outcome.seen == f"{PATH} opens for the app's own pages, and not for those of other sites"


async def test_a_dash_that_is_reached_and_a_way_on_which_the_origin_no_longer_fits(tmp_path: Path) -> None:
    (finding,) = (await outcome_of(tmp_path, dash("{dash}"), dash("https://elsewhere.test"))).findings
    assert finding.id == "DW038"
    assert "proxy_set_header Host" in finding.fix


async def test_pages_of_other_sites_get_in(tmp_path: Path) -> None:
    (finding,) = (await outcome_of(tmp_path, dash("*"))).findings
    assert finding.id == "DW039"


async def test_a_server_that_speaks_no_websocket_and_a_proxy_that_does_not(tmp_path: Path) -> None:
    deaf = dash()
    deaf.answers[PATH] = (200, HTML, page())
    (finding,) = (await outcome_of(tmp_path, deaf)).findings
    assert (finding.id, finding.seen) == ("DW040", f"{PATH} answers a WebSocket handshake with 200 text/html")
    assert "uvicorn[standard]" in finding.fix
    (finding,) = (await outcome_of(tmp_path, dash("{dash}"), deaf)).findings
    assert "proxy in front" in finding.fix


async def test_what_does_not_concern_the_set_up_is_skipped(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="no WebSocket of its own"):
        await outcome_of(tmp_path, dash(socket=None))
    with pytest.raises(Skipped, match="it wants a login, or knows no such path"):
        await outcome_of(tmp_path, dash())
    locked = dash()
    locked.answers[PATH] = (401, HTML, "")
    with pytest.raises(Skipped, match="answers 401: it needs a login"):
        await outcome_of(tmp_path, dash("{dash}"), locked)
    below = Site({"*": (200, HTML, page(prefix="/x/", websocket=SOCKET)), "/_dash-dependencies": (200, JSON, "[]")})
    with pytest.raises(Skipped, match="does not get the paths that pages ask for below /x/; give --url"):
        await outcome_of(tmp_path, below)
