"""Whether programs run: those that take a connection are reachable, the others are findings with what to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.doctor.finding import Finding
from proxy.doctor.programs import probe
from tests.certificates import Authority
from tests.proxy.doctor.site import Site, serving
from tests.proxy.doctor.test_target import target_of


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        yield taken.getsockname()[1]


async def test_programs_that_take_connections_are_no_finding(tmp_path: Path, listening: int) -> None:
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "run" / "dash.sock"))
        server.listen()
        upstreams = {"dash": "unix:run/dash.sock", "ws": f"http://127.0.0.1:{listening}"}
        target = target_of(tmp_path, listen=f"127.0.0.1:{listening}", upstreams=upstreams)
        outcome = await probe(target)
    assert outcome.findings == []
    assert target.reachable == {target.gateway, target.dash, target.ws}
    assert outcome.seen.startswith(f"the gateway at http://127.0.0.1:{listening}, Dash at unix:")


async def test_each_program_that_takes_none_is_a_finding_with_its_setting(tmp_path: Path, refusing: int) -> None:
    upstreams = {"dash": "unix:none.sock", "ws": f"http://127.0.0.1:{refusing}"}
    target = target_of(tmp_path, listen=f"127.0.0.1:{refusing}", upstreams=upstreams)
    findings = (await probe(target)).findings
    assert [(finding.id, finding.place and finding.place.key) for finding in findings] == [
        ("DW020", "gateway.listen"),
        ("DW021", "gateway.upstreams.dash"),
        ("DW022", "gateway.upstreams.ws"),
    ]
    address = f"http://127.0.0.1:{refusing}"
    assert findings[0].seen == f"the gateway cannot be reached at {address}: connection refused"
    assert findings[0].fix == "start it: dash-ws-proxy"
    assert findings[1].seen.endswith("none.sock: no such file or directory")
    assert not target.reachable


async def test_of_several_addresses_one_that_takes_none_is_left_out(
    tmp_path: Path, listening: int, refusing: int
) -> None:
    up, down = f"http://127.0.0.1:{listening}", f"http://127.0.0.1:{refusing}"
    upstreams = {"dash": [down, up], "ws": up, "api": down}
    routes = [{"path": "/api", "to": "api"}]
    target = target_of(tmp_path, listen=f"127.0.0.1:{listening}", upstreams=upstreams, routes=routes)
    outcome = await probe(target)
    assert [(finding.id, finding.place and finding.place.key) for finding in outcome.findings] == [
        ("DW027", "gateway.upstreams.dash[0]"),
        ("DW028", "gateway.upstreams.api"),
    ]
    assert target.dash.address == up
    assert target.dash in target.reachable


async def test_the_public_address_is_asked_for_its_page(tmp_path: Path, listening: int, refusing: int) -> None:
    upstreams = {"dash": f"http://127.0.0.1:{listening}", "ws": f"http://127.0.0.1:{listening}"}

    async def findings_with(url: str) -> list[Finding]:
        target = target_of(tmp_path, url, listen=f"127.0.0.1:{listening}", upstreams=upstreams)
        async with target.opened():
            findings = (await probe(target)).findings
            assert (target.public in target.reachable) is (not findings)
        return findings

    async with serving(Site({"/": (200, "text/html", "page"), "/app/": (502, "text/html", "bad gateway")})) as site:
        assert await findings_with(f"{site.url}/") == []
        (finding,) = await findings_with(f"{site.url}/app/")
        assert (finding.id, finding.seen) == ("DW023", f"{site.url} answers 502")
    (finding,) = await findings_with(f"http://127.0.0.1:{refusing}/")
    assert finding.id == "DW023"
    assert finding.seen == f"http://127.0.0.1:{refusing} cannot be reached: connection refused"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_address_of_dash_itself_is_not_taken_for_the_public_one(
    tmp_path: Path, listening: int, host: str
) -> None:
    """What follows would find that WebSockets do not open there, and say to look at the settings of the gateway."""
    async with serving(Site({"/": (200, "text/html", "page")})) as dash:
        upstreams = {"dash": dash.url, "ws": f"http://127.0.0.1:{listening}"}
        url = f"http://{host}:{dash.port}/"
        target = target_of(tmp_path, url, listen=f"127.0.0.1:{listening}", upstreams=upstreams)
        async with target.opened():
            (finding,) = (await probe(target)).findings
    assert (finding.id, finding.seen) == ("DW023", f"{url[:-1]} is Dash itself, without the gateway")
    assert target.public not in target.reachable


async def test_a_name_that_cannot_be_looked_up_is_said_in_words(tmp_path: Path, listening: int) -> None:
    upstreams = {"dash": "http://dash.invalid:8050", "ws": f"http://127.0.0.1:{listening}"}
    target = target_of(tmp_path, "http://public.invalid/", listen=f"127.0.0.1:{listening}", upstreams=upstreams)
    async with target.opened():
        findings = (await probe(target)).findings
    assert [finding.id for finding in findings] == ["DW021", "DW023"]
    for finding, address in zip(findings, ("http://dash.invalid:8050", "http://public.invalid"), strict=True):
        assert f"{address}: its name cannot be looked up (" in finding.seen.replace(" cannot be reached", "")
        assert "nknown error" not in finding.seen and "ssl:" not in finding.seen


async def test_a_certificate_that_is_not_trusted(tmp_path: Path, listening: int) -> None:
    files = Authority(tmp_path).issue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["certificate"], files["key"])
    upstreams = {"dash": f"http://127.0.0.1:{listening}", "ws": f"http://127.0.0.1:{listening}"}
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        target = target_of(tmp_path, f"https://127.0.0.1:{port}/", listen=f"127.0.0.1:{listening}", upstreams=upstreams)
        async with target.opened():
            (finding,) = (await probe(target)).findings
    assert finding.id == "DW024"
    assert finding.seen == (
        f"the certificate of https://127.0.0.1:{port} is not trusted: unable to get local issuer certificate"
    )
