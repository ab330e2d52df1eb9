"""The area ``gateway``: what the gateway says of its upstreams, and whether sockets can be handed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.doctor.gateway_state import probe
from proxy.doctor.probe import Outcome, Skipped
from tests.processes import free_ports
from tests.proxy.doctor.site import JSON, Site, serving, set_up


def ready(url: str = "", **states: str) -> tuple[int, str, str]:
    """Return what /readyz answers. url: of each upstream."""
    upstreams = {
        name: {"state": state, "addresses": [{"url": url, "state": state, "why": "connection refused"}]}
        for name, state in states.items()
    }
    return 200, JSON, json.dumps({"status": "ready", "state": "running", "upstreams": upstreams})


async def outcome_of(folder: Path, answer: tuple[int, str, str], handoff: str = "off") -> Outcome:
    async with serving(Site({"/readyz": answer})) as admin:
        listen = f"127.0.0.1:{admin.port}"
        async with set_up(folder, Site(), admin=listen, health={"interval": 0}, handoff=handoff) as target:
            return await probe(target)


async def test_a_gateway_that_reaches_all_is_no_finding(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, ready(dash="up", ws="degraded"))
    assert (outcome.seen, outcome.findings) == ("the gateway is running", [])


async def test_an_upstream_that_the_gateway_does_not_reach_and_this_check_does(tmp_path: Path) -> None:
    admin = Site()
    async with (
        serving(admin),
        set_up(tmp_path, Site(), admin=f"127.0.0.1:{admin.port}", health={"interval": 0}, handoff="off") as target,
    ):
        admin.answers["/readyz"] = ready(target.ws.address, dash="up", ws="unreachable")
        (finding,) = (await probe(target)).findings
        assert finding.id == "DW025"
        assert finding.seen == f"for the gateway ws at {target.ws.address} is unreachable: connection refused"
        target.reachable.remove(target.ws)
        target.reachable.remove(target.dash)
        assert (await probe(target)).findings == []  # neither reaches it, which the area programs says
        admin.answers["/readyz"] = ready("http://127.0.0.1:1", ws="unreachable")
        (finding,) = (await probe(target)).findings
        assert finding.fix.startswith("the file names another address")


@pytest.mark.parametrize(
    ("states", "found"),
    [(("unreachable", "up"), []), (("unknown", "up"), []), (("unknown", "unreachable", "unreachable"), ["DW025"])],
)
async def test_what_has_just_started_gets_time(tmp_path: Path, states: tuple[str, ...], found: list[str]) -> None:
    admin, asked, url = Site(), 0, ""

    async def answer(request: object) -> object:
        nonlocal asked
        admin.answers["/readyz"] = ready(url, dash=states[min(asked, len(states) - 1)])
        asked += 1
        return await Site.answer(admin, request)  # type: ignore[arg-type]

    admin.answer = answer  # type: ignore[method-assign, assignment]
    health = {"interval": "100ms", "timeout": "100ms"}
    async with (
        serving(admin),
        set_up(tmp_path, Site(), admin=f"127.0.0.1:{admin.port}", health=health, handoff="off") as target,
    ):
        url = target.dash.address
        assert [finding.id for finding in (await probe(target)).findings] == found
    assert asked >= 2


async def test_a_socket_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    (finding,) = (await outcome_of(tmp_path, ready(), "run/ws.sock")).findings
    assert finding.id == "DW026"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ws.sock").touch()
    assert (await outcome_of(tmp_path, ready(), "run/ws.sock")).findings == []


async def test_what_is_no_admin_listener_of_a_gateway_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="/readyz answers 404, and not as a gateway does"):
        await outcome_of(tmp_path, (404, JSON, "{}"))


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"upstreams": []}',
        '{"upstreams": {"ws": 1}}',
        '{"upstreams": {"ws": {"addresses": 1}}}',
        '{"upstreams": {"ws": {"addresses": [{"state": "unreachable"}]}}}',
    ],
)
async def test_another_program_at_admin_may_answer_anything(tmp_path: Path, body: str) -> None:
    with pytest.raises(Skipped, match="not as a gateway does"):
        await outcome_of(tmp_path, (200, JSON, body))


async def test_where_the_config_does_not_say_the_address_of_clients_the_gateway_does(tmp_path: Path) -> None:
    admin = Site()
    async with (
        serving(admin),
        set_up(tmp_path, Site(), admin=f"127.0.0.1:{admin.port}", health={"interval": 0}, handoff="off") as target,
    ):
        known = target.gateway
        assert known is not None
        status, kind, text = ready()
        listen = [
            1,
            "http://x@127.0.0.1:1",
            "http://127.0.0.1:99999",
            "http://192.0.2.1:80",
            "http://[::::]:1",
            known.address,
        ]
        admin.answers["/readyz"] = status, kind, json.dumps(json.loads(text) | {"listen": listen})
        target.gateway = None
        assert (await probe(target)).findings == []  # what is no address of this host is not asked
        assert target.browser_endpoint.address == known.address


async def test_an_admin_listener_that_takes_no_connection(tmp_path: Path) -> None:
    (refusing,) = free_ports(1)
    async with set_up(tmp_path, Site(), admin=f"127.0.0.1:{refusing}", handoff="off") as target:
        (finding,) = (await probe(target)).findings
        assert (finding.id, finding.place and finding.place.key) == ("DW019", "gateway.admin")
        assert finding.seen == f"the gateway cannot be asked at http://127.0.0.1:{refusing}: connection refused"
        target.gateway = None  # listen: systemd
        (finding,) = (await probe(target)).findings
        assert finding.id == "DW020"
        assert finding.fix.startswith("start it; under systemd its socket unit")


@pytest.mark.parametrize(
    ("dash", "page"),
    [
        ({"known": True, "page": "/team/"}, "/team/"),
        ({"known": False, "why": "it was not asked yet"}, "/"),
        ({"known": True, "page": "http://elsewhere.test/"}, "/"),
        ({"known": True, "page": ["/team/"]}, "/"),
        ("/team/", "/"),
    ],
)
async def test_dashs_page_is_where_the_gateway_has_found_it(tmp_path: Path, dash: object, page: str) -> None:
    status, kind, text = ready(dash="up")
    answer = status, kind, json.dumps(json.loads(text) | {"dash": dash})
    async with (
        serving(Site({"/readyz": answer})) as admin,
        set_up(tmp_path, Site(), admin=f"127.0.0.1:{admin.port}", health={"interval": 0}, handoff="off") as target,
    ):
        await probe(target)
        assert target.page_path == page
