"""The area ``dash``. The pages here say versions that are not installed; tests/dash_versions has real ones."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from proxy.doctor import endpoint
from proxy.doctor.dash_page import probe
from proxy.doctor.endpoint import Endpoint
from proxy.doctor.probe import Outcome, Skipped
from tests.proxy.doctor.site import HTML, JSON, SOCKET, Site, page, set_up

OWN_DASH = (200, JSON, "[]")


async def outcome_of(folder: Path, site: Site, *, is_public: bool = False) -> Outcome:
    async with set_up(folder, site, is_public=is_public) as target:
        return await probe(target)


def ids(outcome: Outcome) -> list[str]:
    return [finding.id for finding in outcome.findings]


async def test_a_dash_without_known_faults_is_no_finding(tmp_path: Path) -> None:
    outcome = await outcome_of(tmp_path, Site({"/": (200, HTML, page("4.5.0", websocket=SOCKET))}))
    assert (outcome.seen, outcome.findings) == ("Dash 4.5.0 with a WebSocket of its own, prefix /", [])
    outcome = await outcome_of(tmp_path, Site({"/": (200, HTML, page("3.0.4"))}))
    assert (outcome.seen, outcome.findings) == ("Dash 3.0.4 without a WebSocket of its own, prefix /", [])


@pytest.mark.parametrize("answer", [(200, HTML, "<html>other</html>"), (404, HTML, "no")])
async def test_what_is_no_page_of_dash_is_a_finding(tmp_path: Path, answer: tuple[int, str, str]) -> None:
    outcome = await outcome_of(tmp_path, Site({"/": answer}))
    assert ids(outcome) == ["DW030"]
    assert f"/ answers {answer[0]} text/html, and that is no page of Dash" in outcome.findings[0].seen


async def test_a_dash_that_takes_connections_and_answers_nothing_is_a_finding_and_is_asked_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As uvicorn's reloader does while the module has a mistake: it listens, and has no process that accepts."""
    monkeypatch.setattr(endpoint, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as reloader:
        async with set_up(tmp_path, Site()) as target:
            silent = Endpoint("dash", "http://{}:{}".format(*reloader.getsockname()))
            target.dash = silent
            target.reachable.add(silent)
            outcome = await probe(target)
            await silent.close()
            assert ids(outcome) == ["DW067"]
            with pytest.raises(Skipped):
                await target.dash_config()


async def test_a_page_that_needs_a_login_is_not_judged(tmp_path: Path) -> None:
    site = Site({"/": (302, HTML, "")}, headers={"Location": "/login"})
    with pytest.raises(Skipped, match="/ of Dash answers 302 to /login: it needs a login"):
        await outcome_of(tmp_path, site)


@pytest.mark.parametrize(
    ("version", "socket", "served", "expected"),
    [
        ("4.1.0rc0", None, "/x/app/", ["DW031"]),
        ("4.2.0", SOCKET, "/x/app/", ["DW033"]),
        ("4.2.0", SOCKET, "/app/", ["DW032", "DW033"]),
        ("4.2.0", None, "/app/", []),  # on Flask
        ("4.3.0", SOCKET, "/app/", ["DW033"]),
        ("4.3.0", {**SOCKET, "enabled": True}, "/app/", []),  # it is used by all callbacks
    ],
)
async def test_known_faults_are_told_by_the_version_and_what_it_takes_for_them(
    tmp_path: Path, version: str, socket: object, served: str, expected: list[str]
) -> None:
    html = page(version, "/x/app/", websocket=socket)
    outcome = await outcome_of(tmp_path, Site({"/": (200, HTML, html), f"{served}_dash-dependencies": OWN_DASH}))
    assert ids(outcome) == expected


async def test_debug_mode_is_told_where_the_address_is_public(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site({"/": (200, HTML, page(ui=True))})
    assert ids(await outcome_of(tmp_path, site, is_public=True)) == []  # 127.0.0.1
    monkeypatch.setattr("proxy.doctor.endpoint.Endpoint.is_of_this_host", False)
    assert ids(await outcome_of(tmp_path, site, is_public=True)) == ["DW034"]
    assert ids(await outcome_of(tmp_path, site)) == []
    async with set_up(tmp_path, site, is_public=True) as target:
        target.reachable.remove(target.public)  # what is not there shows nothing to anyone
        assert ids(await probe(target)) == []


async def test_without_dash_there_is_nothing_to_read(tmp_path: Path) -> None:
    async with set_up(tmp_path, Site()) as target:
        target.reachable.clear()
        with pytest.raises(Skipped, match="Dash cannot be reached"):
            await probe(target)
